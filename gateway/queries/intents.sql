-- Intents as the views have them.

-- name: intents_by_id
-- The fold's states, of the bodies what only the evidence topic has, and what the tenant as a whole is stopped by.
SELECT intent.intent_id, intent.state, body.allowed_tools, tenant.state AS tenant_state
FROM views.intents AS intent
LEFT JOIN views.evidence AS body
    ON body.tenant_id = %(tenant_id)s AND body.intent_id = intent.intent_id AND body.kind = 'intent'
LEFT JOIN views.tenant_states AS tenant ON tenant.tenant_id = %(tenant_id)s
WHERE intent.tenant_id = %(tenant_id)s AND intent.intent_id = ANY(%(intent_ids)s::text[])

-- name: evidence
-- The submitted bodies that are there and not erased.
SELECT
    intent_id, evidence_id, payload, artifacts, payload_digest, artifacts_digest, payee_did, payee_pubkey, payee_signature,
    submitted_at, report
FROM views.evidence
WHERE tenant_id = %(tenant_id)s AND intent_id = ANY(%(intent_ids)s::text[]) AND kind = 'evidence'

-- name: timeline
-- Each intent's entries, the newest when there are too many, in order.
SELECT
    newest.intent_id, newest.seq, newest.recorded_at, newest.event_type, newest.actor_kind, newest.actor_ref,
    newest.command_id, newest.event_json
FROM unnest(%(intent_ids)s::text[]) AS asked (intent_id)
CROSS JOIN LATERAL (
    SELECT intent_id, seq, recorded_at, event_type, actor_kind, actor_ref, command_id, event_json
    FROM views.ledger_entries AS entry
    WHERE entry.tenant_id = %(tenant_id)s AND entry.intent_id = asked.intent_id
    ORDER BY entry.seq DESC
    LIMIT %(limit)s
) AS newest
ORDER BY newest.seq

-- name: intents
-- A page, newest first; each filter is left out when null.
SELECT
    intent_id, status, reason, amount_minor, currency, principal_did, payee_did, settlement_rail, deadline,
    evidence_due_at, hold_status, hold_expires_at, created_at, created_seq, updated_at, last_seq, final_at
FROM views.intents
WHERE
    tenant_id = %(tenant_id)s
    AND created_seq < %(before_seq)s
    AND (%(status)s::text IS NULL OR status = %(status)s::text)
    AND (%(operator_did)s::text IS NULL OR payee_did = %(operator_did)s::text)
ORDER BY created_seq DESC
LIMIT %(limit)s

-- name: totals
-- Counts and money per state and currency; a row that fell back to nothing is no state.
SELECT status, currency, intents, placed_minor, held_minor, released_minor, refunded_minor, custody_minor
FROM views.intent_totals
WHERE tenant_id = %(tenant_id)s AND intents > 0
ORDER BY status, currency

-- name: tenant
-- Where the tenant's tables stand.
SELECT environment, settlement_mode, last_seq, last_recorded_at
FROM views.tenants
WHERE tenant_id = %(tenant_id)s

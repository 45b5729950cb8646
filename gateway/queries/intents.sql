-- Intents as the views have them.

-- name: intent
-- The fold's state, and the body that only the evidence topic has.
SELECT intent.state, body.allowed_tools, intent.last_seq
FROM views.intents AS intent
LEFT JOIN views.evidence AS body
    ON body.tenant_id = %(tenant_id)s AND body.intent_id = intent.intent_id AND body.kind = 'intent'
WHERE intent.tenant_id = %(tenant_id)s AND intent.intent_id = %(intent_id)s

-- name: evidence
-- The submitted body, if it is there and not erased.
SELECT
    evidence_id, payload, artifacts, payload_digest, artifacts_digest, payee_did, payee_pubkey, payee_signature,
    submitted_at, report
FROM views.evidence
WHERE tenant_id = %(tenant_id)s AND intent_id = %(intent_id)s AND kind = 'evidence'

-- name: timeline
-- The intent's entries, the newest when there are too many, in order.
SELECT seq, recorded_at, event_type, actor_kind, actor_ref, command_id, event_json
FROM (
    SELECT seq, recorded_at, event_type, actor_kind, actor_ref, command_id, event_json
    FROM views.ledger_entries
    WHERE tenant_id = %(tenant_id)s AND intent_id = %(intent_id)s
    ORDER BY seq DESC
    LIMIT %(limit)s
) AS newest
ORDER BY seq

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

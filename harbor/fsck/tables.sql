-- What fsck reads of one tenant, all in one repeatable-read transaction; read only, as role `paybond_fsck`.

-- name: begin
-- One moment for every statement that follows.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: tenant
SELECT
    tenant_id, environment, settlement_mode, settlement_config_version, origin, provisioned_at, last_seq,
    last_leaf_hash, last_recorded_at
FROM views.tenants WHERE tenant_id = %(tenant_id)s

-- name: tenant_state
SELECT tenant_id, state FROM views.tenant_states WHERE tenant_id = %(tenant_id)s

-- name: totals
SELECT status, currency, intents, placed_minor, held_minor, released_minor, refunded_minor, custody_minor
FROM views.intent_totals WHERE tenant_id = %(tenant_id)s

-- name: entries
-- In the order of the ledger: compared row by row while it is read.
SELECT
    tenant_id, seq, value, leaf_hash, prev_hash, recorded_at, command_id, actor_kind, actor_ref, intent_id, event_type,
    event_json
FROM views.ledger_entries WHERE tenant_id = %(tenant_id)s ORDER BY seq

-- name: intents
SELECT
    tenant_id, intent_id, status, reason, signing_version, principal_did, payee_did, amount_minor, currency,
    settlement_rail, settlement_mode, settlement_config_version, deadline, evidence_due_at, hold_status,
    hold_rail_object, hold_amount_minor, hold_currency, hold_expires_at, hold_effect_id, hold_action, hold_attempt,
    hold_cause, hold_requested_minor, hold_requested_at, rail_status, placed_minor, held_minor, released_minor,
    refunded_minor, custody_minor, evidence_id, evidence_submitted_at, evidence_is_evaluated, evidence_passed,
    evidence_evaluator, dispute_case_id, dispute_reason_code, dispute_opened_at, custody, external_ref, created_at,
    created_seq, updated_at, last_seq, final_at, state
FROM views.intents WHERE tenant_id = %(tenant_id)s

-- name: tiles
SELECT level, tile, hashes FROM views.ledger_tiles WHERE tenant_id = %(tenant_id)s

-- name: checkpoints
SELECT size, root, note FROM views.checkpoints WHERE tenant_id = %(tenant_id)s

-- name: waiting_sizes
SELECT size FROM streams.waiting_checkpoints WHERE tenant_id = %(tenant_id)s

-- name: bodies
SELECT
    tenant_id, intent_id, kind, budget, evidence_schema, predicate, allowed_tools, evidence_id, payload, artifacts,
    payload_digest, artifacts_digest, payee_did, payee_pubkey, payee_signature, submitted_at, salt, report
FROM views.evidence WHERE tenant_id = %(tenant_id)s

-- name: operations
SELECT tenant_id, command_id, intent_id, status, recorded_at, decided_at, outcome
FROM views.operations WHERE tenant_id = %(tenant_id)s

-- name: reached
-- Where the rows of shared topics stand; of two generations the one that is behind.
SELECT topic, min(next_offset) FROM streams.checkpoints
WHERE topic IN ('paybond.evidence', 'paybond.outcomes', 'paybond.intents', 'paybond.checkpoints')
    AND partition = %(partition)s
GROUP BY topic

-- The read tables: every write of the views, each in the transaction of its checkpoints.

-- name: tenants
-- What the tables know of the tenants of a batch.
SELECT
    tenant_id, environment, settlement_mode, settlement_config_version, origin, provisioned_at, last_seq,
    last_leaf_hash, last_recorded_at
FROM views.tenants WHERE tenant_id = ANY(%(tenant_ids)s::text[])

-- name: states
-- What the fold goes on from; by primary key.
SELECT stored.tenant_id, stored.intent_id, stored.state
FROM unnest(%(tenant_ids)s::text[], %(intent_ids)s::text[]) AS wanted (tenant_id, intent_id)
JOIN views.intents AS stored
    ON stored.tenant_id = wanted.tenant_id AND stored.intent_id = wanted.intent_id

-- name: put_entries
-- A counter moves only for a row that was really inserted: the two are one statement.
WITH inserted AS (
    INSERT INTO views.ledger_entries (
        tenant_id, seq, value, leaf_hash, prev_hash, recorded_at, command_id, actor_kind, actor_ref, intent_id,
        event_type, event_json
    )
    SELECT * FROM unnest(
        %(tenant_id)b::text[], %(seq)b::bigint[], %(value)b::bytea[], %(leaf_hash)b::bytea[],
        %(prev_hash)b::bytea[], %(recorded_at)b::timestamptz[], %(command_id)b::text[], %(actor_kind)b::text[],
        %(actor_ref)b::text[], %(intent_id)b::text[], %(event_type)b::text[], %(event_json)b::text[]
    )
    ON CONFLICT (tenant_id, seq) DO NOTHING
    RETURNING tenant_id, seq
)
INSERT INTO views.intent_totals AS stored (
    tenant_id, status, currency, intents, placed_minor, held_minor, released_minor, refunded_minor, custody_minor
)
SELECT
    change.tenant_id, change.status, change.currency, sum(change.intents), sum(change.placed_minor),
    sum(change.held_minor), sum(change.released_minor), sum(change.refunded_minor), sum(change.custody_minor)
FROM unnest(
    %(change_tenant_id)b::text[], %(change_seq)b::bigint[], %(change_status)b::text[], %(change_currency)b::text[],
    %(change_intents)b::bigint[], %(change_placed_minor)b::bigint[], %(change_held_minor)b::bigint[],
    %(change_released_minor)b::bigint[], %(change_refunded_minor)b::bigint[], %(change_custody_minor)b::bigint[]
) AS change (
    tenant_id, seq, status, currency, intents, placed_minor, held_minor, released_minor, refunded_minor,
    custody_minor
)
JOIN inserted ON inserted.tenant_id = change.tenant_id AND inserted.seq = change.seq
GROUP BY change.tenant_id, change.status, change.currency
ORDER BY change.tenant_id, change.status, change.currency
ON CONFLICT (tenant_id, status, currency) DO UPDATE SET
    intents = stored.intents + excluded.intents, placed_minor = stored.placed_minor + excluded.placed_minor,
    held_minor = stored.held_minor + excluded.held_minor,
    released_minor = stored.released_minor + excluded.released_minor,
    refunded_minor = stored.refunded_minor + excluded.refunded_minor,
    custody_minor = stored.custody_minor + excluded.custody_minor

-- name: restore_entries
-- Read again, at or below the checkpoint: the row alone, no counter; and which of them the tables have otherwise.
WITH known AS (
    SELECT * FROM unnest(
        %(tenant_id)b::text[], %(seq)b::bigint[], %(value)b::bytea[], %(leaf_hash)b::bytea[],
        %(prev_hash)b::bytea[], %(recorded_at)b::timestamptz[], %(command_id)b::text[], %(actor_kind)b::text[],
        %(actor_ref)b::text[], %(intent_id)b::text[], %(event_type)b::text[], %(event_json)b::text[]
    ) AS known (
        tenant_id, seq, value, leaf_hash, prev_hash, recorded_at, command_id, actor_kind, actor_ref, intent_id,
        event_type, event_json
    )
), inserted AS (
    INSERT INTO views.ledger_entries (
        tenant_id, seq, value, leaf_hash, prev_hash, recorded_at, command_id, actor_kind, actor_ref, intent_id,
        event_type, event_json
    )
    SELECT * FROM known ON CONFLICT (tenant_id, seq) DO NOTHING RETURNING tenant_id, seq
)
SELECT known.tenant_id,
       count(*) FILTER (WHERE inserted.seq IS NOT NULL) AS restored,
       min(known.seq) FILTER (WHERE stored.leaf_hash <> known.leaf_hash) AS changed_seq
FROM known
LEFT JOIN inserted ON inserted.tenant_id = known.tenant_id AND inserted.seq = known.seq
LEFT JOIN views.ledger_entries AS stored ON stored.tenant_id = known.tenant_id AND stored.seq = known.seq
GROUP BY known.tenant_id

-- name: put_tenant
-- The newest entry wins: a lowered checkpoint takes nothing back.
INSERT INTO views.tenants AS stored (
    tenant_id, environment, settlement_mode, settlement_config_version, origin, provisioned_at, last_seq,
    last_leaf_hash, last_recorded_at
) VALUES (
    %(tenant_id)s, %(environment)s, %(settlement_mode)s, %(settlement_config_version)s, %(origin)s,
    %(provisioned_at)s, %(last_seq)s, %(last_leaf_hash)b, %(last_recorded_at)s
) ON CONFLICT (tenant_id) DO UPDATE SET
    environment = excluded.environment, settlement_mode = excluded.settlement_mode,
    settlement_config_version = excluded.settlement_config_version, origin = excluded.origin,
    provisioned_at = excluded.provisioned_at, last_seq = excluded.last_seq,
    last_leaf_hash = excluded.last_leaf_hash, last_recorded_at = excluded.last_recorded_at
WHERE stored.last_seq < excluded.last_seq

-- name: put_intent
-- The newest state wins, as above.
INSERT INTO views.intents AS stored (
    tenant_id, intent_id, status, reason, signing_version, principal_did, payee_did, amount_minor, currency,
    settlement_rail, settlement_mode, settlement_config_version, deadline, evidence_due_at, hold_status,
    hold_rail_object, hold_amount_minor, hold_currency, hold_expires_at, hold_effect_id, hold_action, hold_attempt,
    hold_cause, hold_requested_minor, hold_requested_at, rail_status, placed_minor, held_minor, released_minor,
    refunded_minor, custody_minor, evidence_id, evidence_submitted_at, evidence_is_evaluated, evidence_passed,
    evidence_evaluator, dispute_case_id, dispute_reason_code, dispute_opened_at, custody, external_ref, created_at,
    created_seq, updated_at, last_seq, final_at, state
) VALUES (
    %(tenant_id)s, %(intent_id)s, %(status)s, %(reason)s, %(signing_version)s, %(principal_did)s, %(payee_did)s,
    %(amount_minor)s, %(currency)s, %(settlement_rail)s, %(settlement_mode)s, %(settlement_config_version)s,
    %(deadline)s, %(evidence_due_at)s, %(hold_status)s, %(hold_rail_object)s, %(hold_amount_minor)s,
    %(hold_currency)s, %(hold_expires_at)s, %(hold_effect_id)s, %(hold_action)s, %(hold_attempt)s, %(hold_cause)s,
    %(hold_requested_minor)s, %(hold_requested_at)s, %(rail_status)s, %(placed_minor)s, %(held_minor)s,
    %(released_minor)s, %(refunded_minor)s, %(custody_minor)s, %(evidence_id)s, %(evidence_submitted_at)s,
    %(evidence_is_evaluated)s, %(evidence_passed)s, %(evidence_evaluator)s, %(dispute_case_id)s,
    %(dispute_reason_code)s, %(dispute_opened_at)s, %(custody)s, %(external_ref)s, %(created_at)s, %(created_seq)s,
    %(updated_at)s, %(last_seq)s, %(final_at)s, %(state)b
) ON CONFLICT (tenant_id, intent_id) DO UPDATE SET
    status = excluded.status, reason = excluded.reason, signing_version = excluded.signing_version,
    principal_did = excluded.principal_did, payee_did = excluded.payee_did, amount_minor = excluded.amount_minor,
    currency = excluded.currency, settlement_rail = excluded.settlement_rail,
    settlement_mode = excluded.settlement_mode, settlement_config_version = excluded.settlement_config_version,
    deadline = excluded.deadline, evidence_due_at = excluded.evidence_due_at, hold_status = excluded.hold_status,
    hold_rail_object = excluded.hold_rail_object, hold_amount_minor = excluded.hold_amount_minor,
    hold_currency = excluded.hold_currency, hold_expires_at = excluded.hold_expires_at,
    hold_effect_id = excluded.hold_effect_id, hold_action = excluded.hold_action,
    hold_attempt = excluded.hold_attempt, hold_cause = excluded.hold_cause,
    hold_requested_minor = excluded.hold_requested_minor, hold_requested_at = excluded.hold_requested_at,
    rail_status = excluded.rail_status, placed_minor = excluded.placed_minor, held_minor = excluded.held_minor,
    released_minor = excluded.released_minor, refunded_minor = excluded.refunded_minor,
    custody_minor = excluded.custody_minor, evidence_id = excluded.evidence_id,
    evidence_submitted_at = excluded.evidence_submitted_at, evidence_is_evaluated = excluded.evidence_is_evaluated,
    evidence_passed = excluded.evidence_passed, evidence_evaluator = excluded.evidence_evaluator,
    dispute_case_id = excluded.dispute_case_id, dispute_reason_code = excluded.dispute_reason_code,
    dispute_opened_at = excluded.dispute_opened_at, custody = excluded.custody,
    external_ref = excluded.external_ref, created_at = excluded.created_at, created_seq = excluded.created_seq,
    updated_at = excluded.updated_at, last_seq = excluded.last_seq, final_at = excluded.final_at,
    state = excluded.state
WHERE stored.last_seq < excluded.last_seq

-- name: grow_tile
-- Level 1 and up: hashes are appended where they belong, or are there already.
INSERT INTO views.ledger_tiles AS stored (tenant_id, level, tile, hashes)
VALUES (%(tenant_id)s, %(level)s, %(tile)s, %(hashes)b)
ON CONFLICT (tenant_id, level, tile) DO UPDATE SET hashes = stored.hashes || excluded.hashes
WHERE length(stored.hashes) = 32 * %(offset)s::integer

-- name: fill_leaf_tile
-- Level 0: once all its 256 leaves are rows.
INSERT INTO views.ledger_tiles (tenant_id, level, tile, hashes)
SELECT %(tenant_id)s::text, 0, %(tile)s::bigint, string_agg(leaf_hash, ''::bytea ORDER BY seq)
FROM views.ledger_entries
WHERE tenant_id = %(tenant_id)s::text AND seq > 256 * %(tile)s::bigint AND seq <= 256 * (%(tile)s::bigint + 1)
HAVING count(*) = 256
ON CONFLICT (tenant_id, level, tile) DO NOTHING

-- name: notify
-- Wakes reads that wait for a seq: `<tenant>:<seq>`, comma separated; seq 0 = a body or an answer; `*` = look yourself.
SELECT pg_notify('paybond_views', %(payload)s::text)

-- name: put_body
-- Not one that a later tombstone erased; the same body again changes nothing.
INSERT INTO views.evidence AS stored (
    tenant_id, intent_id, kind, budget, evidence_schema, predicate, allowed_tools, evidence_id, payload, artifacts,
    payload_digest, artifacts_digest, payee_did, payee_pubkey, payee_signature, submitted_at, salt, report
)
SELECT
    %(tenant_id)s::text, %(intent_id)s::text, %(kind)s::text, %(budget)s::text, %(evidence_schema)s::text,
    %(predicate)s::text, %(allowed_tools)s::text[], %(evidence_id)s::text, %(payload)s::text,
    %(artifacts)b::bytea[], %(payload_digest)b::bytea, %(artifacts_digest)b::bytea, %(payee_did)s::text,
    %(payee_pubkey)b::bytea, %(payee_signature)b::bytea, %(submitted_at)s::text, %(salt)b::bytea, %(report)s::text
WHERE NOT EXISTS (
    SELECT FROM streams.erased_bodies AS erased
    WHERE erased.tenant_id = %(tenant_id)s::text AND erased.intent_id = %(intent_id)s::text
      AND erased.kind = %(kind)s::text AND erased.record_offset > %(record_offset)s::bigint
)
ON CONFLICT (tenant_id, intent_id, kind) DO UPDATE SET
    budget = excluded.budget, evidence_schema = excluded.evidence_schema, predicate = excluded.predicate,
    allowed_tools = excluded.allowed_tools, evidence_id = excluded.evidence_id, payload = excluded.payload,
    artifacts = excluded.artifacts, payload_digest = excluded.payload_digest,
    artifacts_digest = excluded.artifacts_digest, payee_did = excluded.payee_did,
    payee_pubkey = excluded.payee_pubkey, payee_signature = excluded.payee_signature,
    submitted_at = excluded.submitted_at, salt = excluded.salt, report = excluded.report
WHERE (
    stored.budget, stored.evidence_schema, stored.predicate, stored.allowed_tools, stored.evidence_id,
    stored.payload, stored.artifacts, stored.payload_digest, stored.artifacts_digest, stored.payee_did,
    stored.payee_pubkey, stored.payee_signature, stored.submitted_at, stored.salt, stored.report
) IS DISTINCT FROM (
    excluded.budget, excluded.evidence_schema, excluded.predicate, excluded.allowed_tools, excluded.evidence_id,
    excluded.payload, excluded.artifacts, excluded.payload_digest, excluded.artifacts_digest, excluded.payee_did,
    excluded.payee_pubkey, excluded.payee_signature, excluded.submitted_at, excluded.salt, excluded.report
)

-- name: erase_body
-- The row goes; that it was erased, and where, stays.
WITH noted AS (
    INSERT INTO streams.erased_bodies AS stored (tenant_id, intent_id, kind, record_offset)
    VALUES (%(tenant_id)s, %(intent_id)s, %(kind)s, %(record_offset)s)
    ON CONFLICT (tenant_id, intent_id, kind) DO UPDATE
        SET record_offset = greatest(stored.record_offset, excluded.record_offset)
)
DELETE FROM views.evidence
WHERE tenant_id = %(tenant_id)s AND intent_id = %(intent_id)s AND kind = %(kind)s

-- name: put_operation
-- The later decision wins, and at one time a final one over `accepted`: `replaces` in operations_view says the same.
INSERT INTO views.operations AS stored (tenant_id, command_id, intent_id, status, recorded_at, decided_at, outcome)
VALUES (%(tenant_id)s, %(command_id)s, %(intent_id)s, %(status)s, %(recorded_at)s, %(decided_at)s, %(outcome)b)
ON CONFLICT (tenant_id, command_id) DO UPDATE SET
    intent_id = excluded.intent_id, status = excluded.status, recorded_at = excluded.recorded_at,
    decided_at = excluded.decided_at, outcome = excluded.outcome
WHERE stored.decided_at < excluded.decided_at
   OR (stored.decided_at = excluded.decided_at AND stored.status = 'accepted' AND excluded.status <> 'accepted')

-- name: put_tenant_state
-- The later record wins; the same record again brings a lost row back.
WITH newest AS (
    INSERT INTO streams.tenant_state_offsets AS stored (tenant_id, record_offset)
    VALUES (%(tenant_id)s, %(record_offset)s)
    ON CONFLICT (tenant_id) DO UPDATE SET record_offset = excluded.record_offset
    WHERE stored.record_offset <= excluded.record_offset
    RETURNING tenant_id
)
INSERT INTO views.tenant_states AS stored (tenant_id, state)
SELECT tenant_id, %(state)b::bytea FROM newest
ON CONFLICT (tenant_id) DO UPDATE SET state = excluded.state WHERE stored.state <> excluded.state

-- name: prune_operations
-- Oldest first, a bounded number.
DELETE FROM views.operations WHERE (tenant_id, command_id) IN (
    SELECT tenant_id, command_id FROM views.operations
    WHERE recorded_at < %(before)s ORDER BY recorded_at LIMIT %(rows_max)s
)

-- name: put_waiting
-- One that is published as it stands is left out.
INSERT INTO streams.waiting_checkpoints AS stored (tenant_id, size, root, note, topic, partition)
SELECT %(tenant_id)s::text, %(size)s::bigint, %(root)b::bytea, %(note)s::text, %(topic)s::text, %(partition)s::integer
WHERE NOT EXISTS (
    SELECT FROM views.checkpoints AS published
    WHERE published.tenant_id = %(tenant_id)s::text AND published.size = %(size)s::bigint
      AND published.root = %(root)b::bytea AND published.note = %(note)s::text
)
ON CONFLICT (tenant_id, size) DO UPDATE SET root = excluded.root, note = excluded.note
WHERE (stored.root, stored.note) IS DISTINCT FROM (excluded.root, excluded.note)

-- name: ready_roots
-- Those whose entries are there, smallest first; a quarantined tenant's wait on.
SELECT waiting.tenant_id, waiting.size, waiting.root, waiting.note, waiting.topic, waiting.partition,
       CASE WHEN ledger.seq = waiting.size THEN ledger.frontier END AS frontier
FROM unnest(%(topics)s::text[], %(partitions)s::integer[]) AS mine (topic, partition)
JOIN streams.waiting_checkpoints AS waiting
    ON waiting.topic = mine.topic AND waiting.partition = mine.partition
JOIN views.tenants AS tenant ON tenant.tenant_id = waiting.tenant_id AND tenant.last_seq >= waiting.size
LEFT JOIN streams.checkpoints AS ledger
    ON ledger.generation = %(generation)s AND ledger.projection = %(projection)s
    AND ledger.topic = %(ledger_prefix)s || waiting.tenant_id AND ledger.partition = 0
WHERE NOT EXISTS (
    SELECT FROM streams.quarantine AS stopped
    WHERE stopped.generation = %(generation)s AND stopped.projection = %(projection)s
      AND stopped.topic = %(ledger_prefix)s || waiting.tenant_id AND stopped.released_at IS NULL
)
ORDER BY waiting.tenant_id, waiting.size LIMIT %(rows_max)s

-- name: tiles
-- Of one tenant, by number.
SELECT stored.level, stored.tile, stored.hashes
FROM unnest(%(levels)s::integer[], %(tiles)s::bigint[]) AS wanted (level, tile)
JOIN views.ledger_tiles AS stored
    ON stored.tenant_id = %(tenant_id)s AND stored.level = wanted.level AND stored.tile = wanted.tile

-- name: leaves
-- Leaf index = seq − 1.
SELECT string_agg(leaf_hash, ''::bytea ORDER BY seq) FROM views.ledger_entries
WHERE tenant_id = %(tenant_id)s AND seq > %(first)s AND seq <= %(end)s

-- name: publish
-- A new signature over the same root replaces the old one: the topic keeps the last one too.
INSERT INTO views.checkpoints AS stored (tenant_id, size, root, note)
VALUES (%(tenant_id)s, %(size)s, %(root)b, %(note)s)
ON CONFLICT (tenant_id, size) DO UPDATE SET note = excluded.note
WHERE stored.root = excluded.root AND stored.note <> excluded.note

-- name: drop_waiting
-- Only the one that was published: another may have come meanwhile.
DELETE FROM streams.waiting_checkpoints
WHERE tenant_id = %(tenant_id)s AND size = %(size)s AND root = %(root)b AND note = %(note)s

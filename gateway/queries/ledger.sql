-- The ledger as the views have it: entries, checkpoints, and the tiles of which proofs are made.

-- name: is_shown
-- Whether an entry and the bodies it speaks of are there. Bodies of final intents may have been erased for good.
SELECT
    entry.intent_id IS NULL
    OR intent.final_at IS NOT NULL
    OR (
        intent.last_seq >= entry.seq
        AND EXISTS (
            SELECT 1 FROM views.evidence AS body
            WHERE body.tenant_id = %(tenant_id)s AND body.intent_id = entry.intent_id AND body.kind = 'intent'
        )
        AND (
            intent.evidence_id IS NULL
            OR EXISTS (
                SELECT 1 FROM views.evidence AS body
                WHERE body.tenant_id = %(tenant_id)s AND body.intent_id = entry.intent_id AND body.kind = 'evidence'
            )
        )
    ) AS is_shown
FROM views.ledger_entries AS entry
LEFT JOIN views.intents AS intent ON intent.tenant_id = %(tenant_id)s AND intent.intent_id = entry.intent_id
WHERE entry.tenant_id = %(tenant_id)s AND entry.seq = %(seq)s

-- name: last_entry
-- The newest entry in the tables.
SELECT seq, leaf_hash, value
FROM views.ledger_entries
WHERE tenant_id = %(tenant_id)s
ORDER BY seq DESC
LIMIT 1

-- name: entries
-- A page of entries in order.
SELECT
    seq, value, leaf_hash, prev_hash, recorded_at, command_id, actor_kind, actor_ref, intent_id, event_type, event_json
FROM views.ledger_entries
WHERE tenant_id = %(tenant_id)s AND seq > %(after_seq)s
ORDER BY seq
LIMIT %(limit)s

-- name: values
-- The bytes of a run of entries, for the check of the chain.
SELECT seq, value
FROM views.ledger_entries
WHERE tenant_id = %(tenant_id)s AND seq BETWEEN %(from_seq)s AND %(to_seq)s
ORDER BY seq

-- name: entry
-- One entry's bytes.
SELECT seq, value, leaf_hash
FROM views.ledger_entries
WHERE tenant_id = %(tenant_id)s AND seq = %(seq)s

-- name: newest_checkpoint
-- The largest published size.
SELECT size, root, note
FROM views.checkpoints
WHERE tenant_id = %(tenant_id)s
ORDER BY size DESC
LIMIT 1

-- name: checkpoint
-- The checkpoint of one published size.
SELECT size, root, note
FROM views.checkpoints
WHERE tenant_id = %(tenant_id)s AND size = %(size)s

-- name: checkpoints_between
-- Published sizes within a run of entries.
SELECT size, root, note
FROM views.checkpoints
WHERE tenant_id = %(tenant_id)s AND size BETWEEN %(from_seq)s AND %(to_seq)s
ORDER BY size

-- name: tiles
-- The rows of a plan.
SELECT stored.level, stored.tile, stored.hashes
FROM views.ledger_tiles AS stored
JOIN unnest(%(levels)s::integer[], %(tiles)s::bigint[]) AS wanted (level, tile)
    ON wanted.level = stored.level AND wanted.tile = stored.tile
WHERE stored.tenant_id = %(tenant_id)s

-- name: leaves
-- Leaf hashes of the partial tile, in order; leaf index = seq − 1.
SELECT leaf_hash
FROM views.ledger_entries
WHERE tenant_id = %(tenant_id)s AND seq > %(first)s AND seq <= %(end)s
ORDER BY seq

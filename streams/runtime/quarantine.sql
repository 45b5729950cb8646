-- Paused partitions, and records that an operator ordered to pass over.

-- name: put
-- A partition is quarantined once; the first reason stays until it is released.
INSERT INTO streams.quarantine
    (generation, projection, topic, partition, tenant_id, record_offset, seq, reason, detail, quarantined_at)
VALUES (%(generation)s, %(projection)s, %(topic)s, %(partition)s, %(tenant_id)s, %(record_offset)s, %(seq)s,
        %(reason)s, %(detail)s, %(now)s)
ON CONFLICT (generation, projection, topic, partition) WHERE released_at IS NULL DO NOTHING

-- name: open_rows
-- What is paused now.
SELECT quarantine_id, projection, topic, partition, tenant_id, record_offset, seq, reason, detail, quarantined_at
FROM streams.quarantine WHERE generation = %(generation)s AND released_at IS NULL ORDER BY quarantine_id

-- name: release
-- The row stays as history.
UPDATE streams.quarantine
SET released_at = %(now)s, released_by = %(released_by)s, release_reason = %(reason)s
WHERE quarantine_id = %(quarantine_id)s AND released_at IS NULL

-- name: skip
-- An order given twice is one order.
INSERT INTO streams.skipped_records (topic, partition, record_offset, reason, approved_by, approved_at)
VALUES (%(topic)s, %(partition)s, %(record_offset)s, %(reason)s, %(approved_by)s, %(now)s)
ON CONFLICT DO NOTHING

-- name: skipped
-- Of the partitions that a member is assigned.
SELECT skipped.topic, skipped.partition, skipped.record_offset
FROM streams.skipped_records AS skipped
JOIN unnest(%(topics)s::text[], %(partitions)s::integer[]) AS wanted (topic, partition)
    ON skipped.topic = wanted.topic AND skipped.partition = wanted.partition

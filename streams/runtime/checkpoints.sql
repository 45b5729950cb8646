-- Checkpoint rows: claimed by raising the epoch, moved only by the claim's owner.

-- name: claim
-- In key order, so that two members can't lock each other; waits for a transaction of the present owner.
INSERT INTO streams.checkpoints AS mine
    (generation, projection, topic, partition, epoch, next_offset, seq, entry_hash, frontier)
SELECT %(generation)s::integer, wanted.projection, wanted.topic, wanted.partition, 1, 0, 0,
       decode(repeat('00', 32), 'hex'), ''::bytea
FROM unnest(%(projections)s::text[], %(topics)s::text[], %(partitions)s::integer[])
    AS wanted (projection, topic, partition)
ORDER BY wanted.projection, wanted.topic, wanted.partition
ON CONFLICT (generation, projection, topic, partition) DO UPDATE SET epoch = mine.epoch + 1
RETURNING projection, topic, partition, epoch, next_offset, hint_acked, seq, entry_hash, frontier

-- name: advance
-- No row = another owner, or another offset than we think.
UPDATE streams.checkpoints
SET next_offset = %(next_offset)s, seq = %(seq)s, entry_hash = %(entry_hash)b, frontier = %(frontier)b
WHERE generation = %(generation)s AND projection = %(projection)s AND topic = %(topic)s
  AND partition = %(partition)s AND epoch = %(epoch)s AND next_offset = %(old_offset)s

-- name: acknowledge
-- What the broker has acknowledged: below it, a committed offset is an operator's reset.
UPDATE streams.checkpoints SET hint_acked = %(hint_acked)s
WHERE generation = %(generation)s AND projection = %(projection)s AND topic = %(topic)s
  AND partition = %(partition)s AND epoch = %(epoch)s

-- name: positions
-- Every checkpoint of a generation, for people.
SELECT projection, topic, partition, epoch, next_offset, hint_acked, seq, entry_hash, frontier
FROM streams.checkpoints WHERE generation = %(generation)s ORDER BY projection, topic, partition

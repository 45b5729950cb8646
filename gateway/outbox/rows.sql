-- Writing and relaying the gateway's own rows. Each block but the locks runs after the tenant was set.

-- name: serialize
-- Changes of one row come one after the other, a first insert too; so outbox ids are in commit order per key.
SELECT pg_advisory_xact_lock(hashtextextended('paybond.gateway.rows/' || %(record_key)s, 0))

-- name: find_api_keys
-- The present version; with is_acknowledged, only if Kafka has it.
SELECT tenant_id, key_id, environment, kind, permissions, pepper_id, digest, label, created_at, revoked_at
FROM gateway.api_keys
WHERE
    tenant_id = %(tenant_id)s AND key_id = %(primary_key)s
    AND (NOT %(is_acknowledged)s OR acknowledged_at IS NOT NULL)

-- name: find_agent_keys
-- The present version; with is_acknowledged, only if Kafka has it.
SELECT tenant_id, key_id, public_key, purposes, expires_at, created_at, revoked_at
FROM gateway.agent_keys
WHERE
    tenant_id = %(tenant_id)s AND key_id = %(primary_key)s
    AND (NOT %(is_acknowledged)s OR acknowledged_at IS NOT NULL)

-- name: enqueue
-- The next outbox id, with the row that Kafka has to get.
INSERT INTO gateway.outbox (tenant_id, outbox_id, table_name, primary_key, row_json)
VALUES (%(tenant_id)s, nextval('gateway.outbox_ids'), %(table)s, %(primary_key)s, %(row_json)s)
RETURNING outbox_id

-- name: write_api_keys
-- The new version, unseen until acknowledged unless it says the same as the present one; never over a newer one.
INSERT INTO gateway.api_keys AS stored (
    tenant_id, key_id, environment, kind, permissions, pepper_id, digest, label, created_at, revoked_at, outbox_id,
    acknowledged_at
)
VALUES (
    %(tenant_id)s, %(key_id)s, %(environment)s, %(kind)s, %(permissions)s, %(pepper_id)s, %(digest)s, %(label)s,
    %(created_at)s, %(revoked_at)s, %(outbox_id)s, CASE WHEN %(is_acknowledged)s THEN now() END
)
ON CONFLICT (tenant_id, key_id) DO UPDATE SET
    environment = excluded.environment, kind = excluded.kind, permissions = excluded.permissions,
    pepper_id = excluded.pepper_id, digest = excluded.digest, label = excluded.label,
    created_at = excluded.created_at, revoked_at = excluded.revoked_at, outbox_id = excluded.outbox_id,
    acknowledged_at = CASE WHEN %(is_unchanged)s THEN stored.acknowledged_at ELSE excluded.acknowledged_at END
WHERE stored.outbox_id < excluded.outbox_id

-- name: write_agent_keys
-- The new version, unseen until acknowledged unless it says the same as the present one; never over a newer one.
INSERT INTO gateway.agent_keys AS stored (
    tenant_id, key_id, public_key, purposes, expires_at, created_at, revoked_at, outbox_id, acknowledged_at
)
VALUES (
    %(tenant_id)s, %(key_id)s, %(public_key)s, %(purposes)s, %(expires_at)s, %(created_at)s, %(revoked_at)s,
    %(outbox_id)s, CASE WHEN %(is_acknowledged)s THEN now() END
)
ON CONFLICT (tenant_id, key_id) DO UPDATE SET
    public_key = excluded.public_key, purposes = excluded.purposes, expires_at = excluded.expires_at,
    created_at = excluded.created_at, revoked_at = excluded.revoked_at, outbox_id = excluded.outbox_id,
    acknowledged_at = CASE WHEN %(is_unchanged)s THEN stored.acknowledged_at ELSE excluded.acknowledged_at END
WHERE stored.outbox_id < excluded.outbox_id

-- name: delete_api_keys
-- A restored deletion.
DELETE FROM gateway.api_keys
WHERE tenant_id = %(tenant_id)s AND key_id = %(primary_key)s AND outbox_id < %(outbox_id)s

-- name: delete_agent_keys
-- A restored deletion.
DELETE FROM gateway.agent_keys
WHERE tenant_id = %(tenant_id)s AND key_id = %(primary_key)s AND outbox_id < %(outbox_id)s

-- name: announce
-- Delivered at commit: the relay need not look around.
SELECT pg_notify('paybond_gateway_outbox', '')

-- name: is_waiting
-- Whether Kafka has not acknowledged it yet.
SELECT 1 FROM gateway.outbox WHERE tenant_id = %(tenant_id)s AND outbox_id = %(outbox_id)s

-- name: lock
-- One relay per database; the connection holds the lock and its end gives it up. "paybond" in ASCII, and 1.
SELECT pg_try_advisory_lock(31632393519755877)

-- name: listen
-- Woken by `announce`.
LISTEN paybond_gateway_outbox

-- name: tenants
-- Whose rows wait; nothing of them is shown.
SELECT gateway.outbox_tenants() AS tenant_id

-- name: pending
-- The oldest first.
SELECT tenant_id, outbox_id, table_name, primary_key, row_json
FROM gateway.outbox
WHERE tenant_id = %(tenant_id)s
ORDER BY outbox_id
LIMIT %(limit)s

-- name: acknowledge_api_keys
-- Only the version that was published: a newer one waits for its own turn.
UPDATE gateway.api_keys SET acknowledged_at = now()
WHERE tenant_id = %(tenant_id)s AND outbox_id = ANY(%(outbox_ids)s) AND acknowledged_at IS NULL

-- name: acknowledge_agent_keys
-- Only the version that was published: a newer one waits for its own turn.
UPDATE gateway.agent_keys SET acknowledged_at = now()
WHERE tenant_id = %(tenant_id)s AND outbox_id = ANY(%(outbox_ids)s) AND acknowledged_at IS NULL

-- name: forget
-- What Kafka has is no longer waiting.
DELETE FROM gateway.outbox WHERE tenant_id = %(tenant_id)s AND outbox_id = ANY(%(outbox_ids)s)

-- name: tell
-- Every gateway's requests that wait for these ids; delivered at commit.
SELECT pg_notify('paybond_gateway_acknowledged', %(outbox_id)s::text)

-- name: continue_after
-- After a restore: ids go on above the topic's, so that newer stays newer.
SELECT setval('gateway.outbox_ids', greatest(%(outbox_id)s, (SELECT last_value FROM gateway.outbox_ids)))

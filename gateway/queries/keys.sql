-- Keys: the credential before its tenant is known, then a tenant's own registries. Unacknowledged rows do not exist.

-- name: api_key_by_id
-- No tenant yet: a SECURITY DEFINER function takes the exact id and answers one acknowledged row or none.
SELECT tenant_id, key_id, environment, kind, permissions, pepper_id, digest, revoked_at
FROM gateway.find_api_key(%(key_id)s)

-- name: agent_key
-- One trusted agent key.
SELECT key_id, public_key, purposes, expires_at, revoked_at
FROM gateway.agent_keys
WHERE tenant_id = %(tenant_id)s AND key_id = %(key_id)s AND acknowledged_at IS NOT NULL

-- name: api_keys
-- A page of the tenant's API keys; never the digest.
SELECT key_id, environment, kind, permissions, label, created_at, revoked_at
FROM gateway.api_keys
WHERE tenant_id = %(tenant_id)s AND acknowledged_at IS NOT NULL AND key_id > %(after)s
ORDER BY key_id
LIMIT %(limit)s

-- name: agent_keys
-- A page of the tenant's trusted agent keys.
SELECT key_id, public_key, purposes, expires_at, created_at, revoked_at
FROM gateway.agent_keys
WHERE tenant_id = %(tenant_id)s AND acknowledged_at IS NOT NULL AND key_id > %(after)s
ORDER BY key_id
LIMIT %(limit)s

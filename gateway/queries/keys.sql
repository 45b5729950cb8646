-- Keys: the credential before its tenant is known, then a tenant's own registries. Unacknowledged rows do not exist.

-- name: api_keys_by_id
-- No tenant yet: a SECURITY DEFINER function takes an exact id and answers one acknowledged row or none.
SELECT
    found.tenant_id, found.key_id, found.environment, found.kind, found.permissions, found.pepper_id, found.digest,
    found.revoked_at
FROM unnest(%(key_ids)s::text[]) AS asked (key_id)
CROSS JOIN LATERAL gateway.find_api_key(asked.key_id) AS found

-- name: agent_keys_by_id
-- Trusted agent keys.
SELECT key_id, public_key, purposes, expires_at, revoked_at
FROM gateway.agent_keys
WHERE tenant_id = %(tenant_id)s AND key_id = ANY(%(key_ids)s::text[]) AND acknowledged_at IS NOT NULL

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

-- Whose rows a transaction may see; every other statement comes after it.

-- name: set_tenant
-- For this transaction only: a connection goes back to the pool without it.
SELECT set_config('paybond.tenant', %(tenant_id)s, true)

-- The gateway's own rows and their outbox. All of it comes back from paybond.gateway.rows after a lost database.
-- Row-level security is the second wall: a session without paybond.tenant, or with another one, sees nothing.

CREATE SCHEMA gateway;

-- acknowledged_at is null until Kafka has the row's newest version: until then it is invisible to reads and to
-- authentication. outbox_id is that of the newest version; what is acknowledged later than another write is not it.
CREATE TABLE gateway.api_keys (
    tenant_id text NOT NULL CHECK (tenant_id <> ''),
    key_id text NOT NULL CHECK (key_id ~ '^[0-9a-f]{32}$'),
    environment text NOT NULL CHECK (environment IN ('sandbox', 'live')),
    kind text NOT NULL CHECK (kind IN ('standard', 'restricted')),
    permissions text[] NOT NULL,
    pepper_id text NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    label text NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    outbox_id bigint NOT NULL,
    acknowledged_at timestamptz,
    PRIMARY KEY (tenant_id, key_id)
);
-- Not unique: every unique key starts with the tenant. Ids are 128 random bits; find_api_key refuses a shared one.
CREATE INDEX api_keys_by_key_id ON gateway.api_keys (key_id);

CREATE TABLE gateway.agent_keys (
    tenant_id text NOT NULL CHECK (tenant_id <> ''),
    key_id text NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    purposes text[] NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    outbox_id bigint NOT NULL,
    acknowledged_at timestamptz,
    PRIMARY KEY (tenant_id, key_id)
);

-- What Kafka has not acknowledged yet, in the order of its keys. Emptied by the relay.
CREATE TABLE gateway.outbox (
    tenant_id text NOT NULL CHECK (tenant_id <> ''),
    outbox_id bigint NOT NULL,
    table_name text NOT NULL CHECK (table_name IN ('api_keys', 'agent_keys')),
    primary_key text NOT NULL,
    row_json text,
    PRIMARY KEY (tenant_id, outbox_id)
);
CREATE SEQUENCE gateway.outbox_ids;

ALTER TABLE gateway.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.api_keys FORCE ROW LEVEL SECURITY;
ALTER TABLE gateway.agent_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.agent_keys FORCE ROW LEVEL SECURITY;
ALTER TABLE gateway.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.outbox FORCE ROW LEVEL SECURITY;

CREATE POLICY own_tenant ON gateway.api_keys TO paybond_gateway
    USING (tenant_id = nullif(current_setting('paybond.tenant', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('paybond.tenant', true), ''));
CREATE POLICY own_tenant ON gateway.agent_keys TO paybond_gateway
    USING (tenant_id = nullif(current_setting('paybond.tenant', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('paybond.tenant', true), ''));
CREATE POLICY own_tenant ON gateway.outbox TO paybond_gateway
    USING (tenant_id = nullif(current_setting('paybond.tenant', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('paybond.tenant', true), ''));

-- FORCE binds the owner too; the two functions below run as the owner and may read, never write.
CREATE POLICY definer_reads ON gateway.api_keys FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY definer_reads ON gateway.outbox FOR SELECT TO CURRENT_USER USING (true);

-- Before a tenant is known: the exact id of the bearer, one row or none.
CREATE FUNCTION gateway.find_api_key(wanted_key_id text)
RETURNS TABLE (
    tenant_id text, key_id text, environment text, kind text, permissions text[], pepper_id text, digest bytea,
    revoked_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
ROWS 1
AS $$
    SELECT
        found.tenant_id, found.key_id, found.environment, found.kind, found.permissions, found.pepper_id, found.digest,
        found.revoked_at
    FROM gateway.api_keys AS found
    WHERE
        found.key_id = wanted_key_id
        AND found.acknowledged_at IS NOT NULL
        AND NOT EXISTS (
            SELECT 1 FROM gateway.api_keys AS other
            WHERE other.key_id = wanted_key_id AND other.tenant_id <> found.tenant_id
        )
$$;

-- Which tenants the relay has work for; their rows it reads under each tenant's own setting.
CREATE FUNCTION gateway.outbox_tenants()
RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT DISTINCT waiting.tenant_id FROM gateway.outbox AS waiting ORDER BY 1 $$;

REVOKE ALL ON FUNCTION gateway.find_api_key(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION gateway.outbox_tenants() FROM PUBLIC;
GRANT USAGE ON SCHEMA gateway TO paybond_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.api_keys, gateway.agent_keys TO paybond_gateway;
GRANT SELECT, INSERT, DELETE ON gateway.outbox TO paybond_gateway;
GRANT USAGE, SELECT, UPDATE ON SEQUENCE gateway.outbox_ids TO paybond_gateway;
GRANT EXECUTE ON FUNCTION gateway.find_api_key(text), gateway.outbox_tenants() TO paybond_gateway;

-- What operators and defects do to a tenant as a whole, so that reads can say why its intents wait.

-- Harbor's own row of a tenant on `paybond.intents`: pause of the rails and quarantine stand in it, in no ledger.
CREATE TABLE views.tenant_states (
    tenant_id text  PRIMARY KEY,
    state     bytea NOT NULL            -- the record's bytes: Avro in Confluent's wire format
);

-- The record that each row is of: reading older ones again changes nothing.
CREATE TABLE streams.tenant_state_offsets (
    tenant_id     text   PRIMARY KEY,
    record_offset bigint NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON views.tenant_states TO paybond_streams;
GRANT SELECT ON views.tenant_states TO paybond_gateway, paybond_fsck;
GRANT SELECT, INSERT, UPDATE, DELETE ON streams.tenant_state_offsets TO paybond_streams;
GRANT SELECT ON streams.tenant_state_offsets TO paybond_fsck;

ALTER TABLE views.tenant_states ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY gateway_reads_its_tenant ON views.tenant_states FOR SELECT TO paybond_gateway
    USING (tenant_id = current_setting('paybond.tenant', true));
CREATE POLICY streams_writes ON views.tenant_states TO paybond_streams USING (true) WITH CHECK (true);
CREATE POLICY fsck_reads ON views.tenant_states FOR SELECT TO paybond_fsck USING (true);

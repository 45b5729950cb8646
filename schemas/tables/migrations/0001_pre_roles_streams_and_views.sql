-- Roles, the checkpoints of streams, and the read tables.
--
-- `views` is a pure function of Kafka's records: no clock, offset or epoch stands in it; those are in `streams`.
-- Every unique key of `views` starts with the tenant, and row-level security is forced on every table of it: the
-- gateway sees the rows of `paybond.tenant`, and without that setting none.

-- Roles belong to the server, not to the database: another database's migration may have made them already, or be
-- making them now. Passwords are set by whoever deploys.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['paybond_streams', 'paybond_gateway', 'paybond_fsck'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO paybond_streams, paybond_gateway, paybond_fsck', current_database());
END
$$;

CREATE SCHEMA IF NOT EXISTS streams;
CREATE SCHEMA views;
GRANT USAGE ON SCHEMA streams TO paybond_streams, paybond_gateway, paybond_fsck;
GRANT USAGE ON SCHEMA views TO paybond_streams, paybond_gateway, paybond_fsck;

-- ── streams: where each projection stands ──────────────────────────────────────────────────────────────────────────

-- Updated in the transaction of the rows it stands for, WHERE epoch = mine AND next_offset = old. Half-full pages:
-- every update then finds room beside its row and touches no index (HOT).
CREATE TABLE streams.checkpoints (
    generation  integer NOT NULL,           -- of the tables: a shadow rebuild fills the next one
    projection  text    NOT NULL,           -- ledger | evidence | outcomes | checkpoints | …
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    epoch       bigint  NOT NULL,           -- + 1 at each assignment; an older owner's update finds no row
    next_offset bigint  NOT NULL,           -- of Kafka: the first record not yet in the tables
    hint_acked  bigint,                     -- last offset whose commit the broker acknowledged; null = none yet
    seq         bigint  NOT NULL,           -- ledger topics: the last entry in the tables; else 0
    entry_hash  bytea   NOT NULL CHECK (length(entry_hash) = 32),  -- leaf hash of entry `seq`; zeros before entry 1
    frontier    bytea   NOT NULL CHECK (length(frontier) % 32 = 0), -- RFC 6962 subtree roots of size `seq`, packed
    PRIMARY KEY (generation, projection, topic, partition)
) WITH (fillfactor = 50);

-- Why a partition (on a ledger topic: a tenant) is paused. History stays; at most one open row per partition.
CREATE TABLE streams.quarantine (
    quarantine_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    generation      integer     NOT NULL,
    projection      text        NOT NULL,
    topic           text        NOT NULL,
    partition       integer     NOT NULL,
    tenant_id       text,                   -- null: a partition of many tenants is parked
    record_offset   bigint,                 -- of the record that does not fit; null: no single record
    seq             bigint,                 -- ledger: the entry that was expected
    reason          text        NOT NULL,   -- chain_break | key_mismatch | checkpoint_mismatch | unknown_schema | …
    detail          text        NOT NULL,
    quarantined_at  timestamptz NOT NULL,
    released_at     timestamptz,
    released_by     text,
    release_reason  text
);
CREATE UNIQUE INDEX quarantine_open ON streams.quarantine (generation, projection, topic, partition)
    WHERE released_at IS NULL;
CREATE INDEX quarantine_tenant ON streams.quarantine (tenant_id, quarantine_id);

-- Records that an operator ordered to pass over, by name; every projection and every rebuild passes over them.
CREATE TABLE streams.skipped_records (
    topic         text        NOT NULL,
    partition     integer     NOT NULL,
    record_offset bigint      NOT NULL,
    reason        text        NOT NULL,
    approved_by   text        NOT NULL,
    approved_at   timestamptz NOT NULL,
    PRIMARY KEY (topic, partition, record_offset)
);

-- Bodies that a tombstone erased, so that reading an older record again does not bring one back for a moment.
CREATE TABLE streams.erased_bodies (
    tenant_id     text   NOT NULL,
    intent_id     text   NOT NULL,
    kind          text   NOT NULL,
    record_offset bigint NOT NULL,          -- of the tombstone: what lies below it is erased
    PRIMARY KEY (tenant_id, intent_id, kind)
);

-- Signed checkpoints that wait until the entries reach their size.
CREATE TABLE streams.waiting_checkpoints (
    tenant_id text   NOT NULL,
    size      bigint NOT NULL,
    root      bytea  NOT NULL CHECK (length(root) = 32),
    note      text   NOT NULL,
    topic     text   NOT NULL,
    partition integer NOT NULL,
    PRIMARY KEY (tenant_id, size)
);
CREATE INDEX waiting_checkpoints_partition ON streams.waiting_checkpoints (topic, partition);

-- ── views: what people read ────────────────────────────────────────────────────────────────────────────────────────

-- One row per tenant, from entry 1 on. `last_seq` is what a read with `x-paybond-min-ledger-seq` waits for.
CREATE TABLE views.tenants (
    tenant_id                 text        PRIMARY KEY,
    environment               text        NOT NULL,   -- sandbox | live
    settlement_mode           text        NOT NULL,   -- simulated | stripe_connect
    settlement_config_version bigint      NOT NULL,
    origin                    text        NOT NULL,   -- of its checkpoints: paybond/<deployment>/<tenant>
    provisioned_at            timestamptz NOT NULL,
    last_seq                  bigint      NOT NULL,   -- the newest entry in the tables
    last_leaf_hash            bytea       NOT NULL,
    last_recorded_at          timestamptz NOT NULL
) WITH (fillfactor = 50);

-- One row per entry. `value` is the record as it lies on the topic: its leaf hash is SHA-256(00 ‖ value).
CREATE TABLE views.ledger_entries (
    tenant_id   text        NOT NULL,
    seq         bigint      NOT NULL,
    value       bytea       NOT NULL,
    leaf_hash   bytea       NOT NULL,
    prev_hash   bytea       NOT NULL,
    recorded_at timestamptz NOT NULL,
    command_id  text        NOT NULL,
    actor_kind  text        NOT NULL,
    actor_ref   text        NOT NULL,
    intent_id   text,                       -- null: the entry is about the tenant
    event_type  text        NOT NULL,       -- snake case, as in the contract
    event_json  text        NOT NULL,       -- the event's fields: hashes and keys in hex, instants RFC 3339
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX ledger_entries_intent ON views.ledger_entries (tenant_id, intent_id, seq);

-- C2SP tiles (schemas/ledger/tiles.py). Level 0: full tiles only; level ≥ 1: from the first hash on.
CREATE TABLE views.ledger_tiles (
    tenant_id text   NOT NULL,
    level     integer NOT NULL,
    tile      bigint NOT NULL,
    hashes    bytea  NOT NULL CHECK (length(hashes) % 32 = 0 AND length(hashes) <= 8192),
    PRIMARY KEY (tenant_id, level, tile)
);

-- Published sizes: notes whose signature and root were checked here against the entries.
CREATE TABLE views.checkpoints (
    tenant_id text   NOT NULL,
    size      bigint NOT NULL,
    root      bytea  NOT NULL CHECK (length(root) = 32),
    note      text   NOT NULL,              -- the C2SP signed note, as published
    PRIMARY KEY (tenant_id, size)
);

-- The fold of an intent's entries. Amounts in minor units of `currency`; statuses as on the wire.
CREATE TABLE views.intents (
    tenant_id                 text        NOT NULL,
    intent_id                 text        NOT NULL,
    status                    text        NOT NULL,
    reason                    text,                   -- of `refunded`
    signing_version           integer     NOT NULL,
    principal_did             text        NOT NULL,
    payee_did                 text        NOT NULL,   -- the operator, in Signal's words
    amount_minor              bigint      NOT NULL,
    currency                  text        NOT NULL,
    settlement_rail           text        NOT NULL,
    settlement_mode           text,                   -- once funded
    settlement_config_version bigint,
    deadline                  timestamptz NOT NULL,
    evidence_due_at           timestamptz NOT NULL,   -- min(deadline, hold_expires_at − 24 h)
    hold_status               text        NOT NULL,
    hold_rail_object          text,
    hold_amount_minor         bigint      NOT NULL,
    hold_currency             text        NOT NULL,
    hold_expires_at           timestamptz,
    hold_effect_id            text,                   -- null: no request to the rail is outstanding
    hold_action               text,                   -- these five: of the last request
    hold_attempt              integer     NOT NULL,
    hold_cause                text,
    hold_requested_minor      bigint      NOT NULL,
    hold_requested_at         timestamptz,
    rail_status               text,                   -- what the rail last said of its object
    placed_minor              bigint      NOT NULL,   -- = held + released + refunded + custody
    held_minor                bigint      NOT NULL,
    released_minor            bigint      NOT NULL,
    refunded_minor            bigint      NOT NULL,
    custody_minor             bigint      NOT NULL,
    evidence_id               text,
    evidence_submitted_at     timestamptz,
    evidence_is_evaluated     boolean     NOT NULL,
    evidence_passed           boolean,                -- null: unknown, or not evaluated
    evidence_evaluator        text,
    dispute_case_id           text,
    dispute_reason_code       text,
    dispute_opened_at         timestamptz,
    custody                   text,
    external_ref              text,
    created_at                timestamptz NOT NULL,
    created_seq               bigint      NOT NULL,
    updated_at                timestamptz NOT NULL,
    last_seq                  bigint      NOT NULL,
    final_at                  timestamptz,
    state                     bytea       NOT NULL,   -- the encoded IntentState: what the fold goes on from
    PRIMARY KEY (tenant_id, intent_id)
) WITH (fillfactor = 70);
CREATE INDEX intents_newest ON views.intents (tenant_id, created_seq DESC);
CREATE INDEX intents_status ON views.intents (tenant_id, status, created_seq DESC);
CREATE INDEX intents_payee ON views.intents (tenant_id, payee_did, created_seq DESC);

-- Counters: how many intents stand in a state, and their money. A row may fall back to zeros; it stays.
CREATE TABLE views.intent_totals (
    tenant_id      text   NOT NULL,
    status         text   NOT NULL,
    currency       text   NOT NULL,
    intents        bigint NOT NULL,
    placed_minor   numeric(38) NOT NULL,
    held_minor     numeric(38) NOT NULL,
    released_minor numeric(38) NOT NULL,
    refunded_minor numeric(38) NOT NULL,
    custody_minor  numeric(38) NOT NULL,
    PRIMARY KEY (tenant_id, status, currency)
) WITH (fillfactor = 50);

-- Bodies from `paybond.evidence`, as text: jsonb rewrites number literals. A tombstone deletes the row.
CREATE TABLE views.evidence (
    tenant_id        text NOT NULL,
    intent_id        text NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('intent', 'evidence')),
    budget           text,                  -- these four: kind `intent`
    evidence_schema  text,
    predicate        text,
    allowed_tools    text[],
    evidence_id      text,                  -- the rest: kind `evidence`
    payload          text,
    artifacts        bytea[],
    payload_digest   bytea,
    artifacts_digest bytea,
    payee_did        text,
    payee_pubkey     bytea,
    payee_signature  bytea,
    submitted_at     text,
    salt             bytea,
    report           text,                  -- the predicate's evaluation, compact JSON
    PRIMARY KEY (tenant_id, intent_id, kind),
    CHECK (kind <> 'intent' OR (budget IS NOT NULL AND evidence_schema IS NOT NULL AND predicate IS NOT NULL
                                AND allowed_tools IS NOT NULL)),
    CHECK (kind <> 'evidence' OR (evidence_id IS NOT NULL AND payload IS NOT NULL AND report IS NOT NULL))
);

-- The newest outcome per command, for `/v1/operations/{id}`; kept 7 days by record time. Status `retry` is no
-- decision and has no row.
CREATE TABLE views.operations (
    tenant_id   text        NOT NULL,
    command_id  text        NOT NULL,
    intent_id   text,
    status      text        NOT NULL,       -- accepted | done | refused
    recorded_at timestamptz NOT NULL,       -- the command's time
    decided_at  timestamptz NOT NULL,       -- changes when the rail's answer rewrites the outcome
    outcome     bytea       NOT NULL,       -- the record's bytes
    PRIMARY KEY (tenant_id, command_id)
);
CREATE INDEX operations_recorded ON views.operations (recorded_at);
CREATE INDEX operations_intent ON views.operations (tenant_id, intent_id, recorded_at);

-- ── Who may do what ────────────────────────────────────────────────────────────────────────────────────────────────

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA views TO paybond_streams;
GRANT SELECT ON ALL TABLES IN SCHEMA views TO paybond_gateway, paybond_fsck;
GRANT SELECT, INSERT, UPDATE ON streams.checkpoints, streams.quarantine, streams.skipped_records TO paybond_streams;
GRANT SELECT, INSERT, UPDATE, DELETE ON streams.erased_bodies, streams.waiting_checkpoints TO paybond_streams;
GRANT SELECT ON streams.checkpoints, streams.quarantine, streams.skipped_records, streams.erased_bodies,
    streams.waiting_checkpoints TO paybond_fsck;
GRANT SELECT ON streams.quarantine TO paybond_gateway;

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'views.tenants', 'views.ledger_entries', 'views.ledger_tiles', 'views.checkpoints', 'views.intents',
        'views.intent_totals', 'views.evidence', 'views.operations', 'streams.quarantine'
    ] LOOP
        EXECUTE 'ALTER TABLE ' || table_name || ' ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY';
        EXECUTE 'CREATE POLICY gateway_reads_its_tenant ON ' || table_name || ' FOR SELECT TO paybond_gateway '
            || 'USING (tenant_id = current_setting(''paybond.tenant'', true))';
        EXECUTE 'CREATE POLICY streams_writes ON ' || table_name || ' TO paybond_streams USING (true) WITH CHECK (true)';
        EXECUTE 'CREATE POLICY fsck_reads ON ' || table_name || ' FOR SELECT TO paybond_fsck USING (true)';
    END LOOP;
END
$$;

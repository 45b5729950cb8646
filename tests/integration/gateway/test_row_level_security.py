"""The second wall: whatever a query forgets, a tenant's rows are shown to nobody else."""

import asyncio
import re
from importlib.resources import files
from typing import Any

import psycopg
import pytest
from psycopg import sql

from gateway.adapters.postgres_reads import TenantReads, refuse_autocommit
from gateway.auth.key_admin import AgentKeyRequest
from schemas.errors import DatabaseUnavailableError
from schemas.ids import TenantId
from streams.runtime.postgres import open_pool, sql_blocks
from tests.integration.gateway.gateways import ROLE, RunningGateway, run
from tests.integration.gateway.tables import history_of, migrated, store, store_tenant_state
from tests.support.databases import FreshDatabase
from tests.support.domain_world import evidenced
from tests.support.ledgers import tenant_state

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

VIEWS = (
    "views.tenants",
    "views.ledger_entries",
    "views.ledger_tiles",
    "views.checkpoints",
    "views.intents",
    "views.intent_totals",
    "views.evidence",
    "views.operations",
    "views.tenant_states",
)
OWN_TABLES = ("gateway.api_keys", "gateway.agent_keys", "gateway.outbox")
ACME = TenantId("acme")
# Both tenants trust one of this id.
AGENT_KEY = AgentKeyRequest(
    key_id="agent-1", public_key=bytes(32), purposes=("harbor.intent.fund",), expires_at=None
)
# All there are: a new file is tried by existing. `tenant.sql` is the wall itself.
_SQL_FILES = sorted(
    file.name
    for file in files("gateway.queries").iterdir()
    if file.name.endswith(".sql") and file.name != "tenant.sql"
)
_TENANT_CLAUSE = re.compile(r"(\w+\.)?tenant_id = %\(tenant_id\)s")


@pytest.fixture(scope="module")
def filled(module_postgres: FreshDatabase) -> FreshDatabase:
    """Two tenants whose names begin alike, with rows in every table."""
    database = migrated(module_postgres)
    for tenant_id in ("acme", "acme-corp"):
        history = history_of(evidenced(), tenant_id)
        store(database, history, checkpoints=[1, len(history.entries)])
        store_tenant_state(database, tenant_state(history.tenant_id))
    _add_a_tile(database)

    async def keys(gateway: RunningGateway) -> None:
        for tenant_id in ("acme", "acme-corp"):
            await gateway.issue(tenant_id)
            await gateway.keys.trust(TenantId(tenant_id), AGENT_KEY)

    async def waiting_rows(gateway: RunningGateway) -> None:
        """The outbox has some of both tenants too."""
        await gateway.stop_relay()
        for tenant_id in ("acme", "acme-corp"):
            with pytest.raises(Exception, match="Not known yet"):
                await gateway.issue(tenant_id)

    run(database, keys)
    # Of a gateway of its own: no answer comes here, so its time may be short on any machine.
    run(database, waiting_rows, acknowledgement_seconds=0.05)
    return database


def _add_a_tile(database: FreshDatabase) -> None:
    with psycopg.connect(database.login_dsn("paybond_streams")) as connection:
        for tenant_id in ("acme", "acme-corp"):
            connection.execute(
                "INSERT INTO views.ledger_tiles VALUES (%s, 5, 0, %s)", (tenant_id, bytes(32))
            )


def _count(connection: psycopg.Connection, table: str, tenant_id: str | None = None) -> int:
    statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.split(".")))
    if tenant_id is not None:
        statement += sql.SQL(" WHERE tenant_id <> {}").format(sql.Literal(tenant_id))
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("table", [*VIEWS, *OWN_TABLES])
@pytest.mark.parametrize("setting", [None, ""])
def test_a_session_without_a_tenant_sees_no_row(
    filled: FreshDatabase, table: str, setting: str | None
) -> None:
    with psycopg.connect(filled.login_dsn(ROLE)) as connection:
        if setting is not None:
            connection.execute("SELECT set_config('paybond.tenant', %s, true)", (setting,))

        found = _count(connection, table)

    with psycopg.connect(filled.superuser_dsn) as connection:
        assert found == 0
        assert _count(connection, table) >= 2


@pytest.mark.parametrize("table", [*VIEWS, *OWN_TABLES])
def test_a_session_sees_its_own_tenants_rows_and_no_others(
    filled: FreshDatabase, table: str
) -> None:
    with psycopg.connect(filled.login_dsn(ROLE)) as connection:
        connection.execute("SELECT set_config('paybond.tenant', 'acme', true)")

        own, others = _count(connection, table), _count(connection, table, "acme")

    assert own >= 1
    assert others == 0


def _blocks() -> list[Any]:
    blocks = [(file, name, text) for file in _SQL_FILES for name, text in _texts(file)]
    return [pytest.param(text, id=f"{file}-{name}") for file, name, text in blocks]


def _texts(file: str) -> list[tuple[str, str]]:
    blocks = sql_blocks("gateway.queries", file)
    return [(name, text) for name, text in blocks.items() if name != "api_keys_by_id"]


VALUES: dict[str, object] = {
    "tenant_id": "acme",
    "seq": 2,
    "size": 1,
    "after_seq": 0,
    "from_seq": 1,
    "to_seq": 9,
    "before_seq": 10**16,
    "limit": 100,
    "first": 0,
    "end": 9,
    "levels": [5],
    "tiles": [0],
    "status": None,
    "operator_did": None,
    "after": "",
    "key_ids": [AGENT_KEY.key_id],
}


@pytest.mark.parametrize("text", _blocks())
def test_a_query_that_forgets_its_tenant_still_shows_no_other_ones_rows(
    filled: FreshDatabase, text: str
) -> None:
    with psycopg.connect(filled.superuser_dsn) as connection:
        values = _values(connection)
    forgetful = _TENANT_CLAUSE.sub("true", text)
    assert forgetful != text

    with psycopg.connect(filled.login_dsn(ROLE)) as connection:
        connection.execute("SELECT set_config('paybond.tenant', 'acme', true)")
        with_clause = connection.execute(text, values).fetchall()
        without_clause = connection.execute(forgetful, values).fetchall()
        connection.execute("SELECT set_config('paybond.tenant', 'nobody', true)")
        of_nobody = connection.execute(forgetful, values).fetchall()

    # Of a query that shows nothing whatever it forgets nothing would be learnt.
    assert with_clause != []
    assert sorted(map(repr, without_clause)) == sorted(map(repr, with_clause))
    assert of_nobody == []


def _values(connection: psycopg.Connection) -> dict[str, object]:
    """With an intent and a command that are there."""
    row = connection.execute(
        "SELECT intent_id, command_id FROM views.ledger_entries"
        " WHERE tenant_id = 'acme' AND intent_id IS NOT NULL LIMIT 1"
    ).fetchone()
    assert row is not None
    return {**VALUES, "intent_ids": [row[0]], "command_id": row[1]}


def test_without_row_level_security_a_forgetful_query_would_show_others(
    filled: FreshDatabase,
) -> None:
    """The mutation above is one: only the wall keeps it from showing anything."""
    shown = []
    with psycopg.connect(filled.superuser_dsn) as connection:
        for parameter in _blocks():
            [text] = parameter.values
            forgetful = _TENANT_CLAUSE.sub("true", text)
            values = _values(connection)
            own = connection.execute(text, values).fetchall()
            shown.append(len(connection.execute(forgetful, values).fetchall()) > len(own))

    assert sum(shown) >= 4


@pytest.mark.parametrize("table", OWN_TABLES)
def test_a_row_of_another_tenant_can_be_written_by_nobody(
    filled: FreshDatabase, table: str
) -> None:
    statement = sql.SQL("DELETE FROM {}").format(sql.Identifier(*table.split(".")))
    with psycopg.connect(filled.login_dsn(ROLE)) as connection:
        connection.execute("SELECT set_config('paybond.tenant', 'nobody', true)")

        deleted = connection.execute(statement).rowcount

        assert deleted == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "INSERT INTO gateway.outbox VALUES ('acme', 99, 'api_keys', 'x', NULL)"
            )


@pytest.mark.parametrize("table", VIEWS)
def test_the_gateway_writes_no_read_table(filled: FreshDatabase, table: str) -> None:
    statement = sql.SQL("DELETE FROM {}").format(sql.Identifier(*table.split(".")))
    with (
        psycopg.connect(filled.login_dsn(ROLE)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_the_gateways_role_owns_nothing_and_bypasses_nothing(filled: FreshDatabase) -> None:
    with psycopg.connect(filled.superuser_dsn) as connection:
        role = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles"
            " WHERE rolname = %s",
            (ROLE,),
        ).fetchone()
        owned = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relowner = %s::regrole", (ROLE,)
        ).fetchone()
        tables = connection.execute(
            "SELECT count(*) FILTER (WHERE NOT (relrowsecurity AND relforcerowsecurity)), count(*)"
            " FROM pg_class WHERE relkind = 'r' AND relnamespace IN"
            " ('gateway'::regnamespace, 'views'::regnamespace)"
        ).fetchone()
        unique_keys = connection.execute(
            "SELECT count(*) FILTER (WHERE attribute.attname <> 'tenant_id') FROM pg_index AS entry"
            " JOIN pg_class AS class ON class.oid = entry.indrelid"
            " JOIN pg_attribute AS attribute"
            " ON attribute.attrelid = class.oid AND attribute.attnum = entry.indkey[0]"
            " WHERE entry.indisunique AND class.relnamespace IN"
            " ('gateway'::regnamespace, 'views'::regnamespace)"
        ).fetchone()

    assert role == (False, False, False, False)
    assert owned == (0,)
    assert tables == (0, len(VIEWS) + len(OWN_TABLES))
    assert unique_keys == (0,)


def test_the_key_look_up_answers_the_exact_id_alone(filled: FreshDatabase) -> None:
    with psycopg.connect(filled.superuser_dsn) as connection:
        row = connection.execute(
            "SELECT key_id FROM gateway.api_keys WHERE acknowledged_at IS NOT NULL LIMIT 1"
        ).fetchone()
    assert row is not None

    with psycopg.connect(filled.login_dsn(ROLE)) as connection:
        found = [
            connection.execute("SELECT * FROM gateway.find_api_key(%s)", (wanted,)).fetchall()
            for wanted in (row[0], row[0][:-1], row[0][:-1] + "%", "", None)
        ]

    assert [len(rows) for rows in found] == [1, 0, 0, 0, 0]


def test_a_key_id_that_two_tenants_have_is_nobodys(postgres: FreshDatabase) -> None:
    insert = (
        "INSERT INTO gateway.api_keys VALUES"
        " (%s, %s, 'sandbox', 'standard', '{}', 'p1', %s, '', now(), NULL, %s, now())"
    )
    database = migrated(postgres)
    with psycopg.connect(database.superuser_dsn) as connection:
        connection.execute(insert, ("acme", "ab" * 16, bytes(32), 1))
        connection.execute(insert, ("acme-corp", "ab" * 16, bytes(32), 2))

    with psycopg.connect(database.login_dsn(ROLE)) as connection:
        found = connection.execute(
            "SELECT * FROM gateway.find_api_key(%s)", ("ab" * 16,)
        ).fetchall()

    assert found == []


def test_a_read_is_one_round_trip_and_leaves_no_tenant_behind(
    filled: FreshDatabase, tmp_path: Any
) -> None:
    trace = tmp_path / "trace"

    async def scenario() -> None:
        async with open_pool(filled.login_dsn(ROLE), program="test", connections_max=1) as pool:
            reads = TenantReads(pool)
            with trace.open("wb") as file:
                async with pool.connection() as connection:
                    connection.pgconn.trace(file.fileno())
                rows = await reads.fetch(ACME, "SELECT DISTINCT tenant_id FROM views.tenants")
                async with pool.connection() as connection:
                    connection.pgconn.untrace()

            assert rows == [{"tenant_id": "acme"}]

    asyncio.run(scenario())

    sent = [line.split("\t")[3] for line in trace.read_text().splitlines() if "\tF\t" in line]
    last_execute = max(at for at, kind in enumerate(sent) if kind == "Execute")
    assert sent.count("Execute") == 4
    assert "Sync" not in sent[:last_execute]


def test_a_failed_read_leaves_the_connection_as_it_was(filled: FreshDatabase) -> None:
    async def scenario() -> None:
        async with open_pool(filled.login_dsn(ROLE), program="test", connections_max=1) as pool:
            reads = TenantReads(pool)
            with pytest.raises(psycopg.errors.UndefinedTable):
                await reads.fetch(ACME, "SELECT 1 FROM nothing")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await reads.fetch(ACME, "DELETE FROM gateway.outbox")
            slow = asyncio.create_task(reads.fetch(ACME, "SELECT pg_sleep(30)"))
            await asyncio.sleep(0.2)
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow

            rows = await reads.fetch(ACME, "SELECT count(*) AS entries FROM views.tenants")
            async with pool.connection() as connection:
                cursor = await connection.execute("SELECT current_setting('paybond.tenant', true)")
                setting = await cursor.fetchone()

            assert rows == [{"entries": 1}]
            assert setting == ("",)

    asyncio.run(scenario())


def test_an_autocommit_connection_is_refused(filled: FreshDatabase) -> None:
    async def scenario() -> None:
        connection = await psycopg.AsyncConnection.connect(filled.login_dsn(ROLE), autocommit=True)
        async with connection:
            with pytest.raises(AssertionError, match="need a transaction"):
                refuse_autocommit(connection)

    asyncio.run(scenario())


def test_a_database_that_is_out_is_an_outage(filled: FreshDatabase) -> None:
    async def scenario() -> None:
        async with open_pool(filled.login_dsn(ROLE), program="test", connections_max=1) as pool:
            reads = TenantReads(pool)
            with psycopg.connect(filled.superuser_dsn, autocommit=True) as superuser:
                superuser.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = %s AND datname = current_database()",
                    (ROLE,),
                )
            with pytest.raises(DatabaseUnavailableError):
                await reads.fetch(ACME, "SELECT 1 AS one")

            assert await reads.fetch(ACME, "SELECT 1 AS one") == [{"one": 1}]

    asyncio.run(scenario())


def test_every_query_of_the_gateway_names_its_tenant() -> None:
    without = {
        name
        for file in files("gateway.queries").iterdir()
        if file.name.endswith(".sql")
        for name, text in sql_blocks("gateway.queries", file.name).items()
        if "%(tenant_id)s" not in text
    }

    assert without == {"api_keys_by_id"}

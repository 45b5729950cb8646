"""The migrations on a real PostgreSQL: they run once, and no role sees or changes more than it must."""

import psycopg
import pytest
from psycopg import sql

from streams.runtime.migrations import migrate
from tests.support.databases import FreshDatabase

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

_TENANT_TABLES = (
    "tenants",
    "ledger_entries",
    "ledger_tiles",
    "checkpoints",
    "intents",
    "intent_totals",
    "evidence",
    "operations",
    "tenant_states",
)


def test_a_second_run_applies_nothing(migrated: FreshDatabase) -> None:
    assert migrate(migrated.owner_dsn) == ()


def _put_checkpoint(database: FreshDatabase, tenant_id: str) -> None:
    with psycopg.connect(database.login_dsn("paybond_streams")) as connection:
        connection.execute(
            "INSERT INTO views.checkpoints VALUES (%s, 1, decode(repeat('00', 32), 'hex'), 'note')",
            (tenant_id,),
        )


def test_the_gateway_sees_nothing_without_a_tenant_and_nothing_of_another(
    migrated: FreshDatabase,
) -> None:
    _put_checkpoint(migrated, "acme")
    _put_checkpoint(migrated, "acme-corp")
    with psycopg.connect(migrated.login_dsn("paybond_gateway")) as connection:
        unset = connection.execute("SELECT tenant_id FROM views.checkpoints").fetchall()
        connection.execute("SELECT set_config('paybond.tenant', '', true)")
        empty = connection.execute("SELECT tenant_id FROM views.checkpoints").fetchall()
        connection.execute("SELECT set_config('paybond.tenant', 'acme', true)")
        acme = connection.execute("SELECT tenant_id FROM views.checkpoints").fetchall()

    assert unset == []
    assert empty == []
    assert acme == [("acme",)]


@pytest.mark.parametrize("role", ["paybond_gateway", "paybond_fsck"])
@pytest.mark.parametrize("table", _TENANT_TABLES)
def test_readers_may_change_no_read_table(migrated: FreshDatabase, role: str, table: str) -> None:
    statement = sql.SQL("DELETE FROM {}").format(sql.Identifier("views", table))
    with (
        psycopg.connect(migrated.login_dsn(role)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_row_level_security_is_forced_on_every_read_table(migrated: FreshDatabase) -> None:
    with psycopg.connect(migrated.owner_dsn) as connection:
        rows = connection.execute(
            "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class "
            "WHERE relnamespace = 'views'::regnamespace AND relkind = 'r' ORDER BY relname"
        ).fetchall()

    assert rows == [(table, True) for table in sorted(_TENANT_TABLES)]


def test_every_unique_key_of_the_read_tables_starts_with_the_tenant(
    migrated: FreshDatabase,
) -> None:
    with psycopg.connect(migrated.owner_dsn) as connection:
        rows = connection.execute(
            "SELECT indexrelid::regclass::text FROM pg_index "
            "JOIN pg_class ON pg_class.oid = indrelid "
            "JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
            "WHERE relnamespace = 'views'::regnamespace AND indisunique AND attname <> 'tenant_id'"
        ).fetchall()

    assert rows == []

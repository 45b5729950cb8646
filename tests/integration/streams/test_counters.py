"""The counters of the read tables on a real PostgreSQL: they move only with a row that was not there."""

import asyncio

import psycopg
import pytest

from schemas.ledger.entry_chain import leaf_hash
from schemas.ledger.merkle_tree import EMPTY_FRONTIER
from schemas.ledger.tiles import tile_updates
from schemas.tables.fold import TableFold
from schemas.topics import ledger_topic
from streams.runtime.checkpoints import Advance, PostgresCheckpoints
from streams.runtime.postgres import open_pool
from streams.runtime.records import TopicPartition
from streams.views.sink import PostgresViews
from streams.views.tables import LedgerWrite
from tests.support.databases import FreshDatabase
from tests.support.ledgers import Ledger, a_ledger

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

_ROLE = "paybond_streams"


def _write(database: FreshDatabase, ledger: Ledger, *sizes: int) -> None:
    """So many first entries as new ones, again for each size: tables that were ahead of their checkpoint."""
    at = TopicPartition(topic=ledger_topic(ledger.tenant_id), partition=0)

    async def whole() -> None:
        async with open_pool(database.login_dsn(_ROLE), program="test", connections_max=1) as pool:
            for size in sizes:
                fold = TableFold(tenant=None, states={})
                for record in ledger.records[:size]:
                    fold.add(record.entry, value=record.value, leaf_hash=leaf_hash(record.value))
                held = (await PostgresCheckpoints(pool).claim({at: "ledger"}))[at]
                write = LedgerWrite(
                    tenant_id=ledger.tenant_id,
                    advance=Advance(before=held, after=held),
                    folded=fold.rows(),
                    growth=tile_updates(EMPTY_FRONTIER, []),
                )
                await PostgresViews(pool).store_entries([write])

    asyncio.run(whole())


def _counters(database: FreshDatabase) -> list[tuple[object, ...]]:
    with psycopg.connect(database.superuser_dsn) as connection:
        return connection.execute(
            "SELECT status, intents, placed_minor, held_minor, released_minor"
            " FROM views.intent_totals WHERE intents > 0 ORDER BY status"
        ).fetchall()


@pytest.mark.parametrize("before", [2, 5, 9])
def test_entries_that_the_tables_had_already_are_not_counted_again(
    migrated: FreshDatabase, before: int
) -> None:
    ledger = a_ledger("acme", ["released"] * 2)
    size = len(ledger.records)

    _write(migrated, ledger, before, size, size)

    assert before < size
    assert _counters(migrated) == [("released", 2, 40_000, 0, 40_000)]

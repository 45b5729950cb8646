"""fsck against a real PostgreSQL, as its own role: it reads every read table, and a damage to a stored row is named.

Topics are in memory, the rows are those that the ledger implies, and each damage is done to a copy of the database. The
first test counts: a role that sees no rows would take every table for one that lags, and find nothing.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from deploy.local.embedded_postgres import EmbeddedPostgres
from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import MemoryLogReader
from harbor.fsck.audit import Audit, TenantReport
from harbor.fsck.postgres_tables import PostgresTables
from schemas.ids import TenantId
from schemas.ledger.tiles import TILE_WIDTH
from schemas.messages.avro_codec import decode
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.partitioner import partition_of
from schemas.topics import CHECKPOINTS, EVIDENCE, INTENTS, OUTCOMES
from tests.integration.gateway.tables import History, migrated, store, store_tenant_state
from tests.support.builders import T0, TENANT
from tests.support.databases import FreshDatabase, fresh_database
from tests.support.ledger_builder import LedgerBuilder, a_ledger
from tests.unit.harbor.fsck.test_bodies import an_outcome, published
from tests.unit.harbor.fsck.world import (
    KEYS,
    PARTITIONS,
    Stored,
    Witness,
    checkpoint_rows,
    kafka_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

PARTITION = partition_of(TENANT, PARTITIONS)
ROLE, OTHER_TENANT = "paybond_fsck", TenantId("tenant-one-more")
OUTCOME = an_outcome(1, status=OutcomeStatus.DONE, ledger_seq=4)
# More entries than a tile has leaves, so that there is a full tile.
LEDGER = a_ledger(1, intents=80, tenant_id=TENANT)
SIZE = len(LEDGER.entries)
SEQ = 4
LIVE = next(state for state in LEDGER.states.values() if not state.is_final)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What fsck reads: topics of two tenants, and a database with their rows."""

    kafka: MemoryKafka
    database: FreshDatabase

    def fsck(self) -> TenantReport:
        audit = Audit(
            reader=MemoryLogReader(self.kafka, process="fsck"),
            tables=PostgresTables(self.database.login_dsn(ROLE)),
            clock=MemoryClock(T0),
            keys=KEYS,
            partitions=PARTITIONS,
        )
        [report] = asyncio.run(audit.run(TENANT, Witness()))
        return report


def _write(database: FreshDatabase, ledger: LedgerBuilder, *outcomes: Outcome) -> None:
    assert ledger.tenant is not None
    history = History(
        tenant_id=ledger.tenant_id,
        entries=ledger.entries,
        bodies=[decode(body) for body in ledger.bodies.values()],
        outcomes=outcomes,
    )
    *published_sizes, waiting_size = (row.size for row in checkpoint_rows(ledger))
    store(database, history, checkpoints=published_sizes)
    store_tenant_state(database, ledger.tenant)
    # As one whose entries the views have only just stored.
    with psycopg.connect(database.login_dsn("paybond_streams")) as connection:
        connection.execute(
            "INSERT INTO streams.waiting_checkpoints (tenant_id, size, root, note, topic, partition)"
            " VALUES (%s, %s, %s, '', %s, %s)",
            (ledger.tenant_id, waiting_size, bytes(32), CHECKPOINTS, PARTITION),
        )


def _reach_the_ends(database: FreshDatabase, kafka: MemoryKafka) -> None:
    """As a projection that has read its partition to its end."""
    with psycopg.connect(database.login_dsn("paybond_streams")) as connection:
        for topic in (CHECKPOINTS, EVIDENCE, INTENTS, OUTCOMES):
            end = kafka.partition(topic, PARTITION).high_watermark
            connection.execute(
                "INSERT INTO streams.checkpoints VALUES (1, %s, %s, %s, 1, %s, %s, 0, %s, '')",
                (topic, topic, PARTITION, end, end, bytes(32)),
            )


@pytest.fixture(scope="module")
def whole(module_postgres: FreshDatabase) -> Site:
    """Nothing is damaged. Another tenant has rows as well: they are not this one's."""
    database = migrated(module_postgres)
    stored = Stored.of(LEDGER)
    stored.outcomes = [published(OUTCOME)]
    other = a_ledger(1, intents=80, tenant_id=OTHER_TENANT)
    kafka = kafka_of(stored, Stored.of(other))
    _write(database, LEDGER, OUTCOME)
    _write(database, other)
    _reach_the_ends(database, kafka)
    return Site(kafka=kafka, database=database)


@pytest.fixture
def site(whole: Site, postgres_server: EmbeddedPostgres) -> Iterator[Site]:
    """With a database that may be damaged."""
    with fresh_database(postgres_server, template=whole.database.name) as copy:
        yield replace(whole, database=copy)


def test_every_entry_of_the_tables_is_seen_and_nothing_is_found(whole: Site) -> None:
    report = whole.fsck()

    assert SIZE > TILE_WIDTH
    assert (report.size, report.table_size) == (SIZE, SIZE)
    assert report.findings == ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """To the rows of one tenant: `change` is what is SET, and None deletes them. `seq`, `kind`: how fsck names it."""

    table: str
    change: LiteralString | None
    rows: LiteralString = "true"
    seq: int
    kind: str

    def do(self, database: FreshDatabase) -> None:
        table = sql.Identifier(*self.table.split("."))
        head = sql.SQL("DELETE FROM {}").format(table)
        if self.change is not None:
            head = sql.SQL("UPDATE {} SET {}").format(table, sql.SQL(self.change))
        where = sql.SQL(" WHERE tenant_id = %(tenant)s AND ") + sql.SQL(self.rows)
        values = {"tenant": TENANT, "live": LIVE.intent_id, "seq": SEQ}
        with psycopg.connect(database.superuser_dsn) as connection:
            assert connection.execute(head + where, values).rowcount == 1


def _both(
    table: str,
    change: LiteralString,
    *,
    rows: LiteralString = "true",
    seq: int,
    gone: tuple[int, str],
) -> list[Damage]:
    """The row with another value, and the row away; `gone` = what that is to fsck."""
    gone_seq, gone_kind = gone
    return [
        Damage(table=table, change=change, rows=rows, seq=seq, kind="not_implied"),
        Damage(table=table, change=None, rows=rows, seq=gone_seq, kind=gone_kind),
    ]


LIVE_ROW: LiteralString = "intent_id = %(live)s"
DAMAGES = [
    *_both(
        "views.ledger_entries",
        "actor_ref = 'somebody'",
        rows="seq = %(seq)s",
        seq=SEQ,
        gone=(SEQ, "absent"),
    ),
    *_both(
        "views.intents",
        "placed_minor = placed_minor + 1",
        rows=LIVE_ROW,
        seq=LIVE.last_seq,
        gone=(LIVE.created_seq, "absent"),
    ),
    *_both(
        "views.intent_totals",
        "intents = intents + 1",
        rows="status = 'released'",
        seq=SIZE,
        gone=(SIZE, "not_implied"),
    ),
    *_both(
        "views.ledger_tiles",
        "hashes = overlay(hashes PLACING '\\x00' FROM 1)",
        rows="(level, tile) = (0, 0)",
        seq=1,
        gone=(1, "absent"),
    ),
    *_both(
        "views.evidence",
        "budget = '{}'",
        rows=LIVE_ROW + " AND kind = 'intent'",
        seq=LIVE.created_seq,
        gone=(LIVE.created_seq, "absent"),
    ),
    *_both(
        "views.operations",
        "status = 'refused'",
        seq=OUTCOME.ledger_seq or 0,
        gone=(OUTCOME.ledger_seq or 0, "absent"),
    ),
    *_both("views.tenant_states", "state = state || '\\x00'", seq=1, gone=(1, "absent")),
    *_both("views.tenants", "last_leaf_hash = sha256('')", seq=SIZE, gone=(1, "absent")),
    *_both(
        "views.checkpoints",
        "root = sha256('')",
        rows="size = 1",
        seq=1,
        gone=(1, "absent"),
    ),
    Damage(
        table="views.checkpoints",
        change="note = 'by hand'",
        rows="size = 1",
        seq=1,
        kind="checkpoint_untrusted",
    ),
]


@pytest.mark.parametrize(
    "damage", DAMAGES, ids=lambda damage: f"{damage.table}-{damage.change or 'gone'}"
)
def test_a_stored_row_that_is_damaged_is_named_with_its_table(site: Site, damage: Damage) -> None:
    damage.do(site.database)

    first = site.fsck().findings[0]

    assert (first.seq, first.kind.value, first.where) == (damage.seq, damage.kind, damage.table)


def test_each_table_that_fsck_reads_of_a_tenant_is_damaged_here(whole: Site) -> None:
    with psycopg.connect(whole.database.superuser_dsn) as connection:
        tables = connection.execute(
            "SELECT 'views.' || relname FROM pg_class"
            " WHERE relnamespace = 'views'::regnamespace AND relkind = 'r'"
        ).fetchall()

    assert {table for (table,) in tables} == {damage.table for damage in DAMAGES}

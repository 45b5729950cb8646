"""Inclusion proofs at a million entries: rows and tiles through the indexer's own code, then asked for one by one.

No Kafka: the records are chained in memory, handed to the indexer's projection, and its own tables hold the rest. The
gateway is this process's, asked through its whole request path with a key; PostgreSQL waits for its disk.
"""

import asyncio
import random
import time
from collections.abc import Iterator

from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from schemas.ledger.entry_chain import CHAIN_START
from schemas.messages.events import RailStatusObserved
from schemas.topics import ledger_topic
from streams.runtime.batch_loop import Slice
from streams.runtime.checkpoints import Position, PostgresCheckpoints
from streams.runtime.metrics import Metrics
from streams.runtime.migrations import migrate
from streams.runtime.postgres import open_pool
from streams.runtime.records import Record, TopicPartition
from streams.views import ledger_view
from streams.views.ledger_view import LedgerView
from streams.views.sink import PostgresViews
from streams.views.tables import SignedRoot
from tests.bench.databases import durable_postgres
from tests.bench.figures import Figure, at_most, quantile
from tests.integration.gateway.gateways import RunningGateway, running_gateway
from tests.integration.gateway.tables import DEPLOYMENT, LEDGER_SEED
from tests.support.databases import FreshDatabase, fresh_database
from tests.support.ledgers import T0, Ledger

_ENTRIES = 1_000_000
_ASKED = 1_000
_BATCH = 1_000
_TENANT = TenantId("bench-proofs")
_AT = TopicPartition(topic=ledger_topic(_TENANT), partition=0)


def run(share: float) -> Iterator[Figure]:
    entries = max(600, int(_ENTRIES * share))
    with durable_postgres() as server, fresh_database(server) as database:
        migrate(database.owner_dsn)
        asyncio.run(index(database, entries))
        yield Figure(name="entries of the proofs' ledger", value=entries, unit="entries")
        waits = asyncio.run(_ask(database, entries, max(20, int(_ASKED * share))))
    for share_of_all in (0.5, 0.99):
        yield Figure(
            name=f"inclusion proof, one at a time, p{share_of_all * 100:g}",
            value=quantile(waits, share_of_all) * 1e3,
            unit="ms",
            goal=at_most(10),
        )


async def index(database: FreshDatabase, entries: int) -> None:
    async with open_pool(
        database.login_dsn("paybond_streams"), program="bench-proofs", connections_max=2
    ) as pool:
        tables = PostgresViews(pool)
        view = LedgerView(tables=tables, metrics=Metrics())
        claimed = await PostgresCheckpoints(pool).claim({_AT: ledger_view.NAME})
        position = claimed[_AT]
        for records in _batches(entries):
            part = Slice(position=position, records=records, end=records[-1].offset + 1)
            stored = await view.store([part])
            assert not stored.breaks, stored.breaks
            position = stored.positions[_AT]
        await tables.publish([_checkpoint(position)])


def _batches(entries: int) -> Iterator[tuple[Record, ...]]:
    """One intent whose rail is looked at again and again: what a proof costs does not depend on what an entry says."""
    ledger, offset, last = Ledger(_TENANT).provision(), 0, CHAIN_START.seq
    intent_id = ledger.tell("funded", 1)
    while last < entries:
        while len(ledger.records) < min(entries, last + _BATCH):
            number = len(ledger.records)
            ledger.add(
                RailStatusObserved(
                    rail_object="pi_1",
                    status=f"status_{number}",
                    amount_minor=20_000,
                    currency="usd",
                    is_drift=False,
                ),
                intent_id,
            )
        new = ledger.records[last:entries]
        yield tuple(
            Record(at=_AT, offset=offset + at, key=one.key, value=one.value, timestamp=T0)
            for at, one in enumerate(new)
        )
        offset, last = offset + len(new), last + len(new)


def _checkpoint(position: Position) -> SignedRoot:
    root = position.tree.root()
    checkpoint = Checkpoint(origin=origin_of(DEPLOYMENT, _TENANT), size=position.seq, root=root)
    note = sign_checkpoint(checkpoint, seed=LEDGER_SEED)
    return SignedRoot(tenant_id=_TENANT, size=position.seq, root=root, note=note, at=_AT)


async def _ask(database: FreshDatabase, entries: int, count: int) -> list[float]:
    async with running_gateway(database) as gateway:
        headers = await gateway.bearer(_TENANT)
        draw = random.Random(entries)
        # The first few make connections and plans.
        seqs = [draw.randint(1, entries) for _ in range(count + 10)]
        waits = [await _one(gateway, seq, headers) for seq in seqs]
    return waits[10:]


async def _one(gateway: RunningGateway, seq: int, headers: dict[str, str]) -> float:
    began = time.perf_counter()
    answer = await gateway.get("/v1/compliance/ledger/proof/inclusion", headers, seq=seq)
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - began

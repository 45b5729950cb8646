"""Stock Faust agents over the ledgers, written with the framework alone: what the indexer is measured beside.

Each has the indexer's own decoding and chain check. `BATCH` hands `take` of 500 to its fold and sink, `EVENT` does so
event by event, a commit each; `ROW` inserts one row an event: no fold, no tile, no checkpoint.
"""

import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import faust
import psycopg
from confluent_kafka.admin import AdminClient
from psycopg import sql

from schemas.errors import ConfigurationError
from schemas.ids import TenantId
from schemas.ledger.entry_chain import CHAIN_START, ChainEnd
from schemas.tables.rows import EntryRow, entry_row
from schemas.topics import LEDGER_PREFIX, tenant_of_ledger_topic
from streams.runtime.batch_loop import Slice
from streams.runtime.checkpoints import Position, PostgresCheckpoints
from streams.runtime.metrics import Metrics
from streams.runtime.postgres import open_pool
from streams.runtime.records import Record, TopicPartition
from streams.settings import StreamsSettings
from streams.views import ledger_view
from streams.views.chain_check import next_entry
from streams.views.ledger_view import LedgerView
from streams.views.sink import PostgresViews

_TAKE = 500
_WITHIN_SECONDS = 0.1
_COLUMNS = tuple(field.name for field in fields(EntryRow))
_INSERT = sql.SQL(
    "INSERT INTO views.ledger_entries ({}) VALUES ({}) ON CONFLICT DO NOTHING"
).format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    sql.SQL(", ").join(map(sql.Placeholder, _COLUMNS)),
)

Events = Sequence[Any]
Handler = Callable[[Events], Coroutine[Any, Any, None]]


class Agent(StrEnum):
    BATCH = "faust-batch"
    EVENT = "faust-event"
    ROW = "faust-row"


def run(settings: StreamsSettings, agent: Agent) -> None:
    """Until a signal ends it."""
    # Faust makes a folder for its tables also where it has none: not in whoever's directory this is.
    with TemporaryDirectory() as folder:
        _run(settings, agent, Path(folder))


def _run(settings: StreamsSettings, agent: Agent, folder: Path) -> None:
    app = faust.App(
        # A group of its own each time: it reads from the beginning.
        f"bench-{agent}-{secrets.token_hex(4)}",
        broker=f"kafka://{settings.kafka_bootstrap}",
        store="memory://",
        datadir=folder,
        topic_disable_leader=True,
        topic_allow_declare=False,
        autodiscover=False,
        web_enabled=False,
    )
    topics = app.topic(
        *_ledger_topics(settings), key_type=bytes, value_type=bytes, value_serializer="raw"
    )

    @app.agent(topics)
    async def index(stream: Any) -> None:
        async with _HANDLERS[agent](settings) as handle:
            if agent is Agent.BATCH:
                async for events in stream.take_events(_TAKE, within=_WITHIN_SECONDS):
                    await handle(events)
            else:
                async for event in stream.events():
                    await handle([event])

    assert index is not None
    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


@asynccontextmanager
async def _into_all_tables(settings: StreamsSettings) -> AsyncIterator[Handler]:
    """The indexer's own projection, in transactions of its own sink."""
    dsn = settings.postgres_dsn.get_secret_value()
    async with open_pool(dsn, program="bench-faust", connections_max=2) as pool:
        view = LedgerView(tables=PostgresViews(pool), metrics=Metrics())
        wanted = {
            TopicPartition(topic=topic, partition=0): ledger_view.NAME
            for topic in _ledger_topics(settings)
        }
        positions = dict(await PostgresCheckpoints(pool).claim(wanted))

        async def handle(events: Events) -> None:
            stored = await view.store(list(_slices(positions, events)))
            if stored.breaks:
                raise ConfigurationError(str(stored.breaks))
            positions.update(stored.positions)

        yield handle


@asynccontextmanager
async def _into_one_row(settings: StreamsSettings) -> AsyncIterator[Handler]:
    """The entry's row and nothing else: no fold, no tile, no checkpoint."""
    ends: dict[str, ChainEnd] = {}
    connection = await psycopg.AsyncConnection.connect(
        settings.postgres_dsn.get_secret_value(), autocommit=True
    )

    async def handle(events: Events) -> None:
        for event in events:
            message = event.message
            tenant_id = _tenant(message.topic)
            checked = next_entry(
                ends.get(tenant_id, CHAIN_START),
                tenant_id=tenant_id,
                key=message.key,
                value=message.value,
            )
            ends[tenant_id] = checked.end
            row = entry_row(checked.entry, value=checked.value, leaf_hash=checked.end.leaf_hash)
            await connection.execute(_INSERT, {name: getattr(row, name) for name in _COLUMNS})

    async with connection:
        yield handle


def _slices(positions: Mapping[TopicPartition, Position], events: Events) -> Iterable[Slice]:
    by_place: dict[TopicPartition, list[Record]] = defaultdict(list)
    for event in events:
        message = event.message
        at = TopicPartition(topic=message.topic, partition=message.partition)
        by_place[at].append(
            Record(
                at=at,
                offset=message.offset,
                key=message.key,
                value=message.value,
                timestamp=datetime.fromtimestamp(message.timestamp, tz=UTC),
            )
        )
    for at, records in by_place.items():
        end = records[-1].offset + 1
        yield Slice(position=positions[at], records=tuple(records), end=end)


def _ledger_topics(settings: StreamsSettings) -> list[str]:
    # Kept by name: a client that is collected gives up what it was asked.
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    topics = admin.list_topics(timeout=30).topics
    return sorted(topic for topic in topics if topic.startswith(LEDGER_PREFIX))


def _tenant(topic: str) -> TenantId:
    tenant_id = tenant_of_ledger_topic(topic)
    assert tenant_id is not None
    return tenant_id


_HANDLERS: Mapping[Agent, Callable[[StreamsSettings], Any]] = MappingProxyType(
    {
        Agent.BATCH: _into_all_tables,
        Agent.EVENT: _into_all_tables,
        Agent.ROW: _into_one_row,
    }
)

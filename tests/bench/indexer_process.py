"""The indexer and what it is measured beside: `python -m tests.bench.indexer_process KIND`, settings as the indexer's.

`views` is the indexer itself; `unfenced` writes no checkpoint at all, so what it saves is at least what the fence
costs. The others are stock Faust agents: `faust-batch` hands `take` of 500 to the indexer's own decoding, chain check,
fold and sink; `faust-event` does so event by event, a commit each; `faust-row` checks and inserts one row an event.
"""

import asyncio
import secrets
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import faust
import psycopg
from confluent_kafka.admin import AdminClient
from psycopg import sql

from schemas.errors import ConfigurationError
from schemas.ids import TenantId
from schemas.ledger.entry_chain import CHAIN_START, ChainEnd
from schemas.tables.rows import EntryRow, entry_row
from schemas.topics import LEDGER_PREFIX, tenant_of_ledger_topic
from streams.app import run_views
from streams.runtime.batch_loop import Slice
from streams.runtime.checkpoints import Advance, Position, PostgresCheckpoints
from streams.runtime.metrics import Metrics
from streams.runtime.postgres import Connection, open_pool
from streams.runtime.records import Record, TopicPartition
from streams.settings import StreamsSettings
from streams.views import ledger_view, sink
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


class Kind(StrEnum):
    VIEWS = "views"
    UNFENCED = "unfenced"
    FAUST_BATCH = "faust-batch"
    FAUST_EVENT = "faust-event"
    FAUST_ROW = "faust-row"


Events = Sequence[Any]
Handler = Callable[[Events], Coroutine[Any, Any, None]]


def main(kind: Kind) -> None:
    settings = StreamsSettings()
    match kind:
        case Kind.VIEWS:
            asyncio.run(run_views(settings))
        case Kind.UNFENCED:
            with patch.object(sink, "advance", _unfenced):
                asyncio.run(run_views(settings))
        case Kind.FAUST_BATCH | Kind.FAUST_EVENT | Kind.FAUST_ROW:
            _run_faust(settings, kind)


async def _unfenced(_connection: Connection, _advances: Iterable[Advance]) -> Callable[[], None]:
    return lambda: None


def _run_faust(settings: StreamsSettings, kind: Kind) -> None:
    app = faust.App(
        # A group of its own each time: it reads from the beginning.
        f"bench-{kind}-{secrets.token_hex(4)}",
        broker=f"kafka://{settings.kafka_bootstrap}",
        store="memory://",
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
        async with _HANDLERS[kind](settings) as handle:
            if kind is Kind.FAUST_BATCH:
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


_HANDLERS: Mapping[Kind, Callable[[StreamsSettings], Any]] = MappingProxyType(
    {
        Kind.FAUST_BATCH: _into_all_tables,
        Kind.FAUST_EVENT: _into_all_tables,
        Kind.FAUST_ROW: _into_one_row,
    }
)


if __name__ == "__main__":
    main(Kind(sys.argv[1]))

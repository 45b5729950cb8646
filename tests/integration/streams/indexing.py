"""The indexer on a real broker and a real PostgreSQL: topics, a producer, and one member's life as a coroutine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pydantic import SecretStr

from deploy.local.apache_kafka import ApacheKafka
from deploy.local.embedded_kafka import EmbeddedKafka
from schemas.ids import TenantId
from schemas.partitioner import partition_of
from schemas.topics import (
    CHECKPOINTS,
    DEAD_LETTERS,
    EVIDENCE,
    GROUP_VIEWS,
    INTENTS,
    OUTCOMES,
    ledger_topic,
)
from streams.bootstrap import views
from streams.runtime.agents import run_agent
from streams.runtime.batch_loop import BatchLoop
from streams.settings import StreamsSettings
from tests.support.databases import FreshDatabase
from tests.support.ledgers import DEPLOYMENT, LEDGER_KEY, Ledger

PARTITIONS = 4
# A loaded machine takes many times what an idle one does.
SECONDS_MAX = 120.0
_REQUEST_SECONDS_MAX = 20.0
_SHARED = (EVIDENCE, OUTCOMES, INTENTS, CHECKPOINTS, DEAD_LETTERS)

READ_TABLES = (
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


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A broker without other ledgers: the subscription sees all of them. `server` = one that a test may stop."""

    bootstrap: str
    server: EmbeddedKafka | ApacheKafka | None = None
    _topics: set[str] = field(default_factory=set)

    def create(self, *tenants: TenantId) -> None:
        wanted = dict.fromkeys(_SHARED, PARTITIONS)
        wanted |= {ledger_topic(tenant_id): 1 for tenant_id in tenants}
        new = [
            NewTopic(topic, num_partitions=partitions, replication_factor=1)
            for topic, partitions in wanted.items()
            if topic not in self._topics
        ]
        if new:
            # Kept by name: a client that is collected gives up what it was asked.
            admin = self._admin()
            for future in admin.create_topics(new).values():
                future.result(_REQUEST_SECONDS_MAX)
        self._topics |= set(wanted)

    def write(self, ledger: Ledger, *, since: int = 0) -> None:
        topic = ledger_topic(ledger.tenant_id)
        self.produce([(topic, record.key, record.value) for record in ledger.records[since:]])

    def produce(self, records: Sequence[tuple[str, bytes, bytes | None]]) -> None:
        """Acknowledged when this returns; in the partition of the key's tenant."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "acks": "all", "log_level": 0, "linger.ms": 5}
        )
        for topic, key, value in records:
            is_shared = topic in _SHARED
            partition = partition_of(key.split(b"/")[0], PARTITIONS) if is_shared else 0
            producer.produce(topic, key=key, value=value, partition=partition)
        assert producer.flush(_REQUEST_SECONDS_MAX) == 0

    def reset_to_earliest(self) -> None:
        """What `kafka-consumer-groups --reset-offsets --to-earliest` asks of the broker."""
        admin = self._admin()
        listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP_VIEWS)])
        committed = listed[GROUP_VIEWS].result(_REQUEST_SECONDS_MAX).topic_partitions or []
        offsets = [TopicPartition(at.topic, at.partition, 0) for at in committed if at.offset >= 0]
        assert offsets
        wanted = [ConsumerGroupTopicPartitions(GROUP_VIEWS, offsets)]
        admin.alter_consumer_group_offsets(wanted)[GROUP_VIEWS].result(_REQUEST_SECONDS_MAX)

    def committed(self, topic: str, partition: int = 0) -> int:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": GROUP_VIEWS})
        try:
            [at] = consumer.committed([TopicPartition(topic, partition)], timeout=10)
        finally:
            consumer.close()
        return at.offset

    def dead_letters(self) -> int:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "unused"})
        try:
            return sum(
                consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, partition))[1]
                for partition in range(PARTITIONS)
            )
        finally:
            consumer.close()

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})


def settings_of(cluster: Cluster, database: FreshDatabase, **changes: Any) -> StreamsSettings:
    values: dict[str, Any] = {
        "kafka_bootstrap": cluster.bootstrap,
        "kafka_partitions": PARTITIONS,
        "postgres_dsn": SecretStr(database.login_dsn("paybond_streams")),
        "deployment": DEPLOYMENT,
        "ledger_verifier_keys": (LEDGER_KEY.hex(),),
    }
    return StreamsSettings(**(values | changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A member of the group at work."""

    task: asyncio.Task[None]
    loop: BatchLoop

    async def until(self, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while not await asyncio.to_thread(is_done):
            assert time.monotonic() < deadline, "not within the time"
            assert not self.task.done(), "it ended"
            await asyncio.sleep(0.1)


@asynccontextmanager
async def indexing(settings: StreamsSettings) -> AsyncIterator[Running]:
    """Drained and gone at the end. Raises what ended it, if something did."""
    stop = asyncio.Event()
    async with views(settings) as parts:
        task = asyncio.create_task(
            run_agent("paybond-views", source=parts.source, loop=parts.loop, stop=stop)
        )
        try:
            yield Running(task=task, loop=parts.loop)
        finally:
            stop.set()
            await task


async def index_until(settings: StreamsSettings, is_done: Callable[[], bool]) -> None:
    async with indexing(settings) as running:
        await running.until(is_done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the database says, past row-level security."""

    database: FreshDatabase

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.superuser_dsn) as connection:
            return connection.execute(query.encode()).fetchall()

    def seq(self, tenant_id: str) -> int:
        rows = self.rows(f"SELECT last_seq FROM views.tenants WHERE tenant_id = '{tenant_id}'")  # noqa: S608
        return int(rows[0][0]) if rows else 0

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every read table, byte for byte, in key order."""
        return {
            table: self.rows(f"SELECT t.*::text FROM views.{table} AS t ORDER BY 1")  # noqa: S608
            for table in READ_TABLES
        }

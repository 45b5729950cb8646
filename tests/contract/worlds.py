"""Where a contract case runs: the ports over one broker, in memory or real, and nothing that tells them apart.

A world is one test's own: its input topic, its group and its output topics are new, so that offsets begin at 0 on
every broker. The name of the input topic is a constant of the adapters; on a shared broker it is patched for the test.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest

from harbor.adapters.kafka_checkpoints import KafkaCheckpoints
from harbor.adapters.kafka_commands import KafkaCommandConsumer
from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.adapters.kafka_transactions import KafkaTransactions
from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import (
    MemoryCheckpoints,
    MemoryCommandConsumer,
    MemoryLogReader,
    MemoryTransactions,
)
from harbor.engine.cluster_layout import TopicLayout
from harbor.engine.ports import (
    Checkpoints,
    CommandConsumer,
    Consumed,
    InputRecord,
    LogReader,
    LogRecord,
    OutputRecord,
    Transactions,
)
from schemas.topics import COMMANDS
from streams.runtime.kafka_clients import (
    client_settings,
    consumer_settings,
    producer_settings,
    reader_settings,
    transactional_settings,
)
from streams.runtime.shared_settings import GroupProtocol, SharedSettings
from tests.support.builders import T0

INPUT_PARTITIONS = 2
# A member learns of a rebalance at its next heartbeat, 5 s under KIP-848; the rest is for a loaded machine.
SECONDS_MAX = 40.0
# On a busy broker an empty answer proves nothing; so many in a row, after a record that did come, do.
_EMPTY_BATCHES = 5
_SETTLING_PAUSE_SECONDS = 0.02

_ADAPTERS_OF_THE_INPUT = (
    "harbor.adapters.kafka_commands",
    "harbor.adapters.kafka_transactions",
    "harbor.adapters.kafka_reader",
)


class World(Protocol):
    """The ports of one test. Whatever it hands out it also closes."""

    @property
    def input_topic(self) -> str: ...

    async def open(self) -> None: ...

    async def make_topic(self) -> str:
        """A new compacted topic of one partition."""

    def consumer(self) -> CommandConsumer: ...

    def transactions(self, transactional_id: str = "slot-0") -> Transactions: ...

    def checkpoints(self) -> Checkpoints: ...

    def reader(self) -> LogReader: ...

    async def close(self) -> None: ...


class MemoryWorld:
    """Over a `MemoryKafka`."""

    def __init__(self) -> None:
        self.input_topic = COMMANDS
        self._kafka = MemoryKafka(now=lambda: T0)
        self._made = 0

    async def open(self) -> None:
        self._kafka.create_topic(COMMANDS, partitions=INPUT_PARTITIONS)

    async def make_topic(self) -> str:
        topic = self._next_name("topic")
        self._kafka.create_topic(topic, partitions=1, is_compacted=True)
        return topic

    def consumer(self) -> CommandConsumer:
        return MemoryCommandConsumer(self._kafka, process=self._next_name("member"))

    def transactions(self, transactional_id: str = "slot-0") -> Transactions:
        return MemoryTransactions(
            self._kafka, process=self._next_name("producer"), transactional_id=transactional_id
        )

    def checkpoints(self) -> Checkpoints:
        return MemoryCheckpoints(self._kafka, process=self._next_name("checkpoints"))

    def reader(self) -> LogReader:
        return MemoryLogReader(self._kafka, process=self._next_name("reader"))

    async def close(self) -> None:
        """Nothing in memory outlives the test."""

    def _next_name(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"


class KafkaWorld:
    """Over librdkafka and the broker of the session; KIP-848 where the broker has it."""

    def __init__(
        self, *, bootstrap: str, is_apache: bool, name: str, patch: pytest.MonkeyPatch
    ) -> None:
        self.input_topic = f"{name}-input"
        self._name = name
        self._is_apache = is_apache
        self._made = 0
        self._settings = SharedSettings(
            kafka_bootstrap=bootstrap,
            kafka_group_protocol=GroupProtocol.CONSUMER if is_apache else GroupProtocol.CLASSIC,
        )
        self._closers: list[Callable[[], Awaitable[None]]] = []
        for adapter in _ADAPTERS_OF_THE_INPUT:
            patch.setattr(f"{adapter}.COMMANDS", self.input_topic)

    async def open(self) -> None:
        self._topics = KafkaTopics(client_settings(self._settings, client_id=self._name))
        self._closers.append(self._topics.close)
        await self._create(self.input_topic, INPUT_PARTITIONS, {})

    async def make_topic(self) -> str:
        self._made += 1
        topic = f"{self._name}-output-{self._made}"
        await self._create(topic, 1, {"cleanup.policy": "compact"})
        return topic

    def consumer(self) -> CommandConsumer:
        consumer = KafkaCommandConsumer(
            consumer_settings(self._settings, client_id=self._name, group=self._name)
        )
        self._closers.append(consumer.close)
        return consumer

    def transactions(self, transactional_id: str = "slot-0") -> Transactions:
        transactions = KafkaTransactions(
            transactional_settings(
                self._settings,
                client_id=self._name,
                transactional_id=f"{self._name}-{transactional_id}",
            )
        )
        self._closers.append(transactions.close)
        return transactions

    def checkpoints(self) -> Checkpoints:
        checkpoints = KafkaCheckpoints(producer_settings(self._settings, client_id=self._name))
        self._closers.append(checkpoints.close)
        return checkpoints

    def reader(self) -> LogReader:
        reader = KafkaLogReader(
            reader_settings(self._settings, client_id=self._name),
            client_settings(self._settings, client_id=self._name),
            is_embedded=not self._is_apache,
            partitions=INPUT_PARTITIONS,
            group=self._name,
        )
        self._closers.append(reader.close)
        return reader

    async def close(self) -> None:
        for close in reversed(self._closers):
            await close()

    async def _create(self, name: str, partitions: int, config: dict[str, str]) -> None:
        layout = TopicLayout(name=name, partitions=partitions, replication=1, config=config)
        assert await self._topics.create(layout)


def a_record(topic: str, value: bytes, *, key: bytes = b"k", partition: int = 0) -> OutputRecord:
    return OutputRecord(topic=topic, partition=partition, key=key, value=value)


async def send_commands(world: World, *values: bytes, partition: int = 0) -> None:
    """Onto the input topic, acknowledged and in order."""
    await world.checkpoints().publish(
        [a_record(world.input_topic, value, partition=partition) for value in values]
    )


async def settled_offset(reader: LogReader, topic: str) -> int:
    """The end of partition 0 once nothing below it is undecided.

    A commit is answered before its markers are written (measured on Apache Kafka: some 100 ms), so whoever reads
    right behind it waits for the last stable offset, as a restore does.
    """
    deadline = time.monotonic() + SECONDS_MAX
    while (stable := await reader.stable_offset(topic, 0)) < await reader.end_offset(topic, 0):
        assert time.monotonic() < deadline, f"{topic} stays undecided at {stable}"
        await asyncio.sleep(_SETTLING_PAUSE_SECONDS)
    return stable


async def committed_values(
    reader: LogReader, topic: str, *, start: int = 0, end: int | None = None
) -> list[bytes | None]:
    """Of partition 0, up to where the log is settled unless `end` says otherwise."""
    limit = await settled_offset(reader, topic) if end is None else end
    return [record.value for record in await records_of(reader, topic, start=start, end=limit)]


async def records_of(reader: LogReader, topic: str, *, start: int, end: int) -> list[LogRecord]:
    return [record async for record in reader.read(topic, 0, start=start, end=end)]


class Member:
    """A consumer, what it was given and what it owns, over as many calls of `consume` as it takes."""

    def __init__(self, consumer: CommandConsumer) -> None:
        self.consumer = consumer
        self.owned: set[int] = set()
        self.records: list[InputRecord] = []
        self.records_max = 100
        self.sizes: list[int] = []

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.records]

    async def consume(self) -> Consumed:
        consumed = await self.consumer.consume(records_max=self.records_max)
        self.owned = (self.owned - set(consumed.revoked)) | set(consumed.assigned)
        self.records += consumed.records
        self.sizes.append(len(consumed.records))
        return consumed

    async def until_owned(self, count: int) -> Consumed:
        """The first batch with `count` partitions owned; its metadata is the present generation's."""
        await until(lambda: len(self.owned) == count, self)
        return await self.consume()

    async def until_records(self, count: int) -> None:
        """At least so many in all, then until no more come."""
        await until(lambda: len(self.records) >= count, self)
        await self.drain()

    async def drain(self) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        empty = 0
        while empty < _EMPTY_BATCHES:
            assert time.monotonic() < deadline, f"records keep coming: {self.values[-10:]}"
            empty = 0 if (await self.consume()).records else empty + 1


async def until(is_so: Callable[[], bool], *members: Member) -> None:
    """Let every member poll until it is so."""
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, [(sorted(m.owned), m.values) for m in members]
        for member in members:
            await member.consume()

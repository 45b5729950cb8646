"""One cluster under the engine's ports, in memory or real, with what a test needs beside them to arrange things."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from harbor.adapters.kafka_commands import KafkaCommandConsumer
from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.adapters.kafka_transactions import KafkaTransactions
from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import (
    MemoryCommandConsumer,
    MemoryLogReader,
    MemoryTransactions,
)
from harbor.engine.cluster_layout import SINGLE_NODE, ledger_layout, wanted_layouts
from harbor.engine.ports import (
    CommandConsumer,
    Consumed,
    InputRecord,
    LogReader,
    OutputRecord,
    Transactions,
)
from schemas.ids import TenantId
from schemas.topics import COMMANDS, GROUP_HARBOR, ledger_topic
from streams.runtime.kafka_clients import (
    client_settings,
    consumer_settings,
    producer_settings,
    reader_settings,
    transactional_settings,
)
from streams.runtime.shared_settings import Broker, GroupProtocol, SharedSettings

PARTITIONS = 2
# A loaded machine, a rebalance and a session of 6 s in one.
SECONDS_MAX = 40.0
_NAMES = count()


class World(ABC):
    """What is opened is closed at the end, in the reverse order."""

    def __init__(self) -> None:
        self._closing: list[Callable[[], Awaitable[None]]] = []

    @abstractmethod
    def consumer(self) -> CommandConsumer:
        """A new member of the group."""

    @abstractmethod
    def transactions(self, transactional_id: str) -> Transactions: ...

    @abstractmethod
    def reader(self) -> LogReader: ...

    @abstractmethod
    async def send(self, partition: int, *values: bytes) -> None:
        """Commands, acknowledged."""

    @abstractmethod
    async def create_ledger(self, tenant_id: TenantId) -> None: ...

    @abstractmethod
    async def delete_ledger(self, tenant_id: TenantId) -> None: ...

    async def owner_of_all(self) -> tuple[CommandConsumer, Consumed]:
        """A member that owns every partition, none of them started."""
        consumer = self.consumer()
        owned: set[int] = set()

        async def has_all() -> Consumed | None:
            consumed = await consumer.consume(records_max=10)
            owned.update(consumed.assigned)
            return consumed if len(owned) == PARTITIONS else None

        return consumer, await until(has_all)

    async def close(self) -> None:
        """All of it, whatever one of them says: what is left would disturb the next test."""
        errors = [await _error_of(closing) for closing in reversed(self._closing)]
        for error in errors:
            if error is not None:
                raise error


async def _error_of(closing: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        await closing()
    except Exception as error:  # noqa: BLE001
        return error
    return None


async def until(answer: Callable[[], Awaitable[Any]]) -> Any:
    """What the question answers once it is not None."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            found = await answer()
            if found is not None:
                return found
            await asyncio.sleep(0.01)


async def records_of(consumer: CommandConsumer, number: int) -> list[InputRecord]:
    """The next records, so many."""
    found: list[InputRecord] = []

    async def is_enough() -> bool | None:
        found.extend((await consumer.consume(records_max=10)).records)
        return True if len(found) >= number else None

    await until(is_enough)
    return found


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self._kafka = MemoryKafka(now=lambda: datetime(2026, 1, 5, tzinfo=UTC))
        self._kafka.create_paybond_topics(partitions=PARTITIONS)

    def consumer(self) -> CommandConsumer:
        return MemoryCommandConsumer(self._kafka, process=f"member-{next(_NAMES)}")

    def transactions(self, transactional_id: str) -> Transactions:
        return MemoryTransactions(
            self._kafka, process=f"producer-{next(_NAMES)}", transactional_id=transactional_id
        )

    def reader(self) -> LogReader:
        return MemoryLogReader(self._kafka, process="reader")

    async def send(self, partition: int, *values: bytes) -> None:
        for value in values:
            self._kafka.append(COMMANDS, partition, key=b"tenant", value=value)

    async def create_ledger(self, tenant_id: TenantId) -> None:
        self._kafka.create_ledger_topic(ledger_topic(tenant_id))

    async def delete_ledger(self, tenant_id: TenantId) -> None:
        self._kafka.delete_topic(ledger_topic(tenant_id))


class KafkaWorld(World):
    def __init__(self, settings: SharedSettings) -> None:
        super().__init__()
        self._settings = settings
        self._topics = KafkaTopics(client_settings(settings, client_id="contract"))
        self._admin = AdminClient(client_settings(settings, client_id="contract"))
        self._closing.append(self._topics.close)

    async def prepare(self) -> None:
        """Topics and group as on the first day: earlier tests left theirs on the same broker."""
        await self.forget()
        for layout in wanted_layouts(partitions=PARTITIONS, durability=SINGLE_NODE):
            await self._topics.create(layout)

    def consumer(self) -> CommandConsumer:
        settings = consumer_settings(self._settings, client_id="contract", group=GROUP_HARBOR)
        if self._settings.kafka_group_protocol is GroupProtocol.CLASSIC:
            settings["partition.assignment.strategy"] = "cooperative-sticky"
        consumer = KafkaCommandConsumer(settings)
        self._closing.append(consumer.close)
        return consumer

    def transactions(self, transactional_id: str) -> Transactions:
        transactions = KafkaTransactions(
            transactional_settings(
                self._settings, client_id="contract", transactional_id=transactional_id
            )
        )
        self._closing.append(transactions.close)
        return transactions

    def reader(self) -> LogReader:
        reader = KafkaLogReader(
            reader_settings(self._settings, client_id="contract"),
            client_settings(self._settings, client_id="contract"),
            is_embedded=self._settings.kafka_broker is Broker.EMBEDDED,
        )
        self._closing.append(reader.close)
        return reader

    async def send(self, partition: int, *values: bytes) -> None:
        producer = Producer(producer_settings(self._settings, client_id="contract"))
        for value in values:
            producer.produce(COMMANDS, value=value, key=b"tenant", partition=partition)
        assert await asyncio.to_thread(producer.flush, SECONDS_MAX) == 0

    async def create_ledger(self, tenant_id: TenantId) -> None:
        await self._topics.create(ledger_layout(tenant_id, durability=SINGLE_NODE))

    async def delete_ledger(self, tenant_id: TenantId) -> None:
        await self._delete([ledger_topic(tenant_id)])

    async def forget(self) -> None:
        names = [name for name in await self._topics.all_names() if name.startswith("paybond.")]
        await self._delete(names)

        async def is_forgotten() -> bool | None:
            asked = self._admin.delete_consumer_groups([GROUP_HARBOR])
            try:
                await asyncio.wrap_future(asked[GROUP_HARBOR])
            except KafkaException as error:
                # A member whose test failed may still have its session.
                return None if "NON_EMPTY_GROUP" in str(error) else True
            return True

        await until(is_forgotten)

    async def _delete(self, names: list[str]) -> None:
        if not names:
            return
        for future in self._admin.delete_topics(names).values():
            await asyncio.wrap_future(future)

        async def are_gone() -> bool | None:
            return True if not (await self._topics.all_names()) & set(names) else None

        await until(are_gone)


OpenWorld = Callable[[], AbstractAsyncContextManager[World]]


def memory_world() -> AbstractAsyncContextManager[World]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[World]:
        yield MemoryWorld()

    return opened()


def kafka_world(settings: SharedSettings) -> AbstractAsyncContextManager[World]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[World]:
        world = KafkaWorld(settings)
        try:
            await world.prepare()
            yield world
        finally:
            await world.close()

    return opened()


def settings_for(bootstrap: str, *, is_apache: bool, protocol: GroupProtocol) -> SharedSettings:
    return SharedSettings(
        kafka_bootstrap=bootstrap,
        kafka_broker=Broker.APACHE if is_apache else Broker.EMBEDDED,
        kafka_partitions=PARTITIONS,
        kafka_group_protocol=protocol,
    )


def an_output(
    topic: str, value: bytes | None, *, key: bytes = b"tenant", partition: int = 0
) -> OutputRecord:
    return OutputRecord(topic=topic, partition=partition, key=key, value=value)


async def values_of(
    reader: LogReader, topic: str, *, partition: int = 0, start: int = 0, end: int | None = None
) -> list[bytes | None]:
    """What a committed read shows up to `end`, or once everything is decided."""

    async def decided_end() -> int | None:
        # A commit is answered before its markers are written everywhere.
        high = await reader.end_offset(topic, partition)
        return high if await reader.stable_offset(topic, partition) == high else None

    limit = await until(decided_end) if end is None else end
    return [record.value async for record in reader.read(topic, partition, start=start, end=limit)]

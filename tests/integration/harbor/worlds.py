"""A real cluster under Harbor's adapters: topics as on the first day, and what is opened is closed at the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from harbor.adapters.kafka_commands import KafkaCommandConsumer
from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.adapters.kafka_transactions import KafkaTransactions
from harbor.engine.cluster_layout import SINGLE_NODE, wanted_layouts
from schemas.topics import GROUP_HARBOR
from streams.runtime.kafka_clients import (
    client_settings,
    consumer_settings,
    reader_settings,
    transactional_settings,
)
from streams.runtime.shared_settings import Broker, GroupProtocol, SharedSettings
from tests.support.records import forget

PARTITIONS = 2
# A loaded machine, a rebalance and a session of 6 s in one.
SECONDS_MAX = 40.0


async def until(answer: Callable[[], Awaitable[Any]]) -> Any:
    """What the question answers once it is not None."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            found = await answer()
            if found is not None:
                return found
            await asyncio.sleep(0.01)


class KafkaWorld:
    def __init__(self, settings: SharedSettings) -> None:
        self._settings = settings
        self._topics = KafkaTopics(client_settings(settings, client_id="test"))
        self._closing: list[Callable[[], Awaitable[None]]] = [self._topics.close]

    async def prepare(self) -> None:
        """Topics and group as on the first day: earlier tests left theirs on the same broker."""
        await asyncio.to_thread(
            forget, self._settings.kafka_bootstrap, group=GROUP_HARBOR, seconds=SECONDS_MAX
        )
        for layout in wanted_layouts(partitions=PARTITIONS, durability=SINGLE_NODE):
            await self._topics.create(layout)

    def consumer(self) -> KafkaCommandConsumer:
        settings = consumer_settings(self._settings, client_id="test", group=GROUP_HARBOR)
        if self._settings.kafka_group_protocol is GroupProtocol.CLASSIC:
            settings["partition.assignment.strategy"] = "cooperative-sticky"
        consumer = KafkaCommandConsumer(settings)
        self._closing.append(consumer.close)
        return consumer

    def transactions(self, transactional_id: str) -> KafkaTransactions:
        transactions = KafkaTransactions(
            transactional_settings(
                self._settings, client_id="test", transactional_id=transactional_id
            )
        )
        self._closing.append(transactions.close)
        return transactions

    def reader(self, *, partitions: int | None = None) -> KafkaLogReader:
        """`partitions` = what P is taken for, where that is not the cluster's."""
        reader = KafkaLogReader(
            reader_settings(self._settings, client_id="test"),
            client_settings(self._settings, client_id="test"),
            is_embedded=self._settings.kafka_broker is Broker.EMBEDDED,
            partitions=partitions or self._settings.kafka_partitions,
        )
        self._closing.append(reader.close)
        return reader

    async def close(self) -> None:
        """All of it, whatever one of them says: what is left would disturb the next test."""
        errors = [await _error_of(closing) for closing in reversed(self._closing)]
        for error in errors:
            if error is not None:
                raise error


@asynccontextmanager
async def kafka_world(settings: SharedSettings) -> AsyncIterator[KafkaWorld]:
    world = KafkaWorld(settings)
    try:
        await world.prepare()
        yield world
    finally:
        await world.close()


async def _error_of(closing: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        await closing()
    except Exception as error:  # noqa: BLE001
        return error
    return None


def settings_for(bootstrap: str, *, is_apache: bool, protocol: GroupProtocol) -> SharedSettings:
    return SharedSettings(
        kafka_bootstrap=bootstrap,
        kafka_broker=Broker.APACHE if is_apache else Broker.EMBEDDED,
        kafka_partitions=PARTITIONS,
        kafka_group_protocol=protocol,
    )

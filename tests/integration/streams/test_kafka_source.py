"""Batches of a busy topic are gathered; a full one waits for nobody."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from schemas.ids import TenantId
from schemas.topics import EVIDENCE
from streams.runtime.kafka_clients import consumer_settings
from streams.runtime.kafka_source import KafkaSource, Subscription
from streams.runtime.records import Record, TopicPartition
from tests.integration.streams.indexing import SECONDS_MAX, Cluster, settings_of
from tests.support.databases import FreshDatabase

pytestmark = pytest.mark.integration

_LONG = 1e6


class _Beginner:
    """Owns what it is given, from the beginning."""

    async def assigned(
        self, committed: Mapping[TopicPartition, int | None]
    ) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(committed, 0)

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        pass


def test_records_that_follow_a_batch_closely_share_the_next_until_it_is_full(
    cluster: Cluster, postgres: FreshDatabase
) -> None:
    async def scenario() -> None:
        async with _reading(cluster, postgres, gather_seconds=_LONG, records_max=2) as source:
            assert await _next(source, cluster, "a") == ["a"]
            assert await _next(source, cluster, "b", "c") == ["b", "c"]

    asyncio.run(asyncio.wait_for(scenario(), SECONDS_MAX))


def test_a_batch_that_does_not_fill_is_read_when_its_time_is_up(
    cluster: Cluster, postgres: FreshDatabase
) -> None:
    async def scenario() -> None:
        async with _reading(cluster, postgres, gather_seconds=0.5) as source:
            assert await _next(source, cluster, "a") == ["a"]
            assert await _next(source, cluster, "b") == ["b"]

    asyncio.run(asyncio.wait_for(scenario(), SECONDS_MAX))


@asynccontextmanager
async def _reading(
    cluster: Cluster, postgres: FreshDatabase, *, gather_seconds: float, records_max: int = 100
) -> AsyncIterator[KafkaSource]:
    cluster.create(TenantId("acme"))
    source = KafkaSource(
        consumer_settings(settings_of(cluster, postgres), client_id="test", group="test-gathering"),
        subscription=Subscription(topics=(EVIDENCE,), expected=EVIDENCE, is_incremental=False),
        records_max=records_max,
        gather_seconds=gather_seconds,
    )
    await source.start(_Beginner())
    try:
        yield source
    finally:
        await source.stop()


async def _next(source: KafkaSource, cluster: Cluster, *names: str) -> list[str]:
    """The keys of the batch that is read while these are written one after the other."""
    reading = asyncio.create_task(_some(source))
    for name in names:
        await asyncio.to_thread(cluster.produce, [(EVIDENCE, f"acme/{name}".encode(), b"{}")])
    return [(record.key or b"").decode().removeprefix("acme/") for record in await reading]


async def _some(source: KafkaSource) -> Sequence[Record]:
    while True:
        records = await source.read()
        if records:
            return records

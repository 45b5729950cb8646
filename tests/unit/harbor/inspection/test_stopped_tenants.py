"""Who is stopped is told while others work: what a decision in the middle of the reading looks like stops nobody."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from harbor.adapters.memory.ports import MemoryLogReader, PortCall
from harbor.engine.ports import LogRecord
from harbor.inspection.stopped_tenants import Stopped, stopped_tenants
from schemas.ids import TenantId
from schemas.topics import INTENTS, TIPS, ledger_topic, tenant_key
from tests.support.builders import TENANT
from tests.support.harbor_world import PARTITIONS, HarborWorld, of_tenant, run
from tests.support.restoring import PARTITION, a_creation, a_neighbour
from tests.unit.harbor.engine.test_life_of_an_intent import PROVISION

# More calls than one reading makes.
_CALLS_MAX = 200


class AtCall:
    """A hook that lets something happen right before the n-th call of the reader, or before each from there on."""

    def __init__(
        self, act: Callable[[], Awaitable[None]], *, at: int, is_repeated: bool = False
    ) -> None:
        self._act = act
        self._at = at
        self._is_repeated = is_repeated
        self.calls = 0

    async def __call__(self, call: PortCall) -> None:
        assert call.process
        self.calls += 1
        if self.calls == self._at or (self._is_repeated and self.calls > self._at):
            await self._act()
        await asyncio.sleep(0)


class LateMarkers(MemoryLogReader):
    """Shows one topic as it was at an offset, until an instant: a transaction's markers are not written at once."""

    def __init__(self, world: HarborWorld, *, topic: str, stable: int, until: datetime) -> None:
        super().__init__(world.kafka, process="operator")
        self._world = world
        self._late = topic
        self._stable = stable
        self._until = until

    def _is_late(self, topic: str) -> bool:
        return topic == self._late and self._world.clock.now() < self._until

    async def stable_offset(self, topic: str, partition: int) -> int:
        stable = await super().stable_offset(topic, partition)
        return self._stable if self._is_late(topic) else stable

    async def last_records(self, topic: str, partition: int, *, most: int) -> tuple[LogRecord, ...]:
        if not self._is_late(topic):
            return await super().last_records(topic, partition, most=most)
        before = self.read(topic, partition, start=0, end=self._stable)
        return tuple([record async for record in before][-most:])


async def told(world: HarborWorld, hook: AtCall | None = None) -> list[Stopped]:
    reader = (
        MemoryLogReader(world.kafka, process="operator")
        if hook is None
        else MemoryLogReader(world.kafka, process="operator", hook=hook)
    )
    return await stopped_tenants(reader, clock=world.clock, partitions=PARTITIONS)


async def a_world() -> HarborWorld:
    world = HarborWorld()
    await world.decide(PROVISION, a_creation(2))
    return world


def double_the_last_entry(world: HarborWorld, tenant_id: TenantId = TENANT) -> None:
    *_, last = world.kafka.read(ledger_topic(tenant_id), 0)
    world.kafka.append(ledger_topic(tenant_id), 0, key=last.key, value=last.value)


def test_a_command_that_is_decided_at_any_moment_of_the_reading_stops_nobody() -> None:
    """Named for a list that said "the tip says 2 entries, the ledger ends with seq 3" of a working system."""

    async def scenario() -> None:
        for at in range(1, _CALLS_MAX):
            world = await a_world()

            async def decided(world: HarborWorld = world) -> None:
                await world.decide(a_creation(3))

            hook = AtCall(decided, at=at)
            assert await told(world, hook) == [], f"before call {at}"
            if hook.calls < at:
                return
        raise AssertionError("the reading has more calls than were tried")

    run(scenario)


def test_a_tenant_that_begins_at_any_moment_of_the_reading_is_not_stopped() -> None:
    async def scenario() -> None:
        beginner = a_neighbour()
        for at in range(1, _CALLS_MAX):
            world = await a_world()

            async def begun(world: HarborWorld = world) -> None:
                world.kafka.create_ledger_topic(ledger_topic(beginner))
                await world.decide(of_tenant(PROVISION, beginner))

            hook = AtCall(begun, at=at)
            assert await told(world, hook) == [], f"before call {at}"
            if hook.calls < at:
                return
        raise AssertionError("the reading has more calls than were tried")

    run(scenario)


def test_a_tenant_that_is_decided_all_the_time_is_not_stopped_and_ends_the_reading() -> None:
    async def scenario() -> None:
        world = await a_world()
        numbers = iter(range(3, 1000))

        async def decided() -> None:
            await world.decide(a_creation(next(numbers)))

        assert await told(world, AtCall(decided, at=1, is_repeated=True)) == []

    run(scenario)


@pytest.mark.parametrize("topic", [TIPS, ledger_topic(TENANT), INTENTS])
def test_a_transaction_whose_end_is_not_yet_seen_everywhere_stops_nobody(topic: str) -> None:
    async def scenario() -> None:
        world = await a_world()
        partition = 0 if topic == ledger_topic(TENANT) else PARTITION
        stable = world.kafka.partition(topic, partition).high_watermark
        await world.decide(a_creation(3))
        until = world.clock.now() + timedelta(seconds=1)
        reader = LateMarkers(world, topic=topic, stable=stable, until=until)

        assert await stopped_tenants(reader, clock=world.clock, partitions=PARTITIONS) == []

    run(scenario)


def test_what_disagrees_is_told_while_a_neighbour_is_decided() -> None:
    async def scenario() -> None:
        world = await a_world()
        neighbour = a_neighbour()
        world.kafka.create_ledger_topic(ledger_topic(neighbour))
        await world.decide(of_tenant(PROVISION, neighbour))
        double_the_last_entry(world, neighbour)
        numbers = iter(range(3, 1000))

        async def decided() -> None:
            await world.decide(a_creation(next(numbers)))

        (stopped,) = await told(world, AtCall(decided, at=1, is_repeated=True))

        assert (stopped.tenant_id, stopped.found_by) == (neighbour, "topics")
        assert "is there twice" in stopped.reason

    run(scenario)


def test_what_disagrees_is_told_while_a_transaction_hangs() -> None:
    async def scenario() -> None:
        world = await a_world()
        double_the_last_entry(world)
        handle = world.kafka.init_transactions("somebody")
        world.kafka.begin(handle)
        for topic, partition in ((TIPS, PARTITION), (ledger_topic(TENANT), 0)):
            world.kafka.produce(handle, topic, partition, key=b"k", value=b"v")
        before = world.clock.now()
        (stopped,) = await told(world)

        assert "is there twice" in stopped.reason
        assert world.clock.now() - before < timedelta(minutes=1)

    run(scenario)


def test_a_state_that_cannot_be_read_is_told() -> None:
    async def scenario() -> None:
        world = await a_world()
        world.kafka.append(INTENTS, PARTITION, key=tenant_key(TENANT), value=b"\x00junk")
        (stopped,) = await told(world)

        assert (stopped.tenant_id, stopped.found_by) == (TENANT, "topics")
        assert "tenant-one/tenant" in stopped.reason

    run(scenario)

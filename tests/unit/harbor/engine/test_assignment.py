"""The assignment protocol over memory: where it goes on, what it waits for, whom it stops."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from harbor.adapters.memory.ports import MemoryTransactions
from harbor.engine.ports import OutputRecord
from schemas.errors import BrokerUnavailableError, ConfigurationError, UnknownSchemaError
from schemas.ids import IntentId
from schemas.messages.avro_codec import decode, encode
from schemas.messages.tips import Position
from schemas.topics import (
    CHECKPOINTS,
    COMMANDS,
    INTENTS,
    OUTCOMES,
    POSITIONS,
    TIPS,
    checkpoint_key,
    intent_key,
    ledger_topic,
    position_key,
    tip_key,
)
from tests.support.builders import TENANT, a_command, an_intent_id, provision_tenant
from tests.support.harbor_world import HarborWorld, run
from tests.support.ledger_builder import LedgerBuilder
from tests.support.restoring import (
    PARTITION,
    Restoring,
    a_creation,
    a_history,
    a_neighbour,
    positions,
)


def test_an_empty_partition_starts_at_its_first_command() -> None:
    async def scenario() -> None:
        restored = await Restoring(HarborWorld()).assigner.restore(PARTITION)

        assert restored.next_offset == 0
        assert restored.quarantined == {}
        assert restored.tips == ()

    run(scenario)


def test_a_group_that_was_moved_back_goes_on_at_the_position() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        restoring.world.kafka.group("paybond-harbor").commit({(COMMANDS, PARTITION): 1})

        restored = await restoring.assigner.restore(PARTITION)

        assert restored.next_offset == positions(restoring)

    run(scenario)


def test_a_group_that_was_moved_forward_stops_the_process() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        beyond = positions(restoring) + 1
        restoring.world.kafka.group("paybond-harbor").commit({(COMMANDS, PARTITION): beyond})

        with pytest.raises(ConfigurationError, match="moved the group forward"):
            await restoring.assigner.restore(PARTITION)

    run(scenario)


def a_position(next_offset: int) -> OutputRecord:
    return OutputRecord(
        topic=POSITIONS,
        partition=PARTITION,
        key=position_key(PARTITION),
        value=encode(Position(partition=PARTITION, next_offset=next_offset)),
    )


async def open_transaction(
    world: HarborWorld, records: Iterable[OutputRecord]
) -> MemoryTransactions:
    zombie = MemoryTransactions(world.kafka, process="zombie", transactional_id="paybond-harbor-9")
    await zombie.initialize()
    await zombie.begin()
    await zombie.produce(list(records))
    return zombie


def test_an_open_transaction_of_a_predecessor_is_waited_for() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        await open_transaction(restoring.world, [a_position(99)])
        restore = asyncio.create_task(restoring.assigner.restore(PARTITION))
        for _ in range(50):
            await asyncio.sleep(0)
        waited = not restore.done()

        restoring.world.kafka.time_out_transaction("paybond-harbor-9")
        restored = await restore

        assert waited
        assert restored.next_offset == positions(restoring)

    run(scenario)


def test_a_position_whose_marker_comes_after_that_of_the_groups_offset_is_waited_for() -> None:
    """The markers of one transaction reach its partitions one after the other, in no order that is promised."""

    async def scenario() -> None:
        restoring = await a_history()
        decided = positions(restoring) + 1
        restoring.world.send(a_creation(4))
        predecessor = await open_transaction(restoring.world, [a_position(decided)])
        restoring.world.kafka.group("paybond-harbor").commit({(COMMANDS, PARTITION): decided})
        restore = asyncio.create_task(restoring.assigner.restore(PARTITION))
        for _ in range(50):
            await asyncio.sleep(0)

        await predecessor.commit()
        restored = await restore

        assert restored.next_offset == decided

    run(scenario)


def test_a_transaction_that_hangs_for_a_minute_is_named() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        await open_transaction(restoring.world, [a_position(99)])

        with pytest.raises(BrokerUnavailableError, match="paybond-harbor-9"):
            await restoring.assigner.restore(PARTITION)

    run(scenario)


def test_a_tenant_whose_tip_and_ledger_differ_is_quarantined_and_the_others_go_on() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        restoring.append(TIPS, key=tip_key(TENANT), message=replace(restoring.tip(), size=2))
        other = LedgerBuilder(tenant_id=a_neighbour())
        restoring.world.kafka.create_ledger_topic(ledger_topic(other.tenant_id))

        restored = await restoring.assigner.restore(PARTITION)

        assert set(restored.quarantined) == {TENANT}
        assert await restoring.assigner.recheck(PARTITION, TENANT) is not None
        assert await restoring.assigner.recheck(PARTITION, other.tenant_id) is None

    run(scenario)


@pytest.mark.parametrize("others_go_on", [False, True])
@pytest.mark.parametrize("topic", [INTENTS, OUTCOMES])
def test_a_record_that_can_t_be_read_keeps_its_tenant_stopped_whatever_restarts(
    topic: str, *, others_go_on: bool
) -> None:
    """The store does not have it, and stands where the topics stand all the same, or where they stood before."""

    async def scenario() -> None:
        restoring = await a_history()
        key = intent_key(TENANT, IntentId(an_intent_id(2)))
        restoring.world.kafka.append(topic, PARTITION, key=key, value=b"\0\xff\xff\xff\xff")

        first = await restoring.reason()
        if others_go_on:
            other = replace(a_command(provision_tenant(), number=9), tenant_id=a_neighbour())
            await restoring.world.decide(other)
        warm = Restoring(restoring.world, restoring.store)
        again = await warm.reason()
        released = await warm.assigner.recheck(PARTITION, TENANT)
        third = await Restoring(restoring.world, restoring.store).reason()

        assert "is not in this release's registry" in first
        assert again == third == first
        assert released is not None
        assert "only a process that starts anew" in released

    run(scenario)


def test_a_record_that_a_later_release_knows_is_there_once_that_release_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        restoring = await a_history()
        later = list(restoring.world.kafka.read(INTENTS, PARTITION))[-1]

        def decode_as_before(value: bytes) -> object:
            if value == later.value:
                raise UnknownSchemaError(100_999)
            return decode(value)

        with monkeypatch.context() as patch:
            patch.setattr("harbor.engine.agreement.decode", decode_as_before)
            before = await restoring.reason()
            has_before = await restoring.stored(INTENTS, later.key or b"")
        after = Restoring(restoring.world, restoring.store)
        restored = await after.assigner.restore(PARTITION)

        assert "100999" in before
        assert has_before is None
        assert restored.quarantined == {}
        assert await after.stored(INTENTS, later.key or b"") == later.value
        assert await after.assigner.recheck(PARTITION, TENANT) is None

    run(scenario)


def test_a_state_ahead_of_the_ledger_is_quarantined() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        ledger = LedgerBuilder()
        ledger.provision()
        newest = [ledger.create(number) for number in range(6)][-1]
        key = intent_key(TENANT, IntentId(newest))
        restoring.append(INTENTS, key=key, message=ledger.states[newest])

        first = await restoring.reason()
        warm = Restoring(restoring.world, restoring.store)

        assert "a state stands at seq" in first
        assert await warm.reason() == first

    run(scenario)


def test_a_served_checkpoint_ahead_is_quarantined_and_remembered_by_a_warm_store() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        ledger = LedgerBuilder()
        ledger.provision()
        signed = ledger.signed(size=9)
        restoring.append(CHECKPOINTS, key=checkpoint_key(TENANT, 9), message=signed)

        first = await restoring.reason()
        again = Restoring(restoring.world, restoring.store)

        assert "a checkpoint of size 9 was served" in first
        assert "a checkpoint of size 9 was served" in await again.reason()
        assert CHECKPOINTS not in again.reader.records

    run(scenario)


def test_a_checkpoint_that_can_t_be_read_stops_its_tenant_and_is_not_forgotten_by_a_warm_store() -> (
    None
):
    async def scenario() -> None:
        restoring = await a_history()
        key = checkpoint_key(TENANT, 9)
        restoring.world.kafka.append(CHECKPOINTS, PARTITION, key=key, value=b"\0\xff\xff\xff\xff")
        good = LedgerBuilder(tenant_id=a_neighbour())
        good.provision()
        restoring.append(
            CHECKPOINTS, key=checkpoint_key(good.tenant_id, 1), message=good.signed(size=1)
        )

        first = await restoring.assigner.restore(PARTITION)
        again = await Restoring(restoring.world, restoring.store).assigner.restore(PARTITION)

        for restored in (first, again):
            assert "is not in this release's registry" in restored.quarantined[TENANT]
            # What follows it is known all the same.
            assert "a checkpoint of size 1 was served" in restored.quarantined[good.tenant_id]

    run(scenario)


def test_a_tip_without_a_ledger_topic_is_quarantined() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        restoring.world.kafka.delete_topic(ledger_topic(TENANT))

        assert "no topic paybond.ledger.tenant-one" in await restoring.reason()

    run(scenario)


def test_a_command_id_is_decided_once_over_a_cold_start() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        before = restoring.world.events()

        await restoring.world.decide(a_creation(2))

        assert restoring.world.events() == before

    run(scenario)

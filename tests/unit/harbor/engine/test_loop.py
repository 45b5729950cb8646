"""Aborts, fences, outages and zombies: every command is decided once, whatever happens between two port calls."""

from collections.abc import Awaitable, Callable

import pytest

from harbor.engine.ports import AbortableError, FencedError, RetriableError
from harbor.engine.suspects import Mark
from schemas.errors import BrokerUnavailableError, OwnershipLostError, StateMismatchError
from schemas.ids import TenantId
from schemas.messages.commands import FundIntent
from schemas.messages.outcomes import OutcomeStatus
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, GROUP_HARBOR, TIPS, ledger_topic
from tests.support.builders import TENANT, a_command, an_intent_id, create_intent, provision_tenant
from tests.support.harbor_world import PARTITIONS, HarborProcess, HarborWorld, of_tenant, run

PROVISION = a_command(provision_tenant(), number=1)
CREATE = a_command(create_intent(), number=2)
FUND = a_command(FundIntent(), number=3)
PARTITION = partition_of(TENANT, PARTITIONS)

EVENTS = ["tenant_provisioned", "intent_created", "settlement_rail_requested"]


async def running(world: HarborWorld, process: HarborProcess) -> HarborProcess:
    """With its partitions restored, and nothing decided yet."""
    await process.loop.start()
    while not process.loop.partitions or process.loop.is_restoring:
        await process.loop.turn()
    return process


def a_rebalance_of(world: HarborWorld) -> Callable[[], Awaitable[None]]:
    async def rebalance() -> None:
        world.kafka.group(GROUP_HARBOR).rebalance()

    return rebalance


def assert_decided_once(world: HarborWorld) -> None:
    assert world.events() == EVENTS
    assert [effect.issue for effect in world.effects()] == [0]
    for command in (PROVISION, CREATE, FUND):
        assert len(world.outcomes(command)) == 1
    world.assert_whole()


def test_an_abort_steps_back_loses_nothing_and_decides_nothing_twice() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        process.faults.meanwhile("transactions.send_offsets before", a_rebalance_of(world))
        world.send(PROVISION, CREATE, FUND)
        await world.settle(process)

        assert len(process.witness.aborts) == 1
        assert "ILLEGAL_GENERATION" in process.witness.aborts[0]
        assert_decided_once(world)

    run(scenario)


def test_an_abort_of_one_share_steps_back_in_every_partition_that_follows() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        tenants = [TenantId(f"tenant-{number}") for number in range(8)]
        mark = Mark(first=0, end=3, count=2).encoded()
        process = world.process()
        for partition in range(PARTITIONS):
            await process.store.write({partition: {("attempts", b"deciding"): mark}})
        await running(world, process)
        process.faults.plan("transactions.commit before", AbortableError("once"))
        for tenant_id in tenants:
            world.kafka.create_ledger_topic(ledger_topic(tenant_id))
            world.send(of_tenant(PROVISION, tenant_id))
        await world.settle(process)

        assert len({partition_of(tenant_id, PARTITIONS) for tenant_id in tenants}) > 1
        assert len(process.witness.aborts) == 1
        for tenant_id in tenants:
            assert world.events(tenant_id) == ["tenant_provisioned"]
            world.assert_whole(tenant_id)

    run(scenario)


def test_an_aborted_batch_leaves_no_trace_in_the_store() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        before = process.store.snapshot()[PARTITION]
        process.faults.plan("transactions.commit before", AbortableError("once"))
        world.send(PROVISION)
        await process.loop.turn()

        assert process.store.snapshot()[PARTITION] == before
        assert world.entries() == []
        assert await process.signer.publish_pending() == 0

    run(scenario)


def test_flush_comes_before_the_abort_and_before_the_offsets() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        process.faults.plan("transactions.commit before", AbortableError("once"))
        world.send(PROVISION)
        process.faults.calls.clear()
        await process.loop.turn()
        calls = [
            call.removesuffix(" before").removeprefix("transactions.")
            for call in process.faults.calls
            if call.startswith(("transactions.", "consumer.seek")) and call.endswith("before")
        ]

        assert calls == [
            "begin",
            "produce",
            "flush",
            "send_offsets",
            "commit",
            "flush",
            "abort",
            "consumer.seek",
        ]

    run(scenario)


def test_a_commit_that_asks_for_patience_is_repeated() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        process.faults.plan("transactions.commit before", RetriableError())
        process.faults.plan("transactions.commit before", RetriableError())
        world.send(PROVISION, CREATE, FUND)
        await world.settle(process)

        assert_decided_once(world)

    run(scenario)


def test_a_commit_without_an_answer_ends_the_process_and_its_successor_settles_it() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        for _ in range(10):
            process.faults.plan("transactions.commit before", RetriableError())
        world.send(PROVISION, CREATE, FUND)
        with pytest.raises(BrokerUnavailableError):
            await world.settle(process)
        await process.loop.stop()
        await world.settle(await running(world, world.process("second", after=process)))

        assert_decided_once(world)

    run(scenario)


def test_a_fenced_process_stops_after_it_left_the_group() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = world.process("first")

        async def another_starts() -> None:
            world.kafka.init_transactions("paybond-harbor-0")

        process.faults.meanwhile("transactions.produce before", another_starts)
        world.send(PROVISION)
        with pytest.raises(OwnershipLostError):
            await process.loop.run(is_stopping=lambda: False)

        assert process.consumer.is_closed
        assert not world.kafka.group(GROUP_HARBOR).is_member("first")
        assert world.entries() == []

    run(scenario)


def test_a_zombie_that_wakes_after_its_takeover_writes_nothing() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        zombie = await running(world, world.process("zombie"))
        second = world.process("second", slot=1)

        async def take_over() -> None:
            world.kafka.group(GROUP_HARBOR).remove("zombie")
            await running(world, second)
            await world.settle(second)

        world.send(PROVISION, CREATE, FUND)
        zombie.faults.meanwhile("transactions.begin before", take_over)
        await zombie.loop.turn()

        assert zombie.witness.results == []
        assert "UNKNOWN_MEMBER_ID" in zombie.witness.aborts[0]
        assert_decided_once(world)

    run(scenario)


def test_a_successor_waits_for_a_hanging_transaction_to_end_and_its_owner_is_fenced() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        zombie = await running(world, world.process("zombie"))
        second = world.process("second", slot=1)

        async def take_over() -> None:
            world.kafka.group(GROUP_HARBOR).remove("zombie")
            await second.loop.start()
            for _ in range(20):
                await second.loop.turn()
            assert PARTITION not in second.loop.partitions
            world.kafka.time_out_transaction("paybond-harbor-0")
            await world.settle(second)

        world.send(PROVISION, CREATE, FUND)
        zombie.faults.meanwhile("transactions.send_offsets before", take_over)
        with pytest.raises(FencedError):
            await zombie.loop.turn()

        assert zombie.witness.results == []
        assert_decided_once(world)

    run(scenario)


def test_a_partition_that_moves_is_decided_on_by_its_new_owner() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        first = await running(world, world.process("first"))
        world.send(PROVISION)
        await world.settle(first)
        second = world.process("second", slot=1)
        await second.loop.start()
        for _ in range(30):
            await second.loop.turn()
            await first.loop.turn()
        assert first.loop.partitions | second.loop.partitions == frozenset(range(PARTITIONS))
        assert not first.loop.partitions & second.loop.partitions
        world.send(CREATE, FUND)
        for _ in range(4):
            await second.loop.turn()
            await first.loop.turn()
        await first.loop.stop()
        await second.loop.stop()

        assert_decided_once(world)

    run(scenario)


def test_a_new_owner_signs_the_tips_again_with_the_same_bytes() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        notes = world.checkpoints()
        await world.settle(await running(world, world.process("second")))

        assert world.checkpoints() == [*notes, notes[-1]]

    run(scenario)


def test_nothing_is_signed_before_its_commit() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        published: list[int] = []

        async def look() -> None:
            published.append(len(world.checkpoints()))

        process.faults.meanwhile("transactions.commit before", look)
        process.faults.meanwhile("store.write before", look)
        world.send(PROVISION)
        await world.settle(process)

        assert published == [0, 0]
        assert [checkpoint.size for checkpoint in world.checkpoints()] == [1]

    run(scenario)


def test_no_two_checkpoints_of_one_size_differ_after_an_aborted_verdict() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        process.faults.plan("transactions.commit before", AbortableError("once"))
        world.send(PROVISION)
        await process.loop.turn()
        await process.signer.publish_pending()
        world.send(CREATE)
        await world.settle(process)
        by_size: dict[int, set[bytes]] = {}
        for checkpoint in world.checkpoints():
            by_size.setdefault(checkpoint.size, set()).add(checkpoint.root)

        assert by_size
        assert all(len(roots) == 1 for roots in by_size.values())

    run(scenario)


def test_a_loop_that_ends_is_not_ready_although_it_restores_nothing_any_more() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        were_decided = process.loop.partitions
        await process.loop.stop()

        assert were_decided == frozenset(range(PARTITIONS))
        assert not process.loop.is_restoring
        assert process.loop.partitions == frozenset()

    run(scenario)


def test_an_outage_is_not_held_against_the_commands() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = world.process()
        for _ in range(4):
            await running(world, process)
            process.faults.plan("transactions.commit before", BrokerUnavailableError("test"))
            if not world.outcomes(PROVISION):
                world.send(PROVISION)
            with pytest.raises(BrokerUnavailableError):
                await process.loop.turn()
            await process.loop.stop()
            process = world.process(after=process)
        await world.settle(await running(world, process))

        assert process.witness.poisons == []
        assert world.dead_letters() == []
        assert all(o.status is OutcomeStatus.DONE for o in world.outcomes(PROVISION)[:1])

    run(scenario)


@pytest.mark.parametrize("step", ["flush", "abort"])
@pytest.mark.parametrize("error", [BrokerUnavailableError("test"), FencedError("test")])
def test_an_outage_in_which_not_even_an_abort_succeeds_is_not_held_against_the_commands(
    step: str, error: Exception
) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = world.process()
        for _ in range(4):
            await running(world, process)
            process.faults.plan("transactions.produce before", AbortableError("test"))
            process.faults.plan(f"transactions.{step} before", error)
            if not world.outcomes(PROVISION):
                world.send(PROVISION)
            with pytest.raises(type(error)):
                await process.loop.turn()
            await process.loop.stop()
            process = world.process(after=process)
        await world.settle(await running(world, process))

        assert process.witness.poisons == []
        assert world.dead_letters() == []
        assert all(o.status is OutcomeStatus.DONE for o in world.outcomes(PROVISION)[:1])

    run(scenario)


def test_run_decides_until_it_is_told_to_stop_and_signs_the_last_tip() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE, FUND)
        process = world.process()
        await process.loop.run(is_stopping=lambda: world.is_settled)

        assert_decided_once(world)
        assert world.checkpoints()[-1].size == 3
        assert process.consumer.is_closed

    run(scenario)


def test_a_signer_without_a_broker_ends_the_process() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION)
        process = world.process()
        process.faults.plan("checkpoints.publish before", BrokerUnavailableError("test"))
        with pytest.raises(BrokerUnavailableError):
            await process.loop.run(is_stopping=lambda: False)

        assert process.consumer.is_closed

    run(scenario)


def test_a_restore_that_fails_ends_the_process() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = world.process()
        process.faults.plan(
            "reader.committed_offset before", StateMismatchError(subject="x", reason="y")
        )
        with pytest.raises(StateMismatchError):
            await process.loop.run(is_stopping=lambda: False)

        assert process.consumer.is_closed

    run(scenario)


def test_one_tip_per_tenant_and_batch() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        other = an_intent_id(2)
        await world.decide(
            PROVISION,
            CREATE,
            a_command(create_intent(intent_id=other), number=4, intent_id=other),
        )

        assert len(world.events()) == 3
        assert len(list(world.kafka.read_all(TIPS))) == 1

    run(scenario)


def test_a_fence_at_the_start_is_ownership_lost() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = world.process()
        process.faults.plan("transactions.initialize before", FencedError())
        with pytest.raises(OwnershipLostError):
            await process.loop.run(is_stopping=lambda: False)

        assert world.kafka.partition(COMMANDS, 0).high_watermark == 0

    run(scenario)

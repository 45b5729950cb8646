"""The process dies at every port call of the loop: its successor decides every command once.

`STEPS` are died at on Apache Kafka too (`tests/integration/harbor/test_crash_points.py`).
"""

import pytest

from harbor.engine.ports import AbortableError
from schemas.topics import GROUP_HARBOR
from tests.support.harbor_world import Crash, Faults, HarborWorld, run
from tests.unit.harbor.engine.test_loop import (
    CREATE,
    EVENTS,
    FUND,
    PROVISION,
    assert_decided_once,
    running,
)

# Every port call between taking a batch and signing its tips: before it, and after it where it has an effect.
DECIDING = (
    "consumer.consume before",
    "consumer.consume after",
    "store.write before",
    "store.write after",
    "store.get_many before",
    "signatures.verify_each before",
    "reader.ledger_topics before",
    "transactions.begin before",
    "transactions.begin after",
    "transactions.produce before",
    "transactions.produce after",
    "transactions.flush before",
    "transactions.flush after",
    "transactions.send_offsets before",
    "transactions.send_offsets after",
    "transactions.commit before",
    "transactions.commit after",
    "checkpoints.publish before",
    "checkpoints.publish after",
)
# Behind a commit that the broker wants to be aborted.
ABORTING = (
    "transactions.abort before",
    "transactions.abort after",
    "consumer.seek before",
    "consumer.seek after",
)
STEPS = DECIDING + ABORTING
# Between the fence and the first batch, of a process whose store is empty.
RESTORING = (
    "transactions.initialize before",
    "transactions.initialize after",
    "consumer.consume before",
    "consumer.consume after",
    "reader.committed_offset before",
    "reader.beginning_offset before",
    "reader.end_offset before",
    "reader.stable_offset before",
    "reader.last_record before",
    "reader.ledger_topics before",
    "reader.offset_at before",
    "reader.read before",
    "store.get_many before",
    "store.scan before",
    "store.drop before",
    "store.write before",
    "store.write after",
    "consumer.start before",
    "consumer.start after",
)
# Why a port call is no step at which the process crashes here.
_LEAVING = "the process leaves, and decides nothing any more"
NO_STEPS = {
    "consumer.close before": _LEAVING,
    "consumer.close after": _LEAVING,
    "transactions.close before": _LEAVING,
    "transactions.close after": _LEAVING,
}


def plan_a_crash(faults: Faults, step: str) -> None:
    """At the next such step; one of an abort needs something to abort."""
    if step in ABORTING:
        faults.plan("transactions.commit before", AbortableError("once"))
    faults.plan(step, Crash())


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_leaves_each_command_decided_once(step: str) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        first = await running(world, world.process("first"))
        plan_a_crash(first.faults, step)
        world.send(PROVISION, CREATE, FUND)
        with pytest.raises(Crash):
            await world.settle(first)
        world.kafka.group(GROUP_HARBOR).remove("first")
        second = await running(world, world.process("second", after=first))
        await world.settle(second)

        assert_decided_once(world)
        assert world.checkpoints()[-1].size == len(EVENTS)

    run(scenario)


@pytest.mark.parametrize("step", RESTORING)
def test_a_crash_at_any_step_of_a_restore_leaves_each_command_decided_once(step: str) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        second = world.process("second", slot=1)
        plan_a_crash(second.faults, step)
        world.send(FUND)
        with pytest.raises(Crash):
            await running(world, second)
        # Those of other partitions died with it; nobody else would hear of it.
        await second.loop._restores.close()
        world.kafka.group(GROUP_HARBOR).remove("second")
        third = await running(world, world.process("third", slot=1, after=second))
        await world.settle(third)

        assert_decided_once(world)

    run(scenario)


def test_every_port_call_of_the_loop_is_a_step_at_which_it_crashes() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = world.process()
        process.faults.plan("transactions.commit before", AbortableError("once"))
        world.send(PROVISION, CREATE, FUND)
        await world.settle(await running(world, process))
        await process.loop.stop()
        successor = await running(world, world.process("successor", slot=1))
        made = {*process.faults.calls, *successor.faults.calls}

        assert made == {*STEPS, *RESTORING, *NO_STEPS}

    run(scenario)

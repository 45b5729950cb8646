"""The loop's batches: smaller after one that took long or was aborted, and none for ever."""

from datetime import timedelta

import pytest

from harbor.engine.pace import ABORTS_MAX
from harbor.engine.ports import AbortableError
from schemas.errors import BrokerUnavailableError
from tests.support.harbor_world import HarborWorld, run
from tests.unit.harbor.engine.test_loop import (
    CREATE,
    FUND,
    PROVISION,
    assert_decided_once,
    running,
)


def test_what_is_aborted_comes_again_in_halves_and_ends_the_process_if_it_never_gets_through() -> (
    None
):
    """A topic that is gone, say: a process that starts anew looks, and stops that tenant only."""

    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        for _ in range(ABORTS_MAX):
            process.faults.plan("transactions.commit before", AbortableError("never"))
        world.send(PROVISION, CREATE, FUND)
        for _ in range(ABORTS_MAX - 1):
            await process.loop.turn()
        with pytest.raises(BrokerUnavailableError, match="in a row were aborted: never"):
            await process.loop.turn()
        await process.loop.stop()
        await world.settle(await running(world, world.process(after=process)))

        sizes = [int(abort.split(":")[0]) for abort in process.witness.aborts]
        assert sizes == [3] + [1] * (ABORTS_MAX - 1)
        assert process.witness.poisons == []
        assert_decided_once(world)

    run(scenario)


def test_a_batch_that_took_long_makes_the_next_one_smaller() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())

        async def a_long_decision() -> None:
            world.clock.advance(timedelta(seconds=3))

        process.faults.meanwhile("store.get_many before", a_long_decision)
        world.send(PROVISION, CREATE, FUND)
        await process.loop.turn()
        world.send(CREATE, FUND)
        await world.settle(process)

        decided = [max(result.next_offsets.values()) for result in process.witness.results]
        assert decided == [3, 4, 5]

    run(scenario)

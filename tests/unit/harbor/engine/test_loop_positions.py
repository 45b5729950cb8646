"""Where a partition goes on is the loop's to know: no command comes twice, and none is passed over."""

import pytest

from schemas.errors import StateMismatchError
from schemas.topics import COMMANDS
from tests.support.harbor_world import HarborWorld, run
from tests.unit.harbor.engine.test_loop import (
    CREATE,
    FUND,
    PARTITION,
    PROVISION,
    assert_decided_once,
    running,
)


def test_a_record_below_the_position_stops_the_process() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        world.send(PROVISION)
        await world.settle(process)
        await process.consumer.seek({PARTITION: 0})
        with pytest.raises(StateMismatchError, match="offset 0 came, 1 is next"):
            await process.loop.turn()

        assert world.events() == ["tenant_provisioned"]

    run(scenario)


def test_a_client_that_passes_over_commands_stops_the_process_and_the_next_one_decides_them() -> (
    None
):
    """As librdkafka does when it is positioned while it waits for an answer about the end (measured)."""

    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        world.send(PROVISION, CREATE, FUND)
        await process.consumer.seek({PARTITION: 2})
        with pytest.raises(StateMismatchError, match="offset 2 came, 0 is next"):
            await process.loop.turn()
        was_decided = world.events()
        await process.loop.stop()
        await world.settle(await running(world, world.process(after=process)))

        assert was_decided == []
        assert_decided_once(world)

    run(scenario)


def test_commands_that_are_deleted_under_a_running_process_stop_it() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        world.send(PROVISION, CREATE, FUND)
        world.kafka.partition(COMMANDS, PARTITION).delete_before(2)
        with pytest.raises(
            StateMismatchError, match="offset 2 came, 0 is next, and the log begins at 2"
        ):
            await process.loop.turn()

        assert world.events() == []

    run(scenario)


def test_a_hole_that_holds_no_command_is_none() -> None:
    """An aborted transaction and its marker: of nobody that we know, and no reason to stand still for ever."""

    async def scenario() -> None:
        world = HarborWorld()
        process = await running(world, world.process())
        world.send(PROVISION)
        stranger = world.kafka.init_transactions("stranger")
        world.kafka.begin(stranger)
        world.kafka.produce(stranger, COMMANDS, PARTITION, key=b"key", value=b"never was")
        world.kafka.abort(stranger)
        world.send(CREATE, FUND)
        await world.settle(process)

        assert_decided_once(world)

    run(scenario)

"""The tick beside the real loop, in memory: what time brings is decided once, whoever sends it how often."""

from datetime import timedelta

from harbor.recovery.tick import RecoveryTick
from schemas.messages.commands import Command, FundIntent
from schemas.messages.outcomes import OutcomeStatus
from schemas.messages.shared import RailAction
from tests.support.builders import DEADLINE, a_command, create_intent, provision_tenant, rail_answer
from tests.support.harbor_world import HarborProcess, HarborWorld, run

PROVISION = a_command(provision_tenant(), number=1)
CREATE = a_command(create_intent(), number=2)
FUND = a_command(FundIntent(), number=3)


class WorldSender:
    """Onto the world's command topic, sealed."""

    def __init__(self, world: HarborWorld) -> None:
        self._world = world
        self.commands: list[Command] = []

    async def send(self, command: Command) -> None:
        self.commands.append(command)
        self._world.send(command)


async def started(world: HarborWorld) -> HarborProcess:
    process = world.process()
    await process.loop.start()
    await world.settle(process)
    return process


def tick_of(world: HarborWorld, process: HarborProcess) -> tuple[RecoveryTick, WorldSender]:
    sender = WorldSender(world)
    tick = RecoveryTick(
        store=process.store,
        sender=sender,
        clock=world.clock,
        partitions=lambda: process.loop.partitions,
        quarantined=lambda: process.loop.quarantined,
    )
    return tick, sender


def test_an_intent_that_was_never_funded_is_closed_once_after_its_deadline() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE)
        process = await started(world)
        tick, sender = tick_of(world, process)
        early = await tick.turn()
        world.clock.instant = DEADLINE + timedelta(seconds=61)
        await tick.turn()
        # A second process that does not know what the first one sent.
        other, _ = tick_of(world, process)
        await other.turn()
        await world.settle(process)
        later = await tick.turn()
        await process.loop.stop()

        assert (early, later) == (0, 0)
        assert world.events() == ["tenant_provisioned", "intent_created", "refunded"]
        assert world.outcomes(sender.commands[0])[-1].status is OutcomeStatus.DONE
        world.assert_whole()

    run(scenario)


def test_a_funded_intent_without_evidence_is_cancelled_and_then_refunded() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE, FUND)
        placed = rail_answer(world.effects()[-1], now=world.clock.now())
        world.send(a_command(placed, number=4))
        process = await started(world)
        tick, _ = tick_of(world, process)
        world.clock.instant = DEADLINE + timedelta(seconds=61)
        await tick.turn()
        await world.settle(process)
        cancel = world.effects()[-1]
        world.send(a_command(rail_answer(cancel, now=world.clock.now()), number=5))
        await world.settle(process)
        later = await tick.turn()
        await process.loop.stop()

        assert cancel.action is RailAction.CANCEL
        assert world.events()[-3:] == [
            "settlement_rail_requested",
            "settlement_rail_confirmed",
            "refunded",
        ]
        assert later == 0
        world.assert_whole()

    run(scenario)


def test_an_effect_without_an_answer_is_issued_again_with_its_id_and_no_entry() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE, FUND)
        process = await started(world)
        tick, _ = tick_of(world, process)
        world.clock.advance(timedelta(seconds=31))
        sent = await tick.turn()
        await world.settle(process)
        again = await tick.turn()
        await process.loop.stop()

        first, second = world.effects()
        assert (sent, again) == (1, 0)
        assert first.effect_id == second.effect_id
        assert (first.issue, second.issue) == (0, 1)
        assert world.events()[-1] == "settlement_rail_requested"
        world.assert_whole()

    run(scenario)

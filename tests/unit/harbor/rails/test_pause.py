"""A pause of the rails, whole and in memory: nothing is asked while it lasts, and each effect once when it ends."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from harbor.adapters.memory.ports import MemoryLogReader
from harbor.adapters.memory.rails import (
    MemoryCommandSender,
    MemoryEffectLog,
    MemoryOutstanding,
    MemoryRailDeadLetters,
)
from harbor.fsck.audit import Audit
from harbor.fsck.shared_topics import LedgerKeys
from harbor.inspection.states import read_states
from harbor.rails.ports import RailAnswer, RailObject
from harbor.rails.worker import RailWorker
from schemas.canonical import ed25519
from schemas.messages.commands import Command, FundIntent, Issuer, PauseRails, ResumeRails
from schemas.messages.effects import Effect
from schemas.messages.outcomes import IntentAnswer, OutcomeStatus, TenantAnswer
from schemas.messages.shared import RailAnswerKind, SettlementMode
from tests.support.builders import (
    HOLD_LIFETIME,
    RAIL_OBJECT,
    TENANT,
    a_command,
    an_intent_id,
    create_intent,
)
from tests.support.harbor_world import (
    DEPLOYMENT,
    ISSUER_KEYS,
    LEDGER_SEED,
    PARTITIONS,
    HarborWorld,
    run,
)
from tests.unit.harbor.engine.test_life_of_an_intent import (
    CONFIRM,
    CREATE,
    FUND,
    PROVISION,
    with_evidence,
)
from tests.unit.harbor.fsck.world import Witness
from tests.unit.harbor.recovery.test_tick_beside_the_loop import started, tick_of

PAUSE = a_command(PauseRails(reason="the rail charges twice"), number=50)
RESUME = a_command(ResumeRails(reason="the rail is well"), number=51)


class CountingRail:
    """Does what it is asked, and counts."""

    def __init__(self, world: HarborWorld) -> None:
        self._world = world
        self.asked: list[str] = []

    async def execute(self, effect: Effect) -> tuple[RailAnswer, ...]:
        self.asked.append(effect.effect_id)
        await asyncio.sleep(0)
        is_hold = effect.action == "hold"
        return (
            RailAnswer(
                kind=RailAnswerKind.SUCCEEDED,
                rail_object=RAIL_OBJECT,
                amount_minor=effect.amount_minor,
                currency=effect.currency,
                rail_status="requires_capture" if is_hold else "succeeded",
                hold_expires_at=self._world.clock.now() + HOLD_LIFETIME if is_hold else None,
            ),
        )

    async def observe(self, rail_object: str) -> RailObject | None:
        raise AssertionError("not asked in here")

    async def find(self, *, tenant_id: str, intent_id: str) -> RailObject | None:
        raise AssertionError("not asked in here")


async def worked(world: HarborWorld, rail: CountingRail, *, name: str = "rails") -> None:
    """A worker of its own for a while: it knows nothing but what Kafka holds, as after every restart."""
    worker = RailWorker(
        log=MemoryEffectLog(world.kafka, process=name),
        outstanding=MemoryOutstanding(world.kafka, process=name),
        rails={SettlementMode.SIMULATED: rail},
        commands=MemoryCommandSender(
            world.kafka,
            process=name,
            issuer_key=ISSUER_KEYS[Issuer.RAILS][0],
            partitions=PARTITIONS,
        ),
        dead_letters=MemoryRailDeadLetters(world.kafka, process=name),
    )
    running = asyncio.create_task(worker.run())
    for _ in range(200):
        await asyncio.sleep(0)
    worker.stop()
    await running


def answer_of(world: HarborWorld, command: Command) -> IntentAnswer:
    answer = world.outcomes(command)[-1].answer
    assert isinstance(answer, IntentAnswer)
    return answer


def test_what_is_asked_during_a_pause_waits_and_says_so() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        rail = CountingRail(world)
        await world.decide(PROVISION, CREATE, PAUSE, FUND)
        await worked(world, rail)
        await world.decide()

        assert rail.asked == []
        assert world.outcomes(FUND)[-1].status is OutcomeStatus.ACCEPTED
        action = answer_of(world, FUND).next_action
        assert action is not None
        assert (action.kind, action.at, action.blocked_by) == ("resume_rails", None, "rails_paused")

    run(scenario)


def test_a_poll_and_a_confirm_during_a_pause_say_so_too() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await with_evidence(world)
        second = an_intent_id(2)
        create = a_command(create_intent(intent_id=second), number=8, intent_id=second)
        fund = a_command(FundIntent(), number=9, intent_id=second)
        poll = a_command(FundIntent(), number=10, intent_id=second)
        await world.decide(PAUSE, CONFIRM, create, fund, poll)

        for command in (CONFIRM, poll):
            action = answer_of(world, command).next_action
            assert action is not None
            assert action.blocked_by == "rails_paused"

    run(scenario)


def test_after_the_pause_each_effect_is_asked_once_whatever_was_restarted_meanwhile() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        rail = CountingRail(world)
        await world.decide(PROVISION, CREATE, PAUSE, FUND)
        for restart in range(3):
            await worked(world, rail, name=f"rails-{restart}")
        before = list(rail.asked)
        await world.decide(RESUME)
        await worked(world, rail, name="rails-last")
        await world.decide()
        await worked(world, rail, name="rails-idle")

        assert before == []
        assert rail.asked == [world.effects()[0].effect_id]
        assert world.outcomes(FUND)[-1].status is OutcomeStatus.DONE
        assert world.events()[-1] == "settlement_hold_placed"
        world.assert_whole()

    run(scenario)


def test_a_worker_that_lives_through_the_pause_asks_when_it_ends() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        rail = CountingRail(world)
        await world.decide(PROVISION, CREATE, PAUSE, FUND)
        working = asyncio.create_task(worked(world, rail))
        for _ in range(50):
            await asyncio.sleep(0)
        before = list(rail.asked)
        await world.decide(RESUME)
        await working

        assert (before, len(rail.asked)) == ([], 1)

    run(scenario)


def test_a_pause_is_no_storm_of_re_issues() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE, PAUSE, FUND)
        process = await started(world)
        tick, sender = tick_of(world, process)
        for _ in range(40):
            world.clock.advance(timedelta(minutes=15))
            await tick.turn()
        await world.settle(process)
        during = len(sender.commands)
        world.send(RESUME)
        await world.settle(process)
        world.clock.advance(timedelta(minutes=15))
        await tick.turn()
        await world.settle(process)
        await process.loop.stop()

        assert during == 0
        assert len(sender.commands) == 1
        assert len(world.effects()) == 2

    run(scenario)


def test_a_re_issue_that_was_under_way_when_the_pause_began_asks_nothing() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE, FUND)
        process = await started(world)
        tick, sender = tick_of(world, process)
        world.clock.advance(timedelta(minutes=1))
        world.send(PAUSE)
        await tick.turn()
        await world.settle(process)
        await process.loop.stop()

        (reissue,) = sender.commands
        refused = world.outcomes(reissue)[-1].refusal
        assert refused is not None
        assert refused.code == "rails_paused"
        assert len(world.effects()) == 1

    run(scenario)


def test_an_effect_issued_twice_before_the_worker_came_is_asked_once_after_the_pause() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        rail = CountingRail(world)
        world.send(PROVISION, CREATE, FUND)
        process = await started(world)
        tick, _ = tick_of(world, process)
        world.clock.advance(timedelta(minutes=1))
        await tick.turn()
        await world.settle(process)
        world.send(PAUSE)
        await world.settle(process)
        working = asyncio.create_task(worked(world, rail))
        for _ in range(50):
            await asyncio.sleep(0)
        world.send(RESUME)
        await world.settle(process)
        await working
        await process.loop.stop()

        assert len(world.effects()) == 2
        assert len(rail.asked) == 1

    run(scenario)


def test_another_tenants_rails_go_on() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        rail = CountingRail(world)
        elsewhere = replace(PAUSE, tenant_id="tenant-two")
        await world.decide(PROVISION, CREATE, elsewhere, FUND)
        await worked(world, rail)

        assert len(rail.asked) == 1
        refused = world.outcomes(elsewhere)[-1].refusal
        assert refused is not None
        assert refused.code == "tenant_unknown"

    run(scenario)


def test_the_first_pauses_reason_stands_and_a_resume_takes_it_away() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        again = a_command(PauseRails(reason="another"), number=52)
        await world.decide(PROVISION, PAUSE, again)
        reader = MemoryLogReader(world.kafka, process="operator")
        paused = (await read_states(reader, TENANT, partitions=PARTITIONS)).tenants[TENANT]
        answer = world.outcomes(again)[-1].answer
        await world.decide(RESUME)
        resumed = (await read_states(reader, TENANT, partitions=PARTITIONS)).tenants[TENANT]

        assert paused.rails_pause is not None
        assert paused.rails_pause.reason == "the rail charges twice"
        assert paused.rails_pause.paused_by == PAUSE.actor
        assert isinstance(answer, TenantAnswer)
        assert answer.rails_paused_since == paused.rails_pause.since
        assert resumed.rails_pause is None

    run(scenario)


def test_a_quarantined_tenant_can_be_paused_and_not_resumed() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        process = world.process("doubting")
        process.assigner.in_doubt[TENANT] = "a test"
        await process.loop.start()
        world.send(PAUSE, RESUME)
        await world.settle(process)
        await process.loop.stop()

        assert world.outcomes(PAUSE)[-1].status is OutcomeStatus.DONE
        refused = world.outcomes(RESUME)[-1].refusal
        assert refused is not None
        assert refused.code == "tenant_quarantined"

    run(scenario)


def test_a_pause_is_no_finding_of_fsck() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE, PAUSE, FUND)
        audit = Audit(
            reader=MemoryLogReader(world.kafka, process="fsck"),
            tables=None,
            clock=world.clock,
            keys=LedgerKeys(deployment=DEPLOYMENT, public_keys=(ed25519.public_key(LEDGER_SEED),)),
            partitions=PARTITIONS,
        )
        (report,) = await audit.run(TENANT, Witness())

        assert report.findings == ()

    run(scenario)

"""The whole path in memory: commands through the loop, answers of a rail, entries and outcomes on their topics."""

from schemas.messages.commands import (
    Command,
    ConfirmSettlement,
    FundIntent,
)
from schemas.messages.outcomes import IntentAnswer, OutcomeStatus
from schemas.messages.shared import HoldStatus, IntentStatus, RailAction, RailAnswerKind
from schemas.topics import COMMANDS, EVIDENCE
from tests.support.builders import (
    AMOUNT,
    NEVER,
    a_command,
    create_intent,
    provision_tenant,
    rail_answer,
    submit_evidence,
)
from tests.support.harbor_world import HarborWorld, run

PROVISION = a_command(provision_tenant(), number=1)
CREATE = a_command(create_intent(), number=2, nonce="n-create")
FUND = a_command(FundIntent(), number=3, nonce="n-fund")
CONFIRM = a_command(ConfirmSettlement(), number=6, nonce="n-confirm")


def answer_of(world: HarborWorld, number: int) -> Command:
    """The rail's success for the last effect."""
    return a_command(rail_answer(world.effects()[-1], now=world.clock.now()), number=number)


async def funded(world: HarborWorld) -> None:
    await world.decide(PROVISION, CREATE, FUND)
    await world.decide(answer_of(world, 4))


async def with_evidence(world: HarborWorld) -> None:
    await funded(world)
    await world.decide(a_command(submit_evidence(now=world.clock.now()), number=5))


def test_an_intent_goes_from_creation_to_release() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await with_evidence(world)
        await world.decide(CONFIRM)
        await world.decide(answer_of(world, 7))

        assert world.events() == [
            "tenant_provisioned",
            "intent_created",
            "settlement_rail_requested",
            "settlement_hold_placed",
            "evidence_submitted",
            "predicate_evaluated",
            "settlement_rail_requested",
            "settlement_rail_confirmed",
            "released",
        ]
        assert [effect.action for effect in world.effects()] == [
            RailAction.HOLD,
            RailAction.CAPTURE,
        ]
        asked, released = world.outcomes(CONFIRM)
        assert asked.status is OutcomeStatus.ACCEPTED
        assert released.status is OutcomeStatus.DONE
        assert isinstance(released.answer, IntentAnswer)
        assert released.answer.status is IntentStatus.RELEASED
        assert released.answer.released_minor == AMOUNT
        assert released.answer.hold_status is HoldStatus.CAPTURED
        world.assert_whole()

    run(scenario)


def test_a_rails_answer_rewrites_only_what_the_rail_decided() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await funded(world)
        asked, settled = world.outcomes(FUND)

        assert asked.status is OutcomeStatus.ACCEPTED
        assert settled.status is OutcomeStatus.DONE
        assert (settled.input_hash, settled.spent) == (asked.input_hash, asked.spent)
        assert (settled.request_id, settled.recorded_at) == (asked.request_id, asked.recorded_at)
        assert settled.decided_at > asked.decided_at
        assert settled.ledger_seq == 4
        assert isinstance(settled.answer, IntentAnswer)
        assert settled.answer.funded

    run(scenario)


def test_a_declined_payment_refuses_the_command_that_asked_for_it() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE, FUND)
        declined = rail_answer(world.effects()[-1], RailAnswerKind.DECLINED)
        await world.decide(a_command(declined, number=4))

        outcome = world.outcomes(FUND)[-1]
        assert outcome.status is OutcomeStatus.REFUSED
        assert outcome.refusal is not None
        assert outcome.refusal.code == "payment_declined"
        world.assert_whole()

    run(scenario)


def test_a_failed_predicate_asks_the_rail_to_let_the_hold_go() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        create = a_command(create_intent(predicate=NEVER), number=2)
        await world.decide(PROVISION, create, FUND)
        await world.decide(answer_of(world, 4))
        await world.decide(a_command(submit_evidence(now=world.clock.now()), number=5), CONFIRM)
        await world.decide(answer_of(world, 7))

        assert world.effects()[-1].action is RailAction.CANCEL
        assert world.events()[-1] == "refunded"
        world.assert_whole()

    run(scenario)


def test_bodies_lie_beside_the_ledger_under_their_intent() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await with_evidence(world)
        keys = [record.key for record in world.kafka.read_all(EVIDENCE)]

        intent_id = CREATE.intent_id or ""
        assert keys == [
            f"{CREATE.tenant_id}/{intent_id}/intent".encode(),
            f"{CREATE.tenant_id}/{intent_id}/evidence".encode(),
        ]

    run(scenario)


def test_recorded_at_is_the_logs_time_and_never_falls() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION)
        provisioned_at = world.entries()[0].recorded_at
        partition = next(p for p in range(4) if world.kafka.partition(COMMANDS, p).high_watermark)
        stamped = next(world.kafka.read(COMMANDS, partition)).timestamp
        world.clock.advance(stamped - provisioned_at)
        world.clock.instant = world.clock.instant.replace(year=2025)
        await world.decide(CREATE)

        assert provisioned_at == stamped
        assert world.entries()[1].recorded_at == provisioned_at

    run(scenario)

"""Confirm, disputes and what the rail's answers make of them: each of the ways to a final state."""

from collections.abc import Callable
from typing import Any

import pytest

from schemas.ids import CommandId, case_id_of
from schemas.messages.commands import (
    CommandBody,
    ConfirmSettlement,
    FundIntent,
    OpenDispute,
    ResolveDispute,
    WithdrawDispute,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.shared import (
    Custody,
    DisputeOutcome,
    HoldStatus,
    IntentStatus,
    RailAction,
    RailAnswerKind,
    RefundReason,
)
from tests.support.builders import ALWAYS, AMOUNT, IS_PAID, NEVER, a_command, rail_answer
from tests.support.domain_world import (
    World,
    disputed,
    evidenced,
    funded,
    opened,
    provisioned,
    settled,
    settling,
)

OPEN = OpenDispute(reason_code="not_delivered")
WITHDRAW = WithdrawDispute(reason_code="mistake")


def code_of(outcome: Outcome) -> str | None:
    return outcome.refusal.code if outcome.refusal else None


def resolve(outcome: DisputeOutcome, **changes: Any) -> ResolveDispute:
    return ResolveDispute(outcome=outcome, reason_code="judged", **changes)


RELEASE = resolve(DisputeOutcome.RELEASE)
REFUND = resolve(DisputeOutcome.REFUND)
SPLIT = resolve(DisputeOutcome.RESOLVED_SPLIT, payee_minor=5_000, principal_minor=AMOUNT - 5_000)
ESCALATE = resolve(
    DisputeOutcome.ESCALATED_EXTERNAL, custody=Custody.CAPTURE, external_ref="court-7"
)
LET_GO = resolve(DisputeOutcome.ESCALATED_EXTERNAL, custody=Custody.CANCEL, external_ref="court-7")


@pytest.mark.parametrize(
    ("predicate", "action", "status", "reason"),
    [
        (ALWAYS, RailAction.CAPTURE, IntentStatus.RELEASED, None),
        (NEVER, RailAction.CANCEL, IntentStatus.REFUNDED, RefundReason.PREDICATE_FAILED),
        (IS_PAID, RailAction.CANCEL, IntentStatus.REFUNDED, RefundReason.PREDICATE_FAILED),
    ],
)
def test_confirm_executes_the_stored_evaluation(
    predicate: bytes, action: RailAction, status: IntentStatus, reason: RefundReason | None
) -> None:
    world = evidenced(predicate=predicate)

    asked = world.do(ConfirmSettlement())
    world.do(rail_answer(world.effect))

    state = world.state()
    assert world.effect.action is action
    assert (state.status, state.reason) == (status, reason)
    assert state.released_minor + state.refunded_minor == AMOUNT
    assert world.outcomes[asked.command_id].status is OutcomeStatus.DONE


def test_a_final_state_is_entered_by_the_rails_answer_only() -> None:
    world = settling()

    assert world.state().status is IntentStatus.EVIDENCE_SUBMITTED
    assert world.state().hold.status is HoldStatus.CAPTURE_REQUESTED
    assert world.state().held_minor == AMOUNT


@pytest.mark.parametrize(
    ("world_of", "code"),
    [
        (provisioned, "intent_not_found"),
        (opened, "no_evidence"),
        (funded, "no_evidence"),
        (settled, "intent_final"),
        (disputed, "intent_frozen"),
        (settling, "settlement_in_progress"),
    ],
)
def test_confirm_is_refused_by_the_state_it_finds(world_of: Callable[[], World], code: str) -> None:
    assert code_of(world_of().do(ConfirmSettlement())) == code


def test_confirm_of_an_intent_whose_fund_is_pending_has_no_evidence() -> None:
    world = opened()
    world.do(FundIntent())

    assert code_of(world.do(ConfirmSettlement())) == "no_evidence"


def test_confirm_of_a_final_intent_names_the_final_state() -> None:
    refusal = settled().do(ConfirmSettlement()).refusal

    assert refusal is not None
    assert '"state":"released"' in (refusal.details_json or "")


def test_a_declined_capture_leaves_the_state_and_the_next_confirm_is_attempt_2() -> None:
    world = settling()
    asked = world.entries[-1].command_id
    world.do(rail_answer(world.effect, RailAnswerKind.DECLINED))

    again = world.do(ConfirmSettlement())

    assert code_of(world.outcomes[asked]) == "payment_declined"
    assert world.state().status is IntentStatus.EVIDENCE_SUBMITTED
    assert again.status is OutcomeStatus.ACCEPTED
    assert (world.effect.action, world.effect.attempt) == (RailAction.CAPTURE, 2)


@pytest.mark.parametrize("world_of", [funded, evidenced])
def test_a_live_intent_can_be_disputed_and_the_case_follows_from_the_command(
    world_of: Callable[[], World],
) -> None:
    world = world_of()
    command = a_command(OPEN, number=500)

    outcome = world.send(command)

    assert outcome.status is OutcomeStatus.DONE
    assert world.state().status is IntentStatus.DISPUTED
    dispute = world.state().dispute
    assert dispute is not None
    assert dispute.case_id == case_id_of(CommandId(command.command_id))


@pytest.mark.parametrize(
    ("world_of", "body", "code"),
    [
        (provisioned, OPEN, "intent_not_found"),
        (provisioned, WITHDRAW, "intent_not_found"),
        (provisioned, REFUND, "intent_not_found"),
        (opened, OPEN, "not_disputable"),
        (disputed, OPEN, "not_disputable"),
        (settled, OPEN, "not_disputable"),
        (settling, OPEN, "settlement_in_progress"),
        (evidenced, WITHDRAW, "not_disputed"),
        (evidenced, REFUND, "not_disputed"),
        (settled, REFUND, "not_disputed"),
    ],
)
def test_a_dispute_command_is_refused_by_the_state_it_finds(
    world_of: Callable[[], World], body: CommandBody, code: str
) -> None:
    assert code_of(world_of().do(body)) == code


def test_a_pending_fund_can_not_be_disputed() -> None:
    world = opened()
    world.do(FundIntent())

    assert code_of(world.do(OPEN)) == "not_disputable"


@pytest.mark.parametrize("body", [WITHDRAW, REFUND, RELEASE])
def test_while_a_resolution_is_carried_out_nothing_else_is_decided(body: CommandBody) -> None:
    world = disputed()
    world.do(RELEASE)

    assert code_of(world.do(body)) == "settlement_in_progress"


@pytest.mark.parametrize("world_of", [funded, evidenced])
def test_a_withdrawal_leads_back_to_the_state_before(world_of: Callable[[], World]) -> None:
    world = world_of()
    before = world.state().status
    world.do(OPEN)

    outcome = world.do(WITHDRAW)

    assert outcome.status is OutcomeStatus.DONE
    assert world.state().status is before
    assert world.state().dispute is None


@pytest.mark.parametrize(
    ("body", "asked", "status", "booked"),
    [
        (RELEASE, (RailAction.CAPTURE, AMOUNT), IntentStatus.RELEASED, (AMOUNT, 0, 0)),
        (REFUND, (RailAction.CANCEL, AMOUNT), IntentStatus.REFUNDED, (0, AMOUNT, 0)),
        (
            SPLIT,
            (RailAction.CAPTURE, 5_000),
            IntentStatus.RESOLVED_SPLIT,
            (5_000, AMOUNT - 5_000, 0),
        ),
        (ESCALATE, (RailAction.CAPTURE, AMOUNT), IntentStatus.ESCALATED_EXTERNAL, (0, 0, AMOUNT)),
        (LET_GO, (RailAction.CANCEL, AMOUNT), IntentStatus.ESCALATED_EXTERNAL, (0, AMOUNT, 0)),
    ],
)
def test_a_resolution_is_carried_out_by_the_rail_and_books_what_it_says(
    body: ResolveDispute,
    asked: tuple[RailAction, int],
    status: IntentStatus,
    booked: tuple[int, int, int],
) -> None:
    world = disputed()
    outcome = world.do(body)
    world.do(rail_answer(world.effect))

    state = world.state()
    assert (world.effect.action, world.effect.amount_minor) == asked
    assert state.status is status
    assert (state.released_minor, state.refunded_minor, state.custody_minor) == booked
    assert state.held_minor == 0
    assert outcome.status is OutcomeStatus.ACCEPTED
    assert world.outcomes[outcome.command_id].status is OutcomeStatus.DONE


def test_a_refunded_dispute_says_so() -> None:
    world = disputed()
    world.do(REFUND)
    world.do(rail_answer(world.effect))

    assert world.state().reason is RefundReason.DISPUTE


@pytest.mark.parametrize(
    ("payee", "principal"),
    [(0, AMOUNT), (AMOUNT, 0), (5_000, 5_000), (None, AMOUNT), (-1, AMOUNT + 1), (None, None)],
)
def test_a_split_has_two_parts_above_zero_that_add_up(
    payee: int | None, principal: int | None
) -> None:
    body = resolve(DisputeOutcome.RESOLVED_SPLIT, payee_minor=payee, principal_minor=principal)

    assert code_of(disputed().do(body)) == "split_invalid"


def test_a_split_with_another_outcome_is_refused_rather_than_ignored() -> None:
    body = resolve(DisputeOutcome.RELEASE, payee_minor=1, principal_minor=AMOUNT - 1)

    assert code_of(disputed().do(body)) == "split_invalid"


def test_a_part_that_the_rail_would_round_is_refused() -> None:
    world = disputed(currency="kwd")

    body = resolve(DisputeOutcome.RESOLVED_SPLIT, payee_minor=5_001, principal_minor=AMOUNT - 5_001)

    assert code_of(world.do(body)) == "split_invalid"


@pytest.mark.parametrize("changes", [{"custody": Custody.CAPTURE}, {"external_ref": "court-7"}, {}])
def test_an_escalation_needs_custody_and_a_reference(changes: dict[str, Any]) -> None:
    body = resolve(DisputeOutcome.ESCALATED_EXTERNAL, **changes)

    assert code_of(disputed().do(body)) == "custody_required"


def test_a_declined_resolution_leaves_the_dispute_and_may_be_decided_again() -> None:
    world = disputed()
    asked = world.do(SPLIT)
    world.do(rail_answer(world.effect, RailAnswerKind.DECLINED))

    again = world.do(REFUND)
    world.do(rail_answer(world.effect))

    assert code_of(world.outcomes[asked.command_id]) == "payment_declined"
    assert again.status is OutcomeStatus.ACCEPTED
    assert world.state().status is IntentStatus.REFUNDED

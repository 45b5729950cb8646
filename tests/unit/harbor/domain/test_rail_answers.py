"""Answers that fit, do not fit, come twice or too late, and looks that show more than any answer did."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.messages.commands import ConfirmSettlement, ExpireIntent, FundIntent, ResolveDispute
from schemas.messages.effects import Effect
from schemas.messages.events import (
    RailStatusObserved,
    Refunded,
    SettlementRailFailed,
    SettlementRailRequested,
)
from schemas.messages.outcomes import OutcomeStatus
from schemas.messages.shared import (
    DisputeOutcome,
    HoldStatus,
    IntentStatus,
    RailAction,
    RailAnswerKind,
    RefundReason,
    SettlementCause,
    SettlementMode,
)
from tests.support.builders import (
    AMOUNT,
    DEADLINE,
    NEVER,
    T0,
    rail_answer,
    rail_observation,
)
from tests.support.domain_world import World, disputed, evidenced, funded, opened, settled, settling

GONE = {"is_gone": True, "rail_status": "canceled"}


def pending() -> World:
    world = opened()
    world.do(FundIntent())
    return world


def never_funded(*, declined: bool = True) -> tuple[World, Effect]:
    """Closed at its deadline; with the effect to which the rail had said no."""
    world = pending()
    effect = world.effect
    if declined:
        world.do(rail_answer(effect, RailAnswerKind.DECLINED))
    world.now = DEADLINE + timedelta(seconds=60)
    world.do(ExpireIntent(due_at=world.now))
    assert world.state().reason is RefundReason.NEVER_FUNDED
    return world, effect


def last_request(world: World) -> SettlementRailRequested:
    event = world.entries[-1].event
    assert isinstance(event, SettlementRailRequested)
    return event


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": AMOUNT - 1},
        {"currency": "eur"},
        {"action": RailAction.CANCEL},
        {"rail_object": None},
        {"hold_expires_at": None},
        {"settlement_mode": SettlementMode.STRIPE_CONNECT},
        {"settlement_config_version": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_hold_that_is_not_what_was_asked_is_drift_and_stays_outstanding(
    changes: dict[str, Any],
) -> None:
    world = pending()

    world.do(rail_answer(world.effect, now=T0, **changes))

    drift = world.entries[-1].event
    assert isinstance(drift, RailStatusObserved)
    assert drift.is_drift
    assert world.state().status is IntentStatus.OPEN
    assert world.state().hold.effect_id == world.effect.effect_id


@pytest.mark.parametrize(
    "changes", [{"amount_minor": AMOUNT - 1}, {"currency": "eur"}, {"rail_object": "pi_other"}]
)
def test_a_capture_of_other_money_is_drift_and_never_a_final_state(changes: dict[str, Any]) -> None:
    world = settling()

    world.do(rail_answer(world.effect, **changes))

    assert not world.state().is_final
    assert world.state().hold.status is HoldStatus.CAPTURE_REQUESTED
    assert not world.settlements[world.entries[-2].command_id]


def test_the_same_drift_is_recorded_once() -> None:
    world = settling()
    world.do(rail_answer(world.effect, amount_minor=1))
    before = len(world.entries)

    outcome = world.do(rail_answer(world.effect, amount_minor=1))

    assert outcome.status is OutcomeStatus.DONE
    assert len(world.entries) == before


@pytest.mark.parametrize("kind", list(RailAnswerKind))
def test_an_answer_that_comes_again_changes_nothing(kind: RailAnswerKind) -> None:
    world = settling()
    effect = world.effect
    world.do(rail_answer(effect, kind))
    before, status = len(world.entries), world.state().status

    outcome = world.do(rail_answer(effect, kind))

    assert outcome.status is OutcomeStatus.DONE
    assert (len(world.entries), world.state().status) == (before, status)


def test_the_first_holds_answer_again_after_the_end_asks_for_nothing() -> None:
    world = opened()
    world.do(FundIntent())
    hold = world.effect
    world.do(rail_answer(hold, now=T0))
    world.now = world.state().evidence_due_at + timedelta(seconds=60)
    world.do(ExpireIntent(due_at=world.now))
    world.do(rail_answer(world.effect))
    before = len(world.entries)

    world.do(rail_answer(hold, now=T0))

    assert world.state().is_final
    assert len(world.entries) == before


@pytest.mark.parametrize("world_of", [settling, evidenced, disputed])
def test_a_hold_that_a_look_shows_as_gone_is_lost_from_any_live_state(world_of: Any) -> None:
    world = world_of()

    world.do(rail_observation(**GONE))

    state = world.state()
    assert (state.status, state.reason) == (IntentStatus.REFUNDED, RefundReason.HOLD_LOST)
    assert state.refunded_minor == AMOUNT
    assert not state.hold.is_outstanding
    assert world.settlements == dict.fromkeys(world.accepted, 1)


def test_a_gone_answer_to_a_capture_ends_as_hold_lost_and_answers_who_asked() -> None:
    world = settling()
    asked = world.entries[-1].command_id

    world.do(rail_answer(world.effect, RailAnswerKind.GONE))

    assert world.state().reason is RefundReason.HOLD_LOST
    assert world.outcomes[asked].status is OutcomeStatus.DONE


def test_what_our_own_cancel_does_is_no_loss() -> None:
    world = settling(predicate=NEVER)

    world.do(rail_observation(**GONE))
    assert world.state().status is IntentStatus.EVIDENCE_SUBMITTED
    world.do(rail_answer(world.effect))

    assert world.state().reason is RefundReason.PREDICATE_FAILED


@pytest.mark.parametrize("changes", [{"rail_object": "pi_other"}, {"is_gone": False}])
def test_a_look_at_another_object_or_at_a_living_hold_ends_nothing(changes: dict[str, Any]) -> None:
    world = evidenced()

    world.do(rail_observation(**(GONE | changes)))

    assert not world.state().is_final
    observed = world.entries[-1].event
    assert isinstance(observed, RailStatusObserved)
    assert observed.is_drift is ("rail_object" in changes)


def test_a_look_that_shows_nothing_new_makes_no_entry() -> None:
    world = funded()
    world.do(rail_observation())
    before = len(world.entries)

    world.do(rail_observation(checked_at=T0 + timedelta(hours=1)))

    assert len(world.entries) == before


def test_a_hold_that_was_never_placed_can_not_be_lost_and_may_be_asked_for_again() -> None:
    world = pending()

    world.do(rail_answer(world.effect, RailAnswerKind.GONE))

    failed = world.entries[-1].event
    assert isinstance(failed, SettlementRailFailed)
    assert failed.is_gone
    assert world.do(FundIntent()).status is OutcomeStatus.ACCEPTED


def test_a_hold_after_the_end_is_recorded_and_let_go_once() -> None:
    world, effect = never_funded()

    world.do(rail_answer(effect, now=world.now))
    compensation = last_request(world)
    world.do(rail_answer(effect, now=world.now))
    world.do(rail_answer(world.effect))
    world.do(rail_answer(effect, now=world.now))

    assert (compensation.action, compensation.cause) == (
        RailAction.CANCEL,
        SettlementCause.COMPENSATION,
    )
    assert compensation.rail_object == world.effect.rail_object is not None
    assert len(world.effects) == 2
    assert world.state().status is IntentStatus.REFUNDED
    assert world.state().placed_minor == 0
    assert world.state().hold.late is None


def test_a_hold_after_a_refusal_is_let_go_when_the_intent_is_closed() -> None:
    world = pending()
    world.do(rail_answer(world.effect, RailAnswerKind.DECLINED))
    world.do(rail_answer(world.effect, now=T0))
    assert world.state().status is IntentStatus.OPEN

    world.now = DEADLINE + timedelta(seconds=60)
    world.do(ExpireIntent(due_at=world.now))

    closed, compensation = world.last_events(2)
    assert isinstance(closed, Refunded)
    assert isinstance(compensation, SettlementRailRequested)
    assert compensation.action is RailAction.CANCEL


def test_a_hold_after_a_refusal_counts_when_the_next_attempt_finds_it() -> None:
    world = pending()
    world.do(rail_answer(world.effect, RailAnswerKind.DECLINED))
    world.do(rail_answer(world.effect, now=T0))

    world.do(FundIntent())
    world.do(rail_answer(world.effect, now=T0))

    assert world.state().status is IntentStatus.FUNDED
    assert world.state().hold.late is None


def test_a_hold_that_only_a_look_shows_after_the_end_is_let_go() -> None:
    world, _ = never_funded()

    world.do(rail_observation())

    assert last_request(world).cause is SettlementCause.COMPENSATION
    assert last_request(world).action is RailAction.CANCEL


def test_a_capture_after_the_hold_was_lost_is_refunded() -> None:
    world = settling()
    capture = world.effect
    world.do(rail_observation(**GONE))

    world.do(rail_answer(capture))

    assert last_request(world).action is RailAction.REFUND
    assert last_request(world).amount_minor == AMOUNT
    assert world.state().reason is RefundReason.HOLD_LOST
    assert world.state().released_minor == 0


def test_a_late_capture_beside_an_outstanding_cancel_is_refunded_after_the_cancels_answer() -> None:
    world = disputed()
    world.do(ResolveDispute(outcome=DisputeOutcome.RELEASE, reason_code="judged"))
    capture = world.effect
    world.do(rail_answer(capture, RailAnswerKind.DECLINED))
    world.do(ResolveDispute(outcome=DisputeOutcome.REFUND, reason_code="judged"))
    cancel = world.effect

    world.do(rail_answer(capture))
    assert world.state().hold.effect_id == cancel.effect_id
    world.do(rail_answer(cancel))

    assert world.state().status is IntentStatus.REFUNDED
    assert last_request(world).action is RailAction.REFUND


def test_a_cancel_that_meets_captured_money_refunds_it() -> None:
    world = settling(predicate=NEVER)

    world.do(rail_answer(world.effect, RailAnswerKind.GONE, rail_status="succeeded"))

    assert world.state().reason is RefundReason.HOLD_LOST
    assert last_request(world).action is RailAction.REFUND


def test_a_capture_that_was_counted_is_never_refunded() -> None:
    world = settling()
    first = world.effect
    world.do(rail_answer(first, RailAnswerKind.DECLINED))
    world.do(ConfirmSettlement())
    world.do(rail_answer(world.effect))

    world.do(rail_answer(first))
    world.do(rail_observation(rail_status="succeeded"))

    assert world.state().status is IntentStatus.RELEASED
    assert not world.state().hold.is_outstanding
    assert len(world.effects) == 3


def test_a_late_cancel_means_that_the_hold_is_gone() -> None:
    world = settling(predicate=NEVER)
    cancel = world.effect
    world.do(rail_answer(cancel, RailAnswerKind.DECLINED))

    world.do(rail_answer(cancel))

    assert world.state().reason is RefundReason.HOLD_LOST


def test_a_refused_compensation_is_asked_again_when_the_wait_is_over() -> None:
    world, effect = never_funded()
    world.do(rail_answer(effect, now=world.now))
    world.do(rail_answer(world.effect, RailAnswerKind.DECLINED))

    too_early = world.do(ExpireIntent(due_at=world.now))
    world.now += timedelta(minutes=1)
    world.do(ExpireIntent(due_at=world.now))

    assert too_early.refusal is not None
    assert too_early.refusal.code == "nothing_due"
    assert (world.effect.action, world.effect.attempt) == (RailAction.CANCEL, 2)


def test_a_compensation_for_which_nothing_is_left_is_over() -> None:
    world, effect = never_funded()
    world.do(rail_answer(effect, now=world.now))

    world.do(rail_answer(world.effect, RailAnswerKind.GONE))

    assert world.state().hold.late is None
    assert not world.state().hold.is_outstanding


def test_a_success_at_another_object_is_drift_and_moves_nothing() -> None:
    world = settled()

    world.do(rail_answer(world.effects[0], now=T0, effect_id="other-9", rail_object="pi_other"))

    observed = world.entries[-1].event
    assert isinstance(observed, RailStatusObserved)
    assert observed.is_drift
    assert len(world.effects) == 2

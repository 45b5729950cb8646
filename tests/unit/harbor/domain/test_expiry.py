"""What time brings, and when: closing, refunding, settling, warning and asking again."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.due import REISSUE_MAX, Due, DueKind, next_due, settles_at
from schemas.messages.commands import (
    ConfirmSettlement,
    ExpireIntent,
    FundIntent,
    OpenDispute,
    RaiseHoldExpiring,
    ReissueEffect,
    WithdrawDispute,
)
from schemas.messages.events import HoldExpiring, SettlementRailRequested
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.shared import (
    ActorKind,
    IntentStatus,
    RailAction,
    RailAnswerKind,
    RefundReason,
    SettlementCause,
)
from tests.support.builders import ALWAYS, AMOUNT, DEADLINE, NEVER, T0, rail_answer
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

MINUTE = timedelta(minutes=1)
HOLD_END = T0 + timedelta(days=7)


def code_of(outcome: Outcome) -> str | None:
    return outcome.refusal.code if outcome.refusal else None


def expire(world: World) -> Outcome:
    return world.do(ExpireIntent(due_at=world.now))


def at_due(world: World) -> World:
    due = next_due(world.state())
    assert due is not None
    world.now = due.at
    return world


def test_an_open_intent_is_closed_a_minute_after_its_deadline_without_any_rail() -> None:
    world = at_due(opened())

    outcome = expire(world)

    assert world.now == DEADLINE + MINUTE
    assert outcome.status is OutcomeStatus.DONE
    assert world.state().reason is RefundReason.NEVER_FUNDED
    assert world.state().refunded_minor == 0
    assert not world.effects


def test_a_funded_intent_without_evidence_is_cancelled() -> None:
    world = at_due(funded())

    outcome = expire(world)
    world.do(rail_answer(world.effect))

    assert outcome.status is OutcomeStatus.ACCEPTED
    assert world.effect.action is RailAction.CANCEL
    assert world.state().reason is RefundReason.DEADLINE_PASSED
    assert world.outcomes[outcome.command_id].status is OutcomeStatus.DONE


def test_a_hold_that_ends_before_the_deadline_is_the_reason() -> None:
    world = at_due(funded(deadline=T0 + timedelta(days=30)))

    expire(world)
    world.do(rail_answer(world.effect))

    assert world.now == HOLD_END - timedelta(hours=24) + MINUTE
    assert world.state().reason is RefundReason.HOLD_EXPIRING


@pytest.mark.parametrize(
    ("predicate", "action", "cause"),
    [
        (ALWAYS, RailAction.CAPTURE, SettlementCause.PREDICATE_PASSED),
        (NEVER, RailAction.CANCEL, SettlementCause.PREDICATE_FAILED),
    ],
)
def test_time_executes_the_stored_evaluation_and_the_system_is_the_actor(
    predicate: bytes, action: RailAction, cause: SettlementCause
) -> None:
    world = at_due(evidenced(predicate=predicate))

    expire(world)

    requested = world.entries[-1].event
    assert isinstance(requested, SettlementRailRequested)
    assert (requested.action, requested.cause) == (action, cause)
    assert world.entries[-1].actor.kind is ActorKind.SYSTEM


def test_nothing_is_expired_before_its_time() -> None:
    for world in (opened(), funded(), evidenced()):
        at_due(world).now -= timedelta(microseconds=1)

        assert code_of(expire(world)) == "nothing_due"


def test_what_waits_for_the_rail_is_frozen_or_final_is_not_expired() -> None:
    end_of_time = T0 + timedelta(days=300)
    for world in (settling(), disputed(), settled()):
        world.now = end_of_time

        assert code_of(expire(world)) == "nothing_due"
    assert code_of(provisioned().do(ExpireIntent(due_at=T0))) == "intent_not_found"


def test_a_withdrawal_after_the_deadline_is_settled_at_the_next_tick() -> None:
    world = disputed()
    world.now = DEADLINE + timedelta(days=1)
    world.do(WithdrawDispute(reason_code="mistake"))

    assert expire(world).status is OutcomeStatus.ACCEPTED


def test_a_declined_capture_is_asked_again_ever_more_rarely() -> None:
    world = at_due(evidenced())
    waits = []
    for attempt in range(1, 9):
        asked_at = world.now
        expire(world)
        assert world.effect.attempt == attempt
        world.do(rail_answer(world.effect, RailAnswerKind.DECLINED))
        assert code_of(expire(world)) == "nothing_due"
        at_due(world)
        waits.append((world.now - asked_at) // MINUTE)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_deadline_at_the_end_of_time_stops_nothing() -> None:
    world = opened(deadline="9999-12-31T23:59:59.999999Z")

    assert code_of(expire(world)) == "nothing_due"
    assert next_due(world.state()) == Due(
        kind=DueKind.CLOSE, at=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    )


@pytest.mark.parametrize("hours", [72, 24, 6])
def test_a_disputed_hold_warns_once_at_each_threshold(hours: int) -> None:
    world = disputed()
    raised = []
    while (due := next_due(world.state())) is not None:
        world.now = due.at
        assert due.hours_left is not None
        assert world.do(RaiseHoldExpiring(hours_left=due.hours_left)).status is OutcomeStatus.DONE
        raised.append(due.hours_left)

    again = world.do(RaiseHoldExpiring(hours_left=hours))

    assert raised == [72, 24, 6]
    assert code_of(again) == "nothing_due"
    assert world.last_events(1) == [HoldExpiring(hours_left=6, expires_at=HOLD_END)]
    assert world.state().status is IntentStatus.DISPUTED


def test_a_dispute_opened_late_warns_with_the_closest_threshold_only() -> None:
    world = funded()
    world.now = HOLD_END - timedelta(hours=20)
    world.do(OpenDispute(reason_code="late"))

    assert code_of(world.do(RaiseHoldExpiring(hours_left=72))) == "nothing_due"
    assert code_of(world.do(RaiseHoldExpiring(hours_left=6))) == "nothing_due"
    assert world.do(RaiseHoldExpiring(hours_left=24)).status is OutcomeStatus.DONE
    assert next_due(world.state()) == Due(
        kind=DueKind.WARN, at=HOLD_END - timedelta(hours=6), hours_left=6
    )


def test_only_a_disputed_intent_warns() -> None:
    world = funded()
    world.now = HOLD_END

    assert code_of(world.do(RaiseHoldExpiring(hours_left=6))) == "nothing_due"
    assert code_of(provisioned().do(RaiseHoldExpiring(hours_left=6))) == "intent_not_found"


def test_an_outstanding_effect_is_issued_again_with_its_id_and_without_an_entry() -> None:
    world = opened()
    world.do(FundIntent())
    first, before = world.effect, len(world.entries)
    world.now += timedelta(seconds=30)

    outcome = world.do(ReissueEffect(effect_id=first.effect_id, issue=1))

    assert outcome.status is OutcomeStatus.DONE
    assert world.effect.effect_id == first.effect_id
    assert (world.effect.issue, world.effect.amount_minor) == (1, AMOUNT)
    assert len(world.entries) == before


def test_what_is_answered_unknown_or_not_due_is_not_issued_again() -> None:
    world = settling()
    answered, outstanding = world.effects[0].effect_id, world.effect.effect_id

    assert code_of(world.do(ReissueEffect(effect_id=answered, issue=1))) == "effect_not_outstanding"
    assert code_of(world.do(ReissueEffect(effect_id=outstanding, issue=1))) == "nothing_due"
    world.now += timedelta(seconds=29)
    assert code_of(world.do(ReissueEffect(effect_id=outstanding, issue=2))) == "nothing_due"
    missing = provisioned().do(ReissueEffect(effect_id=answered, issue=1))
    assert code_of(missing) == "intent_not_found"


def test_a_tick_whose_clock_is_ahead_of_the_log_does_not_keep_an_effect_from_being_issued_again() -> (
    None
):
    world = opened()
    world.do(FundIntent())
    ahead = world.now + timedelta(hours=1)

    # By its own clock the tick counts far more issues than the log's time allows; each asks for the next one.
    for seconds in (30, 60, 120):
        world.now += timedelta(seconds=seconds)
        due = next_due(world.state(), now=ahead + timedelta(seconds=seconds))
        assert due is not None
        world.do(ReissueEffect(effect_id=world.effect.effect_id, issue=due.issue or 0))

    assert [effect.issue for effect in world.effects] == [0, 1, 2, 3]
    assert len({effect.effect_id for effect in world.effects}) == 1


def test_issues_come_after_30_seconds_doubling_to_a_quarter_of_an_hour() -> None:
    world = opened()
    world.do(FundIntent())
    seen: list[int] = []
    state, at = world.state(), T0
    while len(seen) < 8:
        due = next_due(state, now=at)
        assert due is not None
        assert due.issue is not None
        if not seen or due.issue > len(seen):
            seen.append((due.at - T0).seconds)
        at += timedelta(seconds=1)

    steps = [later - earlier for earlier, later in zip([0, *seen], seen, strict=False)]
    assert steps == [30, 60, 120, 240, 480, 900, 900, 900]


def test_the_number_of_an_issue_follows_from_the_time_alone() -> None:
    world = opened()
    world.do(FundIntent())
    a_year = timedelta(days=365)

    now = next_due(world.state(), now=T0 + a_year)
    later = next_due(world.state(), now=T0 + a_year + REISSUE_MAX)

    assert now is not None
    assert later is not None
    assert (later.issue or 0) == (now.issue or 0) + 1
    assert T0 + a_year - REISSUE_MAX < now.at <= T0 + a_year


def test_settles_at_is_when_time_alone_settles_and_none_for_all_others() -> None:
    retried = evidenced()
    retried.do(ConfirmSettlement())
    retried.do(rail_answer(retried.effect, RailAnswerKind.DECLINED))

    assert settles_at(funded().state()) == DEADLINE + MINUTE
    assert settles_at(retried.state()) == DEADLINE + MINUTE
    assert [settles_at(world.state()) for world in (disputed(), settled())] == [None, None]

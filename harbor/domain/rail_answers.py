"""What a rail says, of an effect or when looked at, and what follows from it.

A final state is entered by the answer to the outstanding effect only, and only if object, amount and currency are
those that were asked for; any other answer is drift. There is one object per intent, for life, so that what was done
too late can be told from what was counted already.
"""

from typing import assert_never

from harbor.domain.decision import Decision, Facts, Refused, Settled
from harbor.domain.refusals import refusal, refuse
from harbor.domain.settlement import carried_out, compensate
from schemas.ids import EffectId, command_of_effect
from schemas.intent_fold import IntentState, LateSuccess, RailSight
from schemas.messages.commands import Command, RecordRailAnswer, RecordRailObservation
from schemas.messages.events import Event, RailStatusObserved, Refunded, SettlementRailFailed
from schemas.messages.outcomes import OutcomeStatus, Refusal
from schemas.messages.shared import (
    HoldStatus,
    RailAction,
    RailAnswerKind,
    RefundReason,
    SettlementCause,
)

# The words for money that is held, and for money that was captured (Stripe's).
_HELD_AT_RAIL = "requires_capture"
_CAPTURED_AT_RAIL = "succeeded"


def record_answer(command: Command, answer: RecordRailAnswer, facts: Facts) -> Decision | Refused:
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    if intent.hold.effect_id != answer.effect_id:
        return _not_outstanding(command, answer, intent)
    match answer.kind:
        case RailAnswerKind.SUCCEEDED if _is_as_asked(answer, intent, facts):
            return _succeeded(command, answer, intent)
        case RailAnswerKind.SUCCEEDED:
            # It stays outstanding: the tick asks again, reconciliation shows the drift.
            return Decision(events=_observed(_sight_of(answer, is_drift=True), intent))
        case RailAnswerKind.DECLINED:
            return _declined(answer, intent)
        case RailAnswerKind.GONE:
            return _gone(command, answer, intent)
        case _:
            assert_never(answer.kind)


def record_observation(
    command: Command, seen: RecordRailObservation, facts: Facts
) -> Decision | Refused:
    """A look at the rail: a changed status is recorded, a lost hold ends the intent.

    A success whose answer never came (the customer agreed after all) is found by a look, and treated as a late one.
    """
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    sight = RailSight(
        rail_object=seen.rail_object,
        status=seen.rail_status,
        amount_minor=seen.amount_minor,
        currency=seen.currency,
        is_drift=not _is_ours(seen, intent),
    )
    late = _late_at_sight(sight, intent)
    if late is not None:
        return _recorded(command, intent, late, sight)
    events = _observed(sight, intent)
    if not seen.is_gone or not _may_be_lost(intent, seen.rail_object):
        return Decision(events=events)
    return _lost(command, intent, before=events, late=intent.hold.late)


def _is_ours(seen: RecordRailObservation, intent: IntentState) -> bool:
    """An object that nobody told us of yet is ours if a hold was asked for at all: there is one per intent."""
    hold = intent.hold
    is_known = seen.rail_object == hold.rail_object
    is_awaited = hold.rail_object is None and hold.requests > 0
    is_amount = seen.amount_minor == intent.amount_minor and seen.currency == intent.currency
    return is_amount and (is_known or is_awaited)


def _is_as_asked(answer: RecordRailAnswer, intent: IntentState, facts: Facts) -> bool:
    hold = intent.hold
    assert facts.tenant is not None
    is_same_money = (
        answer.action is hold.action
        and answer.rail_object is not None
        and (hold.rail_object is None or answer.rail_object == hold.rail_object)
        and answer.amount_minor == hold.requested_minor
        and answer.currency == intent.currency
    )
    if answer.action is not RailAction.HOLD:
        return is_same_money
    # Where the money will go is fixed by the hold.
    return (
        is_same_money
        and answer.hold_expires_at is not None
        and answer.settlement_mode is facts.tenant.settlement_mode
        and answer.settlement_config_version == facts.tenant.settlement_config_version
    )


def _succeeded(command: Command, answer: RecordRailAnswer, intent: IntentState) -> Decision:
    events = carried_out(answer, intent)
    late = intent.hold.late
    is_still_late = (
        late is not None
        and late.action is RailAction.CAPTURE
        and answer.action is RailAction.CANCEL
    )
    # A cancel gives back nothing of what was captured behind our back.
    if late is not None and is_still_late:
        events = (*events, compensate(command, intent, late))
    return Decision(events=events, settled=_settled(intent, OutcomeStatus.DONE))


def _declined(answer: RecordRailAnswer, intent: IntentState) -> Decision:
    failed = _failed(answer, intent, is_gone=False)
    return Decision(
        events=(failed,),
        settled=_settled(intent, OutcomeStatus.REFUSED, _payment_declined(failed, intent)),
    )


def _gone(command: Command, answer: RecordRailAnswer, intent: IntentState) -> Decision:
    """There is nothing left at the rail to do it with: what was held is lost."""
    if not _may_be_lost(intent, intent.hold.rail_object, is_answer=True):
        failed = _failed(answer, intent, is_gone=True)
        return Decision(
            events=(failed,),
            settled=_settled(intent, OutcomeStatus.REFUSED, _payment_declined(failed, intent)),
        )
    late = intent.hold.late
    if answer.rail_status != _CAPTURED_AT_RAIL or late is not None:
        seen = _observed(_sight_of(answer, is_drift=False), intent)
        return _lost(command, intent, before=seen, late=late)
    # An earlier capture, whose answer never came, is why: it is given back whole.
    late = LateSuccess(
        effect_id=answer.effect_id,
        action=RailAction.CAPTURE,
        rail_object=intent.hold.rail_object or "",
        amount_minor=intent.held_minor,
    )
    return _lost(
        command, intent, before=(_told(late, _sight_of(answer, is_drift=True)),), late=late
    )


def _may_be_lost(intent: IntentState, rail_object: str | None, *, is_answer: bool = False) -> bool:
    """Money is held as far as we know, at this object. What our own cancel on its way does is no loss."""
    is_our_cancel = intent.hold.status is HoldStatus.CANCEL_REQUESTED and not is_answer
    is_known = rail_object is not None and rail_object == intent.hold.rail_object
    return is_known and intent.held_minor > 0 and not intent.is_final and not is_our_cancel


def _lost(
    command: Command, intent: IntentState, *, before: tuple[Event, ...], late: LateSuccess | None
) -> Decision:
    """From any state, disputed too. Whoever had asked for a settlement gets the final state as the answer."""
    refunded = Refunded(
        amount_minor=intent.held_minor, currency=intent.currency, reason=RefundReason.HOLD_LOST
    )
    owed = () if late is None else (compensate(command, intent, late),)
    settled = _settled(intent, OutcomeStatus.DONE) if intent.hold.is_outstanding else None
    return Decision(events=(*before, refunded, *owed), settled=settled)


def _not_outstanding(command: Command, answer: RecordRailAnswer, intent: IntentState) -> Decision:
    """Usually the same answer once more. Only what is new is recorded, and it is never a second outcome."""
    match answer.kind:
        case RailAnswerKind.DECLINED:
            return Decision()
        case RailAnswerKind.GONE:
            if not _may_be_lost(intent, answer.rail_object):
                return Decision()
            seen = _observed(_sight_of(answer, is_drift=True), intent)
            return _lost(command, intent, before=seen, late=intent.hold.late)
        case RailAnswerKind.SUCCEEDED:
            if answer.effect_id in intent.hold.carried_out:
                return Decision()
            return _late_success(command, answer, intent)
        case _:
            assert_never(answer.kind)


def _late_success(command: Command, answer: RecordRailAnswer, intent: IntentState) -> Decision:
    known = intent.hold.rail_object
    is_other_object = known is not None and answer.rail_object != known
    if answer.rail_object is None or is_other_object or answer.currency != intent.currency:
        return Decision(events=_observed(_sight_of(answer, is_drift=True), intent))
    late = LateSuccess(
        effect_id=answer.effect_id,
        action=answer.action,
        rail_object=answer.rail_object,
        amount_minor=answer.amount_minor,
    )
    if answer.action is RailAction.CANCEL and _may_be_lost(intent, answer.rail_object):
        told = _told(late, _sight_of(answer, is_drift=True))
        return _lost(command, intent, before=(told,), late=intent.hold.late)
    return _recorded(command, intent, late, _sight_of(answer, is_drift=True))


def _late_at_sight(sight: RailSight, intent: IntentState) -> LateSuccess | None:
    """Money where no request is outstanding that could explain it, and no entry counts it."""
    hold = intent.hold
    found = f"{sight.rail_object}/{sight.status}"
    is_explained = hold.is_outstanding or hold.late is not None or found in hold.carried_out
    if sight.is_drift or is_explained or not hold.requests:
        return None
    is_captured = intent.placed_minor > 0 and hold.status is not HoldStatus.CAPTURED
    if sight.status == _HELD_AT_RAIL and not intent.placed_minor:
        action = RailAction.HOLD
    elif sight.status == _CAPTURED_AT_RAIL and is_captured:
        action = RailAction.CAPTURE
    else:
        return None
    return LateSuccess(
        effect_id=found,
        action=action,
        rail_object=sight.rail_object,
        amount_minor=sight.amount_minor,
    )


def _recorded(
    command: Command, intent: IntentState, late: LateSuccess, sight: RailSight
) -> Decision:
    told = _told(late, sight)
    # Before the end a settlement of the same object takes it along; what is owed then is owed at the end.
    is_payable = intent.is_final and not intent.hold.is_outstanding
    if not is_payable or not _is_owed(late, intent):
        return Decision(events=(told,))
    return Decision(events=(told, compensate(command, intent, late)))


def _is_owed(late: LateSuccess, intent: IntentState) -> bool:
    match late.action:
        case RailAction.HOLD:
            return not intent.placed_minor
        case RailAction.CAPTURE:
            return intent.hold.status is not HoldStatus.CAPTURED
        case RailAction.CANCEL | RailAction.REFUND:
            return False
        case _:
            assert_never(late.action)


def _told(late: LateSuccess, sight: RailSight) -> RailStatusObserved:
    return RailStatusObserved(
        rail_object=late.rail_object,
        status=sight.status,
        amount_minor=late.amount_minor,
        currency=sight.currency,
        is_drift=True,
        late_effect_id=late.effect_id,
        late_action=late.action,
    )


def _sight_of(answer: RecordRailAnswer, *, is_drift: bool) -> RailSight:
    return RailSight(
        rail_object=answer.rail_object or "",
        status=answer.rail_status,
        amount_minor=answer.amount_minor,
        currency=answer.currency,
        is_drift=is_drift,
    )


def _observed(sight: RailSight, intent: IntentState) -> tuple[Event, ...]:
    """The entry for what is seen now, unless the last one says the same."""
    if sight == intent.rail_sight:
        return ()
    observed = RailStatusObserved(
        rail_object=sight.rail_object,
        status=sight.status,
        amount_minor=sight.amount_minor,
        currency=sight.currency,
        is_drift=sight.is_drift,
    )
    return (observed,)


def _failed(
    answer: RecordRailAnswer, intent: IntentState, *, is_gone: bool
) -> SettlementRailFailed:
    assert intent.hold.action is not None
    return SettlementRailFailed(
        effect_id=answer.effect_id,
        action=intent.hold.action,
        attempt=intent.hold.attempt,
        code=answer.code or ("gone" if is_gone else "declined"),
        is_gone=is_gone,
    )


def _payment_declined(failed: SettlementRailFailed, intent: IntentState) -> Refusal:
    return refusal("payment_declined", intent_id=intent.intent_id, rail_code=failed.code)


def _settled(
    intent: IntentState, status: OutcomeStatus, why: Refusal | None = None
) -> Settled | None:
    """The command that asked; for a compensation nobody did, and nobody waits."""
    if intent.hold.cause is SettlementCause.COMPENSATION:
        return None
    assert intent.hold.effect_id is not None
    asked_by = command_of_effect(EffectId(intent.hold.effect_id))
    return Settled(command_id=asked_by, status=status, refusal=why)

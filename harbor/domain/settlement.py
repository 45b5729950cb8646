"""What is asked of a rail, and what its answer means.

A final state is entered by the rail's answer only, and only if object, amount and currency are those that were asked
for; any other answer is drift. Nothing here evaluates a predicate: the verdict stands in the state.
"""

from typing import assert_never

from harbor.domain.decision import Decision, Facts, Refused, Settled
from harbor.domain.refusals import refusal, refuse
from schemas.ids import CommandId, EffectId, command_of_effect, effect_id_of
from schemas.intent_fold import Hold, IntentState, TenantState
from schemas.messages.commands import Command, RecordRailAnswer, RecordRailObservation
from schemas.messages.effects import Effect
from schemas.messages.events import (
    DisputeResolution,
    EscalatedExternal,
    Event,
    RailStatusObserved,
    Refunded,
    Released,
    ResolvedSplit,
    SettlementHoldPlaced,
    SettlementRailConfirmed,
    SettlementRailFailed,
    SettlementRailRequested,
)
from schemas.messages.outcomes import OutcomeStatus, Refusal
from schemas.messages.shared import (
    Custody,
    HoldStatus,
    RailAction,
    RailAnswerKind,
    RefundReason,
    SettlementCause,
)

# The status under which a rail shows money that was captured, and money that is held (Stripe's words).
CAPTURED_AT_RAIL = "succeeded"
HELD_AT_RAIL = "requires_capture"

_REFUND_REASONS = {
    SettlementCause.PREDICATE_FAILED: RefundReason.PREDICATE_FAILED,
    SettlementCause.DEADLINE_PASSED: RefundReason.DEADLINE_PASSED,
    SettlementCause.HOLD_EXPIRING: RefundReason.HOLD_EXPIRING,
    SettlementCause.DISPUTE_REFUND: RefundReason.DISPUTE,
}


def request(
    command: Command,
    intent: IntentState,
    *,
    action: RailAction,
    amount_minor: int,
    cause: SettlementCause,
    resolution: DisputeResolution | None = None,
) -> SettlementRailRequested:
    """The entry that asks a rail; the effect follows from it. The attempt counts per action."""
    hold = intent.hold
    return SettlementRailRequested(
        action=action,
        amount_minor=amount_minor,
        currency=intent.currency,
        attempt=hold.attempt + 1 if hold.action is action else 1,
        effect_id=effect_id_of(CommandId(command.command_id), 1),
        cause=cause,
        rail_object=hold.rail_object,
        resolution=resolution,
    )


def execute_evaluation(command: Command, intent: IntentState) -> SettlementRailRequested:
    """Capture if the stored evaluation passed, else let the hold go; unknown is not passed."""
    assert intent.evidence is not None
    is_passed = intent.evidence.passed is True
    return request(
        command,
        intent,
        action=RailAction.CAPTURE if is_passed else RailAction.CANCEL,
        amount_minor=intent.held_minor,
        cause=(SettlementCause.PREDICATE_PASSED if is_passed else SettlementCause.PREDICATE_FAILED),
    )


def effect_of(intent: IntentState, tenant: TenantState, *, issue: int) -> Effect:
    """The outstanding effect, as it was first asked or (`issue` > 0) asked again, with the same id."""
    hold = intent.hold
    assert hold.effect_id is not None
    assert hold.action is not None
    assert hold.requested_at is not None
    return Effect(
        effect_id=hold.effect_id,
        tenant_id=intent.tenant_id,
        intent_id=intent.intent_id,
        ledger_seq=hold.requested_seq,
        action=hold.action,
        amount_minor=hold.requested_minor,
        currency=intent.currency,
        attempt=hold.attempt,
        issue=issue,
        settlement_rail=intent.settlement_rail,
        settlement_mode=intent.settlement_mode or tenant.settlement_mode,
        settlement_config_version=(
            intent.settlement_config_version or tenant.settlement_config_version
        ),
        environment=tenant.environment,
        requested_at=hold.requested_at,
        rail_object=hold.rail_object,
    )


def record_answer(command: Command, answer: RecordRailAnswer, facts: Facts) -> Decision | Refused:
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    if intent.hold.effect_id != answer.effect_id:
        return Decision(events=_late(command, answer, intent))
    match answer.kind:
        case RailAnswerKind.SUCCEEDED if _is_as_asked(answer, intent):
            return _settled(intent, _succeeded(answer, intent), OutcomeStatus.DONE)
        case RailAnswerKind.SUCCEEDED:
            # It stays outstanding: the tick asks again, reconciliation shows the drift.
            return Decision(events=(_observed(answer, is_drift=True),))
        case RailAnswerKind.DECLINED:
            return _settled(
                intent, (_failed(answer, intent),), OutcomeStatus.REFUSED, _declined(answer, intent)
            )
        case RailAnswerKind.GONE:
            return _gone(command, answer, intent)
        case _:
            assert_never(answer.kind)


def record_observation(
    command: Command, seen: RecordRailObservation, facts: Facts
) -> Decision | Refused:
    """A look at the rail: a changed status is recorded, a lost hold ends the intent."""
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    is_ours = seen.rail_object == intent.hold.rail_object
    events: list[Event] = []
    if seen.rail_status != intent.rail_status or not is_ours:
        events.append(
            RailStatusObserved(
                rail_object=seen.rail_object,
                status=seen.rail_status,
                amount_minor=seen.amount_minor,
                currency=seen.currency,
                is_drift=not is_ours,
            )
        )
    # While an answer is outstanding it tells more than a look does.
    is_lost = seen.is_gone and is_ours and intent.held_minor and not intent.hold.is_outstanding
    if is_lost and not intent.is_final:
        events.append(_hold_lost(intent))
    return Decision(events=tuple(events))


def _settled(
    intent: IntentState,
    events: tuple[Event, ...],
    status: OutcomeStatus,
    why: Refusal | None = None,
) -> Decision:
    assert intent.hold.effect_id is not None
    asked_by = command_of_effect(EffectId(intent.hold.effect_id))
    return Decision(events=events, settled=Settled(command_id=asked_by, status=status, refusal=why))


def _is_as_asked(answer: RecordRailAnswer, intent: IntentState) -> bool:
    hold = intent.hold
    return (
        answer.action is hold.action
        and answer.rail_object is not None
        and (hold.rail_object is None or answer.rail_object == hold.rail_object)
        and answer.amount_minor == hold.requested_minor
        and answer.currency == intent.currency
        and (answer.action is not RailAction.HOLD or answer.hold_expires_at is not None)
    )


def _succeeded(answer: RecordRailAnswer, intent: IntentState) -> tuple[Event, ...]:
    assert answer.rail_object is not None
    if answer.action is RailAction.HOLD:
        assert answer.hold_expires_at is not None
        placed = SettlementHoldPlaced(
            effect_id=answer.effect_id,
            rail_object=answer.rail_object,
            amount_minor=answer.amount_minor,
            currency=answer.currency,
            expires_at=answer.hold_expires_at,
            settlement_config_version=answer.settlement_config_version,
            settlement_mode=answer.settlement_mode,
        )
        return (placed,)
    confirmed = SettlementRailConfirmed(
        effect_id=answer.effect_id,
        action=answer.action,
        rail_object=answer.rail_object,
        amount_minor=answer.amount_minor,
        currency=answer.currency,
    )
    final = _final_event(intent)
    return (confirmed,) if final is None else (confirmed, final)


def _final_event(intent: IntentState) -> Event | None:
    """What the carried-out request makes of the intent; None for a compensation, which changes nothing."""
    hold, held = intent.hold, intent.held_minor
    assert hold.cause is not None
    match hold.cause:
        case SettlementCause.PREDICATE_PASSED | SettlementCause.DISPUTE_RELEASE:
            return Released(amount_minor=held, currency=intent.currency)
        case SettlementCause.DISPUTE_SPLIT:
            assert hold.resolution is not None
            return ResolvedSplit(
                payee_minor=hold.resolution.payee_minor,
                principal_minor=hold.resolution.principal_minor,
                currency=intent.currency,
            )
        case SettlementCause.DISPUTE_ESCALATION:
            return _escalated(hold, held, intent.currency)
        case SettlementCause.COMPENSATION | SettlementCause.FUNDING:
            return None
        case _:
            reason = _REFUND_REASONS[hold.cause]
            return Refunded(amount_minor=held, currency=intent.currency, reason=reason)


def _escalated(hold: Hold, held: int, currency: str) -> EscalatedExternal:
    assert hold.resolution is not None
    assert hold.resolution.custody is not None
    is_captured = hold.resolution.custody is Custody.CAPTURE
    return EscalatedExternal(
        custody=hold.resolution.custody,
        custody_minor=held if is_captured else 0,
        refunded_minor=0 if is_captured else held,
        currency=currency,
        external_ref=hold.resolution.external_ref or "",
    )


def _failed(answer: RecordRailAnswer, intent: IntentState) -> SettlementRailFailed:
    assert intent.hold.action is not None
    return SettlementRailFailed(
        effect_id=answer.effect_id,
        action=intent.hold.action,
        attempt=intent.hold.attempt,
        code=answer.code or "declined",
    )


def _declined(answer: RecordRailAnswer, intent: IntentState) -> Refusal:
    return refusal(
        "payment_declined", intent_id=intent.intent_id, rail_code=answer.code or "declined"
    )


def _gone(command: Command, answer: RecordRailAnswer, intent: IntentState) -> Decision:
    """The rail can no longer do it. What was held is lost; what it shows as captured is given back."""
    if not intent.held_minor or intent.is_final:
        return _settled(
            intent,
            (_failed(answer, intent),),
            OutcomeStatus.REFUSED,
            _declined(answer, intent),
        )
    events: list[Event] = [_observed(answer, is_drift=False), _hold_lost(intent)]
    if answer.rail_status == CAPTURED_AT_RAIL:
        events.append(_compensation(command, answer, intent, RailAction.REFUND))
    return _settled(intent, tuple(events), OutcomeStatus.DONE)


def _hold_lost(intent: IntentState) -> Refunded:
    return Refunded(
        amount_minor=intent.held_minor, currency=intent.currency, reason=RefundReason.HOLD_LOST
    )


def _observed(answer: RecordRailAnswer, *, is_drift: bool) -> RailStatusObserved:
    return RailStatusObserved(
        rail_object=answer.rail_object or "",
        status=answer.rail_status,
        amount_minor=answer.amount_minor,
        currency=answer.currency,
        is_drift=is_drift,
    )


def _compensation(
    command: Command, answer: RecordRailAnswer, intent: IntentState, action: RailAction
) -> SettlementRailRequested:
    return SettlementRailRequested(
        action=action,
        amount_minor=answer.amount_minor,
        currency=intent.currency,
        attempt=1,
        effect_id=effect_id_of(CommandId(command.command_id), 1),
        cause=SettlementCause.COMPENSATION,
        rail_object=answer.rail_object,
    )


def _late(command: Command, answer: RecordRailAnswer, intent: IntentState) -> tuple[Event, ...]:
    """An answer to an effect that is no longer outstanding: usually the same answer once more.

    Only a success tells something new, where the state shows that it never counted: it is recorded, and on a final
    intent compensated, once. It is never a second outcome.
    """
    if answer.kind is not RailAnswerKind.SUCCEEDED or _is_known(answer, intent):
        return ()
    hold = intent.hold
    drift = _observed(answer, is_drift=True)
    is_compensable = intent.is_final and not hold.is_outstanding
    if not is_compensable or hold.cause is SettlementCause.COMPENSATION:
        return () if intent.rail_status == answer.rail_status else (drift,)
    if answer.action is RailAction.HOLD:
        return (drift, _compensation(command, answer, intent, RailAction.CANCEL))
    if answer.action is RailAction.CAPTURE:
        return (drift, _compensation(command, answer, intent, RailAction.REFUND))
    return ()


def _is_known(answer: RecordRailAnswer, intent: IntentState) -> bool:
    """Whether the state already contains what the answer says was done."""
    status = intent.hold.status
    match answer.action:
        case RailAction.HOLD:
            return intent.placed_minor > 0
        case RailAction.CAPTURE:
            return status is HoldStatus.CAPTURED
        case RailAction.CANCEL | RailAction.REFUND:
            return status is HoldStatus.CANCELLED or intent.is_final
        case _:
            assert_never(answer.action)

"""What time brings: the tick's commands, judged here by the state and the log's time, never by the tick."""

from harbor.domain.decision import Decision, Facts, Refused
from harbor.domain.refusals import refuse
from harbor.domain.settlement import (
    compensate,
    effect_of,
    execute_evaluation,
    request,
)
from schemas.due import DueKind, next_due
from schemas.intent_fold import IntentState
from schemas.messages.commands import Command, RaiseHoldExpiring, ReissueEffect
from schemas.messages.events import (
    Event,
    HoldExpiring,
    Refunded,
)
from schemas.messages.outcomes import OutcomeStatus
from schemas.messages.shared import (
    IntentStatus,
    RailAction,
    RefundReason,
    SettlementCause,
)


def expire(command: Command, facts: Facts) -> Decision | Refused:
    """Close, refund or settle what is due; anything not due yet is left alone."""
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    due = None if intent.hold.is_outstanding else next_due(intent)
    if due is None or due.kind is DueKind.WARN or facts.now < due.at:
        return refuse("nothing_due", intent_id=intent.intent_id)
    if due.kind is DueKind.CLOSE:
        return Decision(events=_closed(command, intent))
    if due.kind is DueKind.COMPENSATE:
        assert intent.hold.late is not None
        return Decision(events=(compensate(command, intent, intent.hold.late),))
    if due.kind is DueKind.SETTLE:
        requested = execute_evaluation(command, intent)
    else:
        requested = request(
            command,
            intent,
            action=RailAction.CANCEL,
            amount_minor=intent.held_minor,
            cause=_refund_cause(intent, facts),
        )
    return Decision(events=(requested,), status=OutcomeStatus.ACCEPTED)


def _closed(command: Command, intent: IntentState) -> tuple[Event, ...]:
    """Nothing was ever held; a hold that the rail placed after it had refused is let go."""
    closed = Refunded(amount_minor=0, currency=intent.currency, reason=RefundReason.NEVER_FUNDED)
    late = intent.hold.late
    return (closed,) if late is None else (closed, compensate(command, intent, late))


def _refund_cause(intent: IntentState, facts: Facts) -> SettlementCause:
    is_past_deadline = facts.now > intent.deadline
    return SettlementCause.DEADLINE_PASSED if is_past_deadline else SettlementCause.HOLD_EXPIRING


def reissue(command: Command, body: ReissueEffect, facts: Facts) -> Decision | Refused:
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    if intent.hold.effect_id != body.effect_id or facts.tenant is None:
        return refuse("effect_not_outstanding", effect_id=body.effect_id)
    if facts.tenant.rails_pause is not None:
        # It is outstanding and stays so: issued again, it would only wait twice.
        return refuse("rails_paused", effect_id=body.effect_id)
    due = next_due(intent, now=facts.now, reissue_first=facts.rails.reissue_first)
    if due is None or due.issue is None or due.at > facts.now:
        return refuse("nothing_due", effect_id=body.effect_id)
    # A tick whose clock is ahead of the log's counts further: refused, it would ask in vain for as long as it is.
    return Decision(reissued=effect_of(intent, facts.tenant, issue=min(body.issue, due.issue)))


def warn(command: Command, body: RaiseHoldExpiring, facts: Facts) -> Decision | Refused:
    """A disputed intent's hold ends soon; the same warning is raised once."""
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    due = next_due(intent)
    is_due = (
        intent.status is IntentStatus.DISPUTED
        and due is not None
        and due.kind is DueKind.WARN
        and due.hours_left == body.hours_left
        and facts.now >= due.at
    )
    if not is_due or intent.hold.expires_at is None:
        return refuse("nothing_due", intent_id=intent.intent_id)
    warned = HoldExpiring(hours_left=body.hours_left, expires_at=intent.hold.expires_at)
    return Decision(events=(warned,))

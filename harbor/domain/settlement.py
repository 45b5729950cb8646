"""What is asked of a rail, and what the intent becomes once it was done.

Nothing here evaluates a predicate: the verdict stands in the state. What a rail says: `harbor.domain.rail_answers`.
"""

from schemas.ids import CommandId, effect_id_of
from schemas.intent_fold import Hold, IntentState, LateSuccess, TenantState
from schemas.messages.commands import Command, RecordRailAnswer
from schemas.messages.effects import Effect
from schemas.messages.events import (
    DisputeResolution,
    EscalatedExternal,
    Event,
    Refunded,
    Released,
    ResolvedSplit,
    SettlementHoldPlaced,
    SettlementRailConfirmed,
    SettlementRailRequested,
)
from schemas.messages.shared import (
    Custody,
    RailAction,
    RefundReason,
    SettlementCause,
)
from schemas.replacing import replace

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
    """The entry that asks a rail; the effect follows from it. The attempt counts per action.

    The effect's number is that of the intent's requests: a command that is decided anew, after the rail had refused,
    must not repeat an id to which the rail would only repeat its refusal.
    """
    hold = intent.hold
    return SettlementRailRequested(
        action=action,
        amount_minor=amount_minor,
        currency=intent.currency,
        attempt=hold.attempt + 1 if hold.action is action else 1,
        effect_id=effect_id_of(CommandId(command.command_id), hold.requests + 1),
        cause=cause,
        rail_object=hold.rail_object,
        resolution=resolution,
    )


def compensate(command: Command, intent: IntentState, late: LateSuccess) -> SettlementRailRequested:
    """Give back what the rail did too late: cancel what it holds, refund what it captured. Books stay as they are."""
    action = RailAction.CANCEL if late.action is RailAction.HOLD else RailAction.REFUND
    asked = request(
        command,
        intent,
        action=action,
        amount_minor=late.amount_minor,
        cause=SettlementCause.COMPENSATION,
    )
    is_again = intent.hold.cause is SettlementCause.COMPENSATION
    return replace(asked, rail_object=late.rail_object, attempt=asked.attempt if is_again else 1)


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


def carried_out(answer: RecordRailAnswer, intent: IntentState) -> tuple[Event, ...]:
    """The entries of an answer that fits what was asked."""
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

"""Disputes: they freeze an intent, and end by withdrawal or by one of four outcomes, never by time."""

from harbor.domain.decision import Decision, Facts, Refused
from harbor.domain.refusals import refuse, settlement_in_progress
from harbor.domain.settlement import request
from schemas.errors import MoneyError
from schemas.ids import CommandId, case_id_of
from schemas.intent_fold import IntentState
from schemas.messages.commands import Command, OpenDispute, ResolveDispute, WithdrawDispute
from schemas.messages.events import Disputed, DisputeResolution, DisputeWithdrawn
from schemas.messages.outcomes import OutcomeStatus
from schemas.messages.shared import (
    Custody,
    DisputeOutcome,
    IntentStatus,
    RailAction,
    SettlementCause,
)
from schemas.money import Money, split

_DISPUTABLE = frozenset({IntentStatus.FUNDED, IntentStatus.EVIDENCE_SUBMITTED})


def open_dispute(command: Command, body: OpenDispute, facts: Facts) -> Decision | Refused:
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    # A capture on its way can't be called back, so a dispute has to wait for the rail's answer.
    if intent.status in _DISPUTABLE and intent.hold.is_outstanding:
        return settlement_in_progress(intent)
    if intent.status not in _DISPUTABLE:
        return refuse("not_disputable", intent_id=intent.intent_id, state=intent.status.value)
    case_id = case_id_of(CommandId(command.command_id))
    return Decision(events=(Disputed(case_id=case_id, reason_code=body.reason_code),))


def withdraw_dispute(command: Command, body: WithdrawDispute, facts: Facts) -> Decision | Refused:
    intent = _disputed(command, facts)
    if isinstance(intent, Refused):
        return intent
    assert intent.dispute is not None
    withdrawn = DisputeWithdrawn(case_id=intent.dispute.case_id, reason_code=body.reason_code)
    return Decision(events=(withdrawn,))


def resolve_dispute(command: Command, body: ResolveDispute, facts: Facts) -> Decision | Refused:
    """The decision is recorded with the request to the rail; the final state follows its answer."""
    intent = _disputed(command, facts)
    if isinstance(intent, Refused):
        return intent
    if not _is_split_right(body, intent):
        return refuse("split_invalid", held_cents=intent.held_minor)
    is_escalated = body.outcome is DisputeOutcome.ESCALATED_EXTERNAL
    if is_escalated != (body.custody is not None) or (is_escalated and not body.external_ref):
        return refuse("custody_required")
    action, amount_minor, cause = _asked_of_rail(body, intent)
    requested = request(
        command,
        intent,
        action=action,
        amount_minor=amount_minor,
        cause=cause,
        resolution=_resolution(body, intent),
    )
    return Decision(events=(requested,), status=OutcomeStatus.ACCEPTED)


def _disputed(command: Command, facts: Facts) -> IntentState | Refused:
    intent = facts.intent
    if intent is None:
        return refuse("intent_not_found", intent_id=command.intent_id)
    if intent.status is not IntentStatus.DISPUTED:
        return refuse("not_disputed", intent_id=intent.intent_id, state=intent.status.value)
    if intent.hold.is_outstanding:
        return settlement_in_progress(intent)
    return intent


def _is_split_right(body: ResolveDispute, intent: IntentState) -> bool:
    """Two parts > 0 that add up to the held amount; no parts with any other outcome."""
    payee, principal = body.payee_minor, body.principal_minor
    if body.outcome is not DisputeOutcome.RESOLVED_SPLIT:
        return payee is None and principal is None
    if payee is None or principal is None:
        return False
    held = Money(minor_units=intent.held_minor, currency=intent.currency)
    try:
        split(held, payee_cents=payee, principal_cents=principal)
    except MoneyError:
        return False
    return True


def _asked_of_rail(
    body: ResolveDispute, intent: IntentState
) -> tuple[RailAction, int, SettlementCause]:
    match body.outcome:
        case DisputeOutcome.RELEASE:
            return RailAction.CAPTURE, intent.held_minor, SettlementCause.DISPUTE_RELEASE
        case DisputeOutcome.REFUND:
            return RailAction.CANCEL, intent.held_minor, SettlementCause.DISPUTE_REFUND
        case DisputeOutcome.RESOLVED_SPLIT:
            assert body.payee_minor is not None
            # Captured once, and exactly the payee's part: the rail lets the rest go by itself.
            return RailAction.CAPTURE, body.payee_minor, SettlementCause.DISPUTE_SPLIT
        case DisputeOutcome.ESCALATED_EXTERNAL:
            is_captured = body.custody is Custody.CAPTURE
            action = RailAction.CAPTURE if is_captured else RailAction.CANCEL
            return action, intent.held_minor, SettlementCause.DISPUTE_ESCALATION


def _resolution(body: ResolveDispute, intent: IntentState) -> DisputeResolution:
    assert intent.dispute is not None
    held = intent.held_minor
    payee = {
        DisputeOutcome.RELEASE: held,
        DisputeOutcome.RESOLVED_SPLIT: body.payee_minor or 0,
    }.get(body.outcome, 0)
    is_escalated = body.outcome is DisputeOutcome.ESCALATED_EXTERNAL
    return DisputeResolution(
        case_id=intent.dispute.case_id,
        outcome=body.outcome,
        reason_code=body.reason_code,
        payee_minor=payee,
        principal_minor=0 if is_escalated else held - payee,
        custody=body.custody,
        external_ref=body.external_ref,
    )

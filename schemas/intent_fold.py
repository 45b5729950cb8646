"""The fold: `evolve` takes one entry into an intent's state. Harbor, views and `fsck` run this same function.

It never judges (that was `decide`, once) and never evaluates a predicate again; it only refuses what no history can
contain, with `FoldError`. At every entry: placed = held + released + refunded + custody, per intent and currency.
"""

from typing import assert_never

from schemas.errors import FoldError
from schemas.intent_state import (
    DisputeState,
    EvidenceState,
    Hold,
    IntentState,
    LateSuccess,
    PartyPin,
    Quarantine,
    RailSight,
    RailsPause,
    TenantState,
)
from schemas.messages.events import (
    Disputed,
    DisputeWithdrawn,
    EscalatedExternal,
    EvidenceBodyErased,
    EvidenceSubmitted,
    ExternalAwardRecorded,
    HoldExpiring,
    IntentCreated,
    LedgerEntry,
    PartyKeyRotated,
    PredicateEvaluated,
    RailReversalObserved,
    RailStatusObserved,
    Refunded,
    Released,
    ResolvedSplit,
    SettlementHoldPlaced,
    SettlementRailConfirmed,
    SettlementRailFailed,
    SettlementRailRequested,
    TenantProvisioned,
)
from schemas.messages.shared import (
    Custody,
    HoldStatus,
    IntentStatus,
    RailAction,
    RefundReason,
    SettlementCause,
)
from schemas.replacing import replace

__all__ = [
    "DisputeState",
    "EvidenceState",
    "Hold",
    "IntentState",
    "LateSuccess",
    "PartyPin",
    "Quarantine",
    "RailSight",
    "RailsPause",
    "TenantState",
    "evolve",
    "provision",
]


def provision(entry: LedgerEntry) -> TenantState:
    """Entry 1 → the tenant's state."""
    if not isinstance(entry.event, TenantProvisioned) or entry.seq != 1:
        raise _impossible(entry, "a ledger begins with tenant_provisioned")
    return TenantState(
        tenant_id=entry.tenant_id,
        environment=entry.event.environment,
        settlement_config_version=entry.event.settlement_config_version,
        settlement_mode=entry.event.settlement_mode,
        origin=entry.event.origin,
        provisioned_at=entry.recorded_at,
    )


def evolve(state: IntentState | None, entry: LedgerEntry) -> IntentState:
    """The state after `entry`, which must name the intent. Raises FoldError for what no history can contain."""
    if isinstance(entry.event, IntentCreated):
        if state is not None:
            raise _impossible(entry, "an intent is created once")
        return _created(entry, entry.event)
    if state is None:
        raise _impossible(entry, "an event before its intent was created")
    if entry.seq <= state.last_seq:
        raise _impossible(entry, "an entry folded twice or out of order")
    after = replace(_after(state, entry), last_seq=entry.seq, updated_at=entry.recorded_at)
    if not after.is_conserved:
        raise _impossible(entry, "placed is not held + released + refunded + custody")
    return after


def _impossible(entry: LedgerEntry, reason: str) -> FoldError:
    subject = f"{entry.tenant_id} seq {entry.seq} (intent {entry.intent_id})"
    return FoldError(subject=subject, reason=reason)


def _created(entry: LedgerEntry, event: IntentCreated) -> IntentState:
    if entry.intent_id is None:
        raise _impossible(entry, "intent_created without an intent id")
    return IntentState(
        tenant_id=entry.tenant_id,
        intent_id=entry.intent_id,
        status=IntentStatus.OPEN,
        signing_version=event.signing_version,
        principal_did=event.principal_did,
        principal_pubkey=event.principal_pubkey,
        payee_did=event.payee_did,
        payee_pubkey=event.payee_pubkey,
        amount_minor=event.amount_minor,
        currency=event.currency,
        settlement_rail=event.settlement_rail,
        deadline=event.deadline,
        budget_digest=event.budget_digest,
        evidence_schema_digest=event.evidence_schema_digest,
        predicate_digest=event.predicate_digest,
        created_at=entry.recorded_at,
        created_seq=entry.seq,
        updated_at=entry.recorded_at,
        last_seq=entry.seq,
        hold=Hold(currency=event.currency),
    )


def _after(state: IntentState, entry: LedgerEntry) -> IntentState:
    event = entry.event
    match event:
        case SettlementRailRequested():
            return replace(state, hold=_requested(state, event, entry))
        case SettlementHoldPlaced():
            return _hold_placed(state, event, entry)
        case SettlementRailConfirmed():
            return replace(state, hold=_confirmed(state.hold, event, entry))
        case SettlementRailFailed():
            return replace(state, hold=_failed(state, event, entry))
        case RailStatusObserved():
            return _observed(state, event)
        case HoldExpiring():
            return replace(state, hold_warnings=(*state.hold_warnings, event.hours_left))
        case EvidenceSubmitted() | PredicateEvaluated():
            return _with_evidence(state, event, entry)
        case Disputed() | DisputeWithdrawn():
            return _with_dispute(state, event, entry)
        case Released() | Refunded() | ResolvedSplit() | EscalatedExternal():
            return _final(state, event, entry)
        case RailReversalObserved() | ExternalAwardRecorded() | EvidenceBodyErased():
            return state
        case IntentCreated() | TenantProvisioned() | PartyKeyRotated():
            raise _impossible(entry, "not an event of an existing intent")
        case _:
            assert_never(event)


_REQUESTED = {
    RailAction.HOLD: HoldStatus.REQUESTED,
    RailAction.CAPTURE: HoldStatus.CAPTURE_REQUESTED,
    RailAction.CANCEL: HoldStatus.CANCEL_REQUESTED,
    # A refund follows a capture: until it is confirmed, the money is still captured.
    RailAction.REFUND: HoldStatus.CAPTURED,
}


def _requested(state: IntentState, event: SettlementRailRequested, entry: LedgerEntry) -> Hold:
    hold = state.hold
    if hold.is_outstanding:
        raise _impossible(entry, "two requests outstanding at the rail")
    if state.is_final is not (event.cause is SettlementCause.COMPENSATION):
        raise _impossible(entry, "a final intent asks for compensation, and no other does")
    if not state.is_final and (event.action is RailAction.HOLD) is bool(state.held_minor):
        raise _impossible(entry, "a hold is asked for once, before anything else")
    return replace(
        hold,
        status=_REQUESTED[event.action],
        effect_id=event.effect_id,
        action=event.action,
        attempt=event.attempt,
        cause=event.cause,
        requested_minor=event.amount_minor,
        requested_at=entry.recorded_at,
        requested_seq=entry.seq,
        resolution=event.resolution,
        rail_object=event.rail_object or hold.rail_object,
        requests=hold.requests + 1,
    )


def _observed(state: IntentState, event: RailStatusObserved) -> IntentState:
    sight = RailSight(
        rail_object=event.rail_object,
        status=event.status,
        amount_minor=event.amount_minor,
        currency=event.currency,
        is_drift=event.is_drift,
    )
    return replace(state, rail_sight=sight, hold=_with_late_success(state, event))


def _with_late_success(state: IntentState, event: RailStatusObserved) -> Hold:
    """There is one object per intent: a hold or capture that was counted already is no second one."""
    hold = state.hold
    if event.late_effect_id is None or event.late_action is None:
        return hold
    seen = replace(hold, carried_out=(*hold.carried_out, event.late_effect_id))
    late = LateSuccess(
        effect_id=event.late_effect_id,
        action=event.late_action,
        rail_object=event.rail_object,
        amount_minor=event.amount_minor,
    )
    match event.late_action:
        case RailAction.HOLD:
            return replace(seen, late=seen.late if state.placed_minor else late)
        case RailAction.CAPTURE:
            is_counted = hold.status is HoldStatus.CAPTURED
            return replace(seen, late=seen.late if is_counted else late)
        case RailAction.REFUND:
            return replace(seen, late=None)
        case RailAction.CANCEL:
            return seen
        case _:
            assert_never(event.late_action)


def _expect_effect(hold: Hold, effect_id: str, entry: LedgerEntry) -> None:
    if hold.effect_id != effect_id:
        raise _impossible(entry, "an answer to an effect that is not outstanding")


def _hold_placed(
    state: IntentState, event: SettlementHoldPlaced, entry: LedgerEntry
) -> IntentState:
    _expect_effect(state.hold, event.effect_id, entry)
    if state.status is not IntentStatus.OPEN:
        raise _impossible(entry, "a hold on an intent that is not open")
    hold = replace(
        state.hold,
        status=HoldStatus.HELD,
        rail_object=event.rail_object,
        amount_minor=event.amount_minor,
        currency=event.currency,
        expires_at=event.expires_at,
        effect_id=None,
        carried_out=(*state.hold.carried_out, event.effect_id),
        late=None,
    )
    return replace(
        state,
        status=IntentStatus.FUNDED,
        hold=hold,
        placed_minor=event.amount_minor,
        held_minor=event.amount_minor,
        settlement_config_version=event.settlement_config_version,
        settlement_mode=event.settlement_mode,
    )


def _confirmed(hold: Hold, event: SettlementRailConfirmed, entry: LedgerEntry) -> Hold:
    _expect_effect(hold, event.effect_id, entry)
    status = HoldStatus.CAPTURED if event.action is RailAction.CAPTURE else HoldStatus.CANCELLED
    # A cancel gives nothing back that was captured; capture and refund speak of the one object there is.
    is_late_capture = hold.late is not None and hold.late.action is RailAction.CAPTURE
    late = hold.late if event.action is RailAction.CANCEL and is_late_capture else None
    carried_out = (*hold.carried_out, event.effect_id)
    return replace(hold, status=status, effect_id=None, carried_out=carried_out, late=late)


def _failed(state: IntentState, event: SettlementRailFailed, entry: LedgerEntry) -> Hold:
    _expect_effect(state.hold, event.effect_id, entry)
    match event.action:
        case RailAction.HOLD:
            status = HoldStatus.NONE
        case RailAction.REFUND:
            status = HoldStatus.CAPTURED
        case RailAction.CAPTURE | RailAction.CANCEL:
            status = HoldStatus.HELD if state.held_minor else HoldStatus.LOST
        case _:
            assert_never(event.action)
    is_settled = event.is_gone and state.hold.cause is SettlementCause.COMPENSATION
    late = None if is_settled else state.hold.late
    return replace(state.hold, status=status, effect_id=None, late=late)


def _with_evidence(
    state: IntentState, event: EvidenceSubmitted | PredicateEvaluated, entry: LedgerEntry
) -> IntentState:
    if isinstance(event, EvidenceSubmitted):
        if state.status is not IntentStatus.FUNDED or state.evidence is not None:
            raise _impossible(entry, "evidence belongs to a funded intent, once")
        evidence = EvidenceState(
            evidence_id=event.evidence_id,
            commitment=event.commitment,
            submitted_at=event.submitted_at,
        )
        return replace(state, status=IntentStatus.EVIDENCE_SUBMITTED, evidence=evidence)
    if state.evidence is None or state.evidence.is_evaluated:
        raise _impossible(entry, "an evaluation without new evidence")
    evaluated = replace(
        state.evidence, is_evaluated=True, passed=event.passed, evaluator=event.evaluator
    )
    return replace(state, evidence=evaluated)


def _with_dispute(
    state: IntentState, event: Disputed | DisputeWithdrawn, entry: LedgerEntry
) -> IntentState:
    if isinstance(event, Disputed):
        if state.status not in {IntentStatus.FUNDED, IntentStatus.EVIDENCE_SUBMITTED}:
            raise _impossible(entry, "a dispute of an intent that is not live")
        dispute = DisputeState(
            case_id=event.case_id,
            reason_code=event.reason_code,
            status_before=state.status,
            opened_at=entry.recorded_at,
        )
        return replace(state, status=IntentStatus.DISPUTED, dispute=dispute)
    if state.status is not IntentStatus.DISPUTED or state.dispute is None:
        raise _impossible(entry, "a withdrawal without a dispute")
    return replace(state, status=state.dispute.status_before, dispute=None)


def _final(
    state: IntentState,
    event: Released | Refunded | ResolvedSplit | EscalatedExternal,
    entry: LedgerEntry,
) -> IntentState:
    if state.is_final:
        raise _impossible(entry, "a second final state")
    if not _is_carried_out(state, event):
        raise _impossible(entry, "a final state that no answer of the rail led to")
    ended = replace(state, held_minor=0, final_at=entry.recorded_at)
    match event:
        case Released():
            return replace(ended, status=IntentStatus.RELEASED, released_minor=event.amount_minor)
        case Refunded():
            hold = state.hold
            if event.reason is RefundReason.HOLD_LOST:
                # An effect still on its way is no longer ours: its late success is compensated, not booked.
                hold = replace(hold, status=HoldStatus.LOST, effect_id=None)
            return replace(
                ended,
                status=IntentStatus.REFUNDED,
                refunded_minor=event.amount_minor,
                reason=event.reason,
                hold=hold,
            )
        case ResolvedSplit():
            return replace(
                ended,
                status=IntentStatus.RESOLVED_SPLIT,
                released_minor=event.payee_minor,
                refunded_minor=event.principal_minor,
            )
        case EscalatedExternal():
            return replace(
                ended,
                status=IntentStatus.ESCALATED_EXTERNAL,
                custody=event.custody,
                custody_minor=event.custody_minor,
                refunded_minor=event.refunded_minor,
                external_ref=event.external_ref,
            )
        case _:
            assert_never(event)


def _is_carried_out(
    state: IntentState, event: Released | Refunded | ResolvedSplit | EscalatedExternal
) -> bool:
    """Whether the rail's answer stands behind it; nothing was asked where nothing was held, or where it was lost."""
    status = state.hold.status
    match event:
        case Released() | ResolvedSplit():
            return status is HoldStatus.CAPTURED
        case EscalatedExternal():
            is_captured = event.custody is Custody.CAPTURE
            return status is (HoldStatus.CAPTURED if is_captured else HoldStatus.CANCELLED)
        case Refunded(reason=RefundReason.NEVER_FUNDED):
            return not state.placed_minor and not state.hold.is_outstanding
        case Refunded(reason=RefundReason.HOLD_LOST):
            return state.placed_minor > 0
        case Refunded():
            return status is HoldStatus.CANCELLED
        case _:
            assert_never(event)

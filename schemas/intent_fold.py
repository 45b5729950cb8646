"""The fold: `evolve` takes one entry into an intent's state. Harbor, views and `fsck` run this same function.

It never judges (that was `decide`, once) and never evaluates a predicate again; it only refuses what no history can
contain, with `FoldError`. At every entry: placed = held + released + refunded + custody, per intent and currency.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from schemas.errors import FoldError
from schemas.messages.events import (
    Disputed,
    DisputeResolution,
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
    FINAL_STATUSES,
    Custody,
    Environment,
    Hash32,
    HoldStatus,
    IntentStatus,
    Key32,
    RailAction,
    RefundReason,
    SettlementCause,
    SettlementMode,
)

# A card authorization is let go a day before it ends: later evidence could not be settled in time.
HOLD_MARGIN = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The money beside the state. `effect_id` is null when no request to the rail is outstanding.

    `action`, `attempt`, `cause`, `requested_minor` and `resolution` are those of the last request.
    """

    status: HoldStatus = HoldStatus.NONE
    amount_minor: int = 0
    currency: str = ""
    rail_object: str | None = None
    expires_at: datetime | None = None
    effect_id: str | None = None
    action: RailAction | None = None
    attempt: int = 0
    cause: SettlementCause | None = None
    requested_minor: int = 0
    requested_at: datetime | None = None
    requested_seq: int = 0
    resolution: DisputeResolution | None = None

    @property
    def is_outstanding(self) -> bool:
        return self.effect_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceState:
    """`is_evaluated` is false only between the two entries of one transaction."""

    evidence_id: str
    commitment: Hash32
    submitted_at: datetime
    is_evaluated: bool = False
    passed: bool | None = None
    evaluator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeState:
    """`status_before` is where a withdrawal leads back to."""

    case_id: str
    reason_code: str
    status_before: IntentStatus
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentState:
    """All that later decisions need. Amounts in minor units of `currency`."""

    tenant_id: str
    intent_id: str
    status: IntentStatus
    signing_version: int
    principal_did: str
    principal_pubkey: Key32
    payee_did: str
    payee_pubkey: Key32
    amount_minor: int
    currency: str
    settlement_rail: str
    deadline: datetime
    budget_digest: Hash32
    evidence_schema_digest: Hash32
    predicate_digest: Hash32
    created_at: datetime
    created_seq: int
    updated_at: datetime
    last_seq: int
    hold: Hold
    placed_minor: int = 0
    held_minor: int = 0
    released_minor: int = 0
    refunded_minor: int = 0
    custody_minor: int = 0
    evidence: EvidenceState | None = None
    dispute: DisputeState | None = None
    reason: RefundReason | None = None
    custody: Custody | None = None
    external_ref: str | None = None
    settlement_config_version: int | None = None
    settlement_mode: SettlementMode | None = None
    rail_status: str | None = None
    hold_warnings: tuple[int, ...] = ()
    final_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_STATUSES

    @property
    def is_conserved(self) -> bool:
        """Whether placed = held + released + refunded + custody."""
        parts = self.held_minor + self.released_minor + self.refunded_minor + self.custody_minor
        return self.placed_minor == parts

    @property
    def evidence_due_at(self) -> datetime:
        """min(deadline, end of the hold − 24 h); later evidence is `deadline_passed`."""
        if self.hold.expires_at is None:
            return self.deadline
        return min(self.deadline, self.hold.expires_at - HOLD_MARGIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Why a tenant's commands are answered 503 until an operator releases it."""

    reason: str
    since: datetime
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantState:
    """Of `<tenant>/tenant`: fixed at provisioning, but for the quarantine."""

    tenant_id: str
    environment: Environment
    settlement_config_version: int
    settlement_mode: SettlementMode
    origin: str
    provisioned_at: datetime
    quarantine: Quarantine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyPin:
    """(tenant, DID) → key, at first use, written with the entry that first shows them."""

    tenant_id: str
    did: str
    pubkey: Key32
    since_seq: int


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
            return replace(state, hold=_requested(state.hold, event, entry))
        case SettlementHoldPlaced():
            return _hold_placed(state, event, entry)
        case SettlementRailConfirmed():
            return replace(state, hold=_confirmed(state.hold, event, entry))
        case SettlementRailFailed():
            return replace(state, hold=_failed(state, event, entry))
        case RailStatusObserved():
            return replace(state, rail_status=event.status)
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


def _requested(hold: Hold, event: SettlementRailRequested, entry: LedgerEntry) -> Hold:
    if hold.is_outstanding:
        raise _impossible(entry, "two requests outstanding at the rail")
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
    )


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
    return replace(hold, status=status, effect_id=None)


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
    return replace(state.hold, status=status, effect_id=None)


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

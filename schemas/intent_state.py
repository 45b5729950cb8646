"""What the fold knows of an intent, its hold, a tenant and a party: values only, as they lie on `paybond.intents`.

State is the fold of entries and nothing else: no field here is written by anything but `schemas.intent_fold`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages.events import DisputeResolution
from schemas.messages.shared import (
    FINAL_STATUSES,
    Actor,
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
class LateSuccess:
    """What a rail did after we had counted on it no longer: given back as soon as the intent is final."""

    effect_id: str
    action: RailAction
    rail_object: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RailSight:
    """The rail's object as an entry showed it last; only a change makes another entry."""

    rail_object: str
    status: str
    amount_minor: int
    currency: str
    is_drift: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The money beside the state. `effect_id` is null when no request to the rail is outstanding.

    `action`, `attempt`, `cause`, `requested_minor` and `resolution` are those of the last request. `requests` counts
    all of them, so that no effect id comes twice; `carried_out` are the effects whose success an entry tells.
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
    requests: int = 0
    carried_out: tuple[str, ...] = ()
    late: LateSuccess | None = None

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
    rail_sight: RailSight | None = None
    hold_warnings: tuple[int, ...] = ()
    final_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_STATUSES

    @property
    def rail_status(self) -> str | None:
        """The rail's own word for its object, as an entry told it last."""
        return None if self.rail_sight is None else self.rail_sight.status

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
class RailsPause:
    """Why nothing that moves this tenant's money is asked of a rail until an operator resumes it."""

    reason: str
    since: datetime
    paused_by: Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantState:
    """Of `<tenant>/tenant`: fixed at provisioning, but for what operators and defects do: quarantine and pause."""

    tenant_id: str
    environment: Environment
    settlement_config_version: int
    settlement_mode: SettlementMode
    origin: str
    provisioned_at: datetime
    quarantine: Quarantine | None = None
    rails_pause: RailsPause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyPin:
    """(tenant, DID) → key, at first use, written with the entry that first shows them."""

    tenant_id: str
    did: str
    pubkey: Key32
    since_seq: int

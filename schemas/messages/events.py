"""The ledger's entry and every event it can carry: past tense, typed, without free text.

`LedgerEntry`'s encoded bytes are what is hashed (`schemas.ledger.entry_chain`), so a field is only ever added with a
default, under a new schema id, and never renamed. The last four events are reserved: in the union, not yet written.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from schemas.messages.shared import (
    Actor,
    Custody,
    DisputeOutcome,
    Environment,
    Hash32,
    Key32,
    RailAction,
    RefundReason,
    SettlementCause,
    SettlementMode,
    Signature64,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantProvisioned:
    """Entry 1 of every ledger; it fixes the tenant's environment for ever."""

    environment: Environment
    settlement_config_version: int
    settlement_mode: SettlementMode
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentCreated:
    """All that is needed to rebuild the signed frame, so that consent can be checked from this entry alone."""

    signing_version: int
    principal_did: str
    principal_pubkey: Key32
    principal_signature: Signature64
    payee_did: str
    payee_pubkey: Key32
    amount_minor: int
    currency: str
    deadline: datetime
    deadline_text: str
    budget_digest: Hash32
    evidence_schema_digest: Hash32
    predicate_digest: Hash32
    predicate_ref: str
    tools_digest: Hash32
    settlement_rail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeResolution:
    """What an operator decided; the final state follows when the rail has done it."""

    case_id: str
    outcome: DisputeOutcome
    reason_code: str
    payee_minor: int
    principal_minor: int
    custody: Custody | None = None
    external_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRailRequested:
    """A rail was asked; at most one request is outstanding. `amount_minor` is what the action is about.

    `resolution` stands here when a dispute's resolution is the cause: state is the fold of entries and nothing else.
    """

    action: RailAction
    amount_minor: int
    currency: str
    attempt: int
    effect_id: str
    cause: SettlementCause
    rail_object: str | None = None
    resolution: DisputeResolution | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementHoldPlaced:
    """The rail holds the amount: this makes an intent funded."""

    effect_id: str
    rail_object: str
    amount_minor: int
    currency: str
    expires_at: datetime
    settlement_config_version: int
    settlement_mode: SettlementMode


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRailConfirmed:
    """The rail carried out a capture, cancel or refund."""

    effect_id: str
    action: RailAction
    rail_object: str
    amount_minor: int
    currency: str
    fee_amount_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRailFailed:
    """The rail refused for good: the intent's state stays, the next try is attempt + 1.

    `is_gone` = there is nothing left at the rail that the action could be about.
    """

    effect_id: str
    action: RailAction
    attempt: int
    code: str
    is_gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RailStatusObserved:
    """The rail's own status of the object changed, or an answer did not fit what was asked (`is_drift`).

    `late_effect_id` and `late_action` tell of a success that came when it was no longer waited for; where only a look
    told of it, object and status stand for the effect.
    """

    rail_object: str
    status: str
    amount_minor: int
    currency: str
    is_drift: bool
    late_effect_id: str | None = None
    late_action: RailAction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldExpiring:
    """A disputed intent's hold ends within `hours_left`; time alone never settles a dispute."""

    hours_left: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSubmitted:
    """Only a salted commitment: SHA-256(salt ‖ payload digest ‖ artifacts digest ‖ signature)."""

    evidence_id: str
    payee_pubkey: Key32
    commitment: Hash32
    submitted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PredicateEvaluated:
    """The verdict; nobody evaluates again. `passed` null is unknown, and counts as not passed."""

    evidence_id: str
    evaluator: str
    passed: bool | None
    report_digest: Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    case_id: str
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeWithdrawn:
    case_id: str
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Final: captured to the destination of the recorded settlement configuration."""

    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """Final: the hold is gone. `amount_minor` is 0 where nothing was ever held."""

    amount_minor: int
    currency: str
    reason: RefundReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSplit:
    """Final: `payee_minor` captured once, the rest let go; the two add up to what was held."""

    payee_minor: int
    principal_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalatedExternal:
    """Final here: a court or arbiter decides. `custody_minor` is what was captured into custody (0 if let go)."""

    custody: Custody
    custody_minor: int
    refunded_minor: int
    currency: str
    external_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RailReversalObserved:
    """Reserved: the rail took money back after capture (chargeback)."""

    rail_object: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAwardRecorded:
    """Reserved: what the external forum awarded; no change of state."""

    payee_minor: int
    principal_minor: int
    currency: str
    external_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyKeyRotated:
    """Reserved: a party's pinned key was replaced."""

    party_digest: Hash32
    old_pubkey: Key32
    new_pubkey: Key32


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBodyErased:
    """Reserved: the body behind a commitment was erased; the commitment stays."""

    evidence_id: str


Event = (
    TenantProvisioned
    | IntentCreated
    | SettlementRailRequested
    | SettlementHoldPlaced
    | SettlementRailConfirmed
    | SettlementRailFailed
    | RailStatusObserved
    | HoldExpiring
    | EvidenceSubmitted
    | PredicateEvaluated
    | Disputed
    | DisputeWithdrawn
    | Released
    | Refunded
    | ResolvedSplit
    | EscalatedExternal
    | RailReversalObserved
    | ExternalAwardRecorded
    | PartyKeyRotated
    | EvidenceBodyErased
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One record of `paybond.ledger.<tenant>`; `seq` is dense from 1, `prev_hash` the leaf hash of `seq` − 1."""

    tenant_id: str
    seq: int
    prev_hash: Hash32
    recorded_at: datetime
    command_id: str
    actor: Actor
    intent_id: str | None
    event: Event


_UPPER = re.compile(r"(?<!^)(?=[A-Z])")
EVENT_TYPES: dict[type, str] = {
    event: _UPPER.sub("_", event.__name__).lower() for event in get_args(Event)
}
RESERVED_EVENTS: frozenset[type] = frozenset(
    {RailReversalObserved, ExternalAwardRecorded, PartyKeyRotated, EvidenceBodyErased}
)


def event_type_of(event: Event) -> str:
    """The wire name, snake case: `settlement_hold_placed`."""
    return EVENT_TYPES[type(event)]

"""Small values that several messages carry."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from schemas.messages.avro_types import Fixed

Hash32 = Annotated[bytes, Fixed("Hash32", 32)]
Key32 = Annotated[bytes, Fixed("Key32", 32)]
Signature64 = Annotated[bytes, Fixed("Signature64", 64)]


class Environment(StrEnum):
    SANDBOX = "sandbox"
    LIVE = "live"


class SettlementMode(StrEnum):
    """Which adapter carries out `stripe_connect`. The simulator is for sandbox tenants only."""

    SIMULATED = "simulated"
    STRIPE_CONNECT = "stripe_connect"


class ActorKind(StrEnum):
    API_KEY = "api_key"
    AGENT_KEY = "agent_key"
    SESSION = "session"
    RAIL = "rail"
    SYSTEM = "system"
    CLI = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asked: `ref` is a key id or an opaque subject, never a name."""

    kind: ActorKind
    ref: str


class IntentStatus(StrEnum):
    OPEN = "open"
    FUNDED = "funded"
    EVIDENCE_SUBMITTED = "evidence_submitted"
    DISPUTED = "disputed"
    RELEASED = "released"
    REFUNDED = "refunded"
    RESOLVED_SPLIT = "resolved_split"
    ESCALATED_EXTERNAL = "escalated_external"


FINAL_STATUSES = frozenset(
    {
        IntentStatus.RELEASED,
        IntentStatus.REFUNDED,
        IntentStatus.RESOLVED_SPLIT,
        IntentStatus.ESCALATED_EXTERNAL,
    }
)


class HoldStatus(StrEnum):
    NONE = "none"
    REQUESTED = "requested"
    HELD = "held"
    CAPTURE_REQUESTED = "capture_requested"
    CANCEL_REQUESTED = "cancel_requested"
    CAPTURED = "captured"
    CANCELLED = "cancelled"
    LOST = "lost"


class RailAction(StrEnum):
    """What a rail can be asked. `refund` gives back what was captured; `cancel` lets a hold go."""

    HOLD = "hold"
    CAPTURE = "capture"
    CANCEL = "cancel"
    REFUND = "refund"


class RailAnswerKind(StrEnum):
    """`gone` = the rail no longer has the hold (expired, cancelled at the rail): nothing can be captured."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    GONE = "gone"


class RefundReason(StrEnum):
    PREDICATE_FAILED = "predicate_failed"
    DEADLINE_PASSED = "deadline_passed"
    DISPUTE = "dispute"
    HOLD_LOST = "hold_lost"
    HOLD_EXPIRING = "hold_expiring"
    NEVER_FUNDED = "never_funded"


class SettlementCause(StrEnum):
    """Why a capture or cancel was asked for; it becomes the reason of the final state."""

    PREDICATE_PASSED = "predicate_passed"
    PREDICATE_FAILED = "predicate_failed"
    DEADLINE_PASSED = "deadline_passed"
    HOLD_EXPIRING = "hold_expiring"
    DISPUTE_RELEASE = "dispute_release"
    DISPUTE_REFUND = "dispute_refund"
    DISPUTE_SPLIT = "dispute_split"
    DISPUTE_ESCALATION = "dispute_escalation"
    FUNDING = "funding"
    COMPENSATION = "compensation"


class DisputeOutcome(StrEnum):
    RELEASE = "release"
    REFUND = "refund"
    RESOLVED_SPLIT = "resolved_split"
    ESCALATED_EXTERNAL = "escalated_external"


class Custody(StrEnum):
    """What happens to the money of an escalated intent: captured into custody, or let go."""

    CAPTURE = "capture"
    CANCEL = "cancel"

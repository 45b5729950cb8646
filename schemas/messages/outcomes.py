"""The answer per command: it wakes the waiting gateway, and is the idempotency record for 24 h.

What the gateway sends is a pure function of this record and `renderer`, so that a retry gets the same bytes.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.messages.commands import SpentNonce
from schemas.messages.shared import (
    Custody,
    Environment,
    Hash32,
    HoldStatus,
    IntentStatus,
    RefundReason,
    SettlementMode,
)

# 2: answers about an intent carry `next_action`.
RENDERER_VERSION = 2


class OutcomeStatus(StrEnum):
    """`accepted` = a rail works on it; `retry` = not decided: skipped by look-ups, spends nothing."""

    ACCEPTED = "accepted"
    DONE = "done"
    REFUSED = "refused"
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a command was refused. `details_json` is compact JSON of ids and limits, safe to show to the caller."""

    code: str
    message: str
    details_json: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAction:
    """What comes next, when (null: whenever somebody does it), and what it waits for (`schemas.next_action`)."""

    kind: str
    at: datetime | None
    blocked_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentAnswer:
    """The intent as the command left it: all that any route's answer shows."""

    intent_id: str
    status: IntentStatus
    settlement_rail: str
    currency: str
    amount_minor: int
    funded: bool
    hold_status: HoldStatus
    rail_object: str | None = None
    settlement_mode: SettlementMode | None = None
    hold_expires_at: datetime | None = None
    evidence_due_at: datetime | None = None
    reason: RefundReason | None = None
    held_minor: int = 0
    released_minor: int = 0
    refunded_minor: int = 0
    custody_minor: int = 0
    custody: Custody | None = None
    case_id: str | None = None
    evidence_id: str | None = None
    payload_digest: Hash32 | None = None
    artifacts_digest: Hash32 | None = None
    predicate_passed: bool | None = None
    report_json: str | None = None
    payee_did: str | None = None
    principal_did: str | None = None
    allowed_tools: tuple[str, ...] = ()
    next_action: NextAction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantAnswer:
    environment: Environment
    settlement_mode: SettlementMode
    rails_paused_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`command_kind` is the body's class name. `ledger_seq` = the last entry this command wrote, or null.

    `operation_command_id` names the command whose operation tells how it ends (a poll of a pending fund answers with
    the first one's). `recorded_at` = the command's time; `decided_at` changes when a rail's answer rewrites it.
    """

    command_id: str
    tenant_id: str
    intent_id: str | None
    command_kind: str
    status: OutcomeStatus
    input_hash: Hash32
    recorded_at: datetime
    decided_at: datetime
    renderer: int = RENDERER_VERSION
    spent: SpentNonce | None = None
    request_id: str | None = None
    ledger_seq: int | None = None
    operation_command_id: str | None = None
    answer: IntentAnswer | TenantAnswer | None = None
    refusal: Refusal | None = None

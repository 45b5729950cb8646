"""Messages of operation: dead letters, and the gateway's own rows on their way through Kafka."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.messages.shared import Actor, Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that can never work: where it lies, why, and its bytes (null when too large: the reference stays)."""

    group: str
    topic: str
    partition: int
    offset: int
    reason: str
    attempts: int
    recorded_at: datetime
    tenant_id: str | None
    command_id: str | None
    key: bytes | None
    value: bytes | None
    value_digest: Hash32


class LetterAction(StrEnum):
    REPLAY = "replay"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterDisposition:
    """What an operator decided about a letter, under the letter's own key: written before it is carried out.

    `reason` is the operator's, for the record. `value_digest` says which bytes were meant.
    """

    group: str
    topic: str
    partition: int
    offset: int
    value_digest: Hash32
    action: LetterAction
    reason: str
    actor: Actor
    decided_at: datetime
    tenant_id: str | None
    command_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRow:
    """A gateway-owned row, whole, in outbox order per key; `row_json` null = deleted."""

    table: str
    tenant_id: str
    primary_key: str
    outbox_id: int
    row_json: str | None

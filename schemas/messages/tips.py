"""Where a tenant's ledger stands: the unsigned tip, the signed checkpoint, and the input position of a partition."""

from dataclasses import dataclass
from datetime import datetime

from schemas.messages.shared import Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """Unsigned; `frontier` = RFC 6962 subtree hashes of `size`, left to right."""

    tenant_id: str
    size: int
    root: Hash32
    last_leaf_hash: Hash32
    frontier: tuple[Hash32, ...]
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """`note` is the C2SP signed note as text: the only part that is to be trusted, after verification."""

    tenant_id: str
    size: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Next offset of `paybond.commands` to be decided, written in the transaction that decided up to it."""

    partition: int
    next_offset: int

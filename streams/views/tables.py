"""The read tables as a port: what each projection hands over, and what it gets back. Two adapters: Postgres, memory.

Every `store_…` is one transaction with the checkpoints' advance, and raises OwnershipLostError, DataRefusedError and
DatabaseUnavailableError, after which nothing of it is there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from schemas.intent_fold import IntentState
from schemas.ledger.merkle_tree import Frontier
from schemas.ledger.tiles import TileGrowth, TileId, TilePlan
from schemas.tables.fold import FoldedRows
from schemas.tables.rows import (
    BodyKey,
    BodyRow,
    EntryRow,
    OperationRow,
    TenantRow,
    TenantStateRow,
)
from streams.runtime.checkpoints import Advance
from streams.runtime.records import TopicPartition


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerWrite:
    """What a batch does to one tenant. `known` are entries at or below the checkpoint, read again."""

    tenant_id: str
    advance: Advance
    folded: FoldedRows
    growth: TileGrowth
    known: tuple[EntryRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStored:
    """Per tenant: rows that had to be restored; and the first seq where the tables hold another entry."""

    restored: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedStates:
    """What the tables have; a tenant or intent that is missing does not exist."""

    tenants: Mapping[str, TenantRow]
    states: Mapping[str, Mapping[str, IntentState]]


class LedgerTables(Protocol):
    async def load(self, wanted: Mapping[str, Collection[str]]) -> LoadedStates:
        """Tenant → intent ids. Raises DatabaseUnavailableError."""
        ...

    async def store_entries(self, writes: Sequence[LedgerWrite]) -> LedgerStored: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyChange:
    """`row` null = erased. `offset` orders it among what a tombstone erased."""

    key: BodyKey
    row: BodyRow | None
    offset: int
    at: TopicPartition
    is_known: bool


class EvidenceTables(Protocol):
    async def store_bodies(
        self, advances: Sequence[Advance], changes: Sequence[BodyChange]
    ) -> Mapping[TopicPartition, int]:
        """At most one change per body. How many that were read again had to be restored."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChange:
    """At most one per command in a batch: the newest."""

    row: OperationRow
    at: TopicPartition
    is_known: bool


class OperationTables(Protocol):
    async def store_operations(
        self, advances: Sequence[Advance], changes: Sequence[OperationChange]
    ) -> Mapping[TopicPartition, int]:
        """An older decision never replaces a newer one. How many that were read again had to be restored."""
        ...

    async def prune_operations(self, *, before: datetime, rows_max: int) -> int:
        """Drop the oldest answers. Raises DatabaseUnavailableError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantStateChange:
    """At most one per tenant in a batch: the newest. `offset` orders it among those of other batches."""

    row: TenantStateRow
    offset: int
    at: TopicPartition
    is_known: bool


class TenantStateTables(Protocol):
    async def store_tenant_states(
        self, advances: Sequence[Advance], changes: Sequence[TenantStateChange]
    ) -> Mapping[TopicPartition, int]:
        """An older record never replaces a newer one. How many that were read again had to be restored."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRoot:
    """A checkpoint whose signature was verified; its root not yet."""

    tenant_id: str
    size: int
    root: bytes
    note: str
    at: TopicPartition
    is_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyRoot:
    """`tree` = the ledger's frontier where it stands at this very size: the root then needs no tiles."""

    signed: SignedRoot
    tree: Frontier | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHashes:
    """What a TilePlan asked for: tiles by id, and the leaves of the partial tile, concatenated."""

    tiles: Mapping[TileId, bytes]
    leaves: bytes


class CheckpointTables(Protocol):
    async def store_waiting(
        self, advances: Sequence[Advance], roots: Sequence[SignedRoot]
    ) -> Mapping[TopicPartition, int]:
        """Keep them until the entries are there; one that is published already is left out. How many known were not."""
        ...

    async def ready(
        self, partitions: Collection[TopicPartition], *, rows_max: int
    ) -> Sequence[ReadyRoot]:
        """Waiting ones whose entries are there; tenants in quarantine are left out.

        Raises DatabaseUnavailableError.
        """
        ...

    async def hashes(self, tenant_id: str, plan: TilePlan) -> StoredHashes:
        """Raises DatabaseUnavailableError."""
        ...

    async def publish(self, roots: Sequence[SignedRoot]) -> None:
        """From waiting to published, in one transaction. Raises DatabaseUnavailableError."""
        ...


class ViewsTables(
    LedgerTables, EvidenceTables, OperationTables, TenantStateTables, CheckpointTables, Protocol
):
    """All of them, as one database has them."""

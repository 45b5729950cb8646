"""What `fsck` asks of Postgres beside the log: one tenant's read tables, all of one moment."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from schemas.ids import TenantId
from schemas.tables.rows import (
    BodyRow,
    EntryRow,
    IntentRow,
    OperationRow,
    TenantRow,
    TenantStateRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRow:
    """`views.ledger_tiles`."""

    level: int
    tile: int
    hashes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """`views.checkpoints`."""

    size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsRow:
    """`views.intent_totals`."""

    status: str
    currency: str
    intents: int
    placed_minor: int
    held_minor: int
    released_minor: int
    refunded_minor: int
    custody_minor: int


class TableSnapshot(Protocol):
    """One tenant's rows of `views`, of one moment. Each raises DatabaseUnavailableError."""

    async def tenant(self) -> TenantRow | None: ...

    async def tenant_state(self) -> TenantStateRow | None: ...

    async def totals(self) -> tuple[TotalsRow, ...]: ...

    def entries(self) -> AsyncIterator[EntryRow]:
        """In the order of seq."""

    def intents(self) -> AsyncIterator[IntentRow]: ...

    def tiles(self) -> AsyncIterator[TileRow]: ...

    def checkpoints(self) -> AsyncIterator[CheckpointRow]: ...

    async def waiting_sizes(self) -> frozenset[int]:
        """Of signed checkpoints whose entries are not there yet, or whose ledger is quarantined."""

    def bodies(self) -> AsyncIterator[BodyRow]: ...

    def operations(self) -> AsyncIterator[OperationRow]: ...

    async def reached(self, partition: int) -> Mapping[str, int]:
        """Of each topic that many tenants share: the first offset that is not in the rows."""


class Tables(Protocol):
    def snapshot(self, tenant_id: TenantId) -> AbstractAsyncContextManager[TableSnapshot]:
        """The moment is that of entering. Raises DatabaseUnavailableError."""

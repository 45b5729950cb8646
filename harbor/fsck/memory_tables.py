"""Read tables in memory, for tests and the simulator: rows as somebody put them, in the order of their keys."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from harbor.fsck.ports import CheckpointRow, TileRow, TotalsRow
from schemas.ids import TenantId
from schemas.tables.rows import (
    BodyRow,
    EntryRow,
    IntentRow,
    OperationRow,
    TenantRow,
    TenantStateRow,
)

Row = TypeVar("Row")


@dataclass(slots=True, kw_only=True)
class MemoryRows:
    """`harbor.fsck.ports.TableSnapshot`: one tenant's rows."""

    tenant_row: TenantRow | None = None
    entry_rows: dict[int, EntryRow] = field(default_factory=dict)
    intent_rows: dict[str, IntentRow] = field(default_factory=dict)
    totals_rows: list[TotalsRow] = field(default_factory=list)
    tile_rows: dict[tuple[int, int], bytes] = field(default_factory=dict)
    checkpoint_rows: dict[int, CheckpointRow] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    tenant_state_row: TenantStateRow | None = None
    body_rows: dict[bytes, BodyRow] = field(default_factory=dict)
    operation_rows: dict[str, OperationRow] = field(default_factory=dict)
    reached_offsets: dict[str, int] = field(default_factory=dict)

    async def tenant(self) -> TenantRow | None:
        return self.tenant_row

    async def tenant_state(self) -> TenantStateRow | None:
        return self.tenant_state_row

    async def totals(self) -> tuple[TotalsRow, ...]:
        return tuple(self.totals_rows)

    def entries(self) -> AsyncIterator[EntryRow]:
        return _each([self.entry_rows[seq] for seq in sorted(self.entry_rows)])

    def intents(self) -> AsyncIterator[IntentRow]:
        return _each(list(self.intent_rows.values()))

    def tiles(self) -> AsyncIterator[TileRow]:
        return _each(
            [
                TileRow(level=level, tile=tile, hashes=hashes)
                for (level, tile), hashes in self.tile_rows.items()
            ]
        )

    def checkpoints(self) -> AsyncIterator[CheckpointRow]:
        return _each(list(self.checkpoint_rows.values()))

    async def waiting_sizes(self) -> frozenset[int]:
        return frozenset(self.waiting)

    def bodies(self) -> AsyncIterator[BodyRow]:
        return _each(list(self.body_rows.values()))

    def operations(self) -> AsyncIterator[OperationRow]:
        return _each(list(self.operation_rows.values()))

    async def reached(self, partition: int) -> Mapping[str, int]:  # noqa: ARG002 – the port's signature
        return self.reached_offsets


class MemoryTables:
    """`harbor.fsck.ports.Tables`; a tenant without rows has none."""

    def __init__(self) -> None:
        self.rows: dict[TenantId, MemoryRows] = {}

    @asynccontextmanager
    async def snapshot(self, tenant_id: TenantId) -> AsyncIterator[MemoryRows]:
        yield self.rows.get(tenant_id, MemoryRows())


async def _each(rows: Sequence[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row

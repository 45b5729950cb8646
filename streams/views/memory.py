"""The read tables in memory, with the transactions and conflicts of `sink.sql`: for tests and the simulator."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import add
from typing import Any

from schemas.errors import DataRefusedError
from schemas.ids import TenantId
from schemas.intent_fold import IntentState
from schemas.ledger.tiles import TILE_WIDTH, TileId, TilePlan
from schemas.messages.avro_codec import decode_as
from schemas.tables.rows import (
    BodyKey,
    BodyRow,
    EntryRow,
    IntentRow,
    OperationRow,
    TenantRow,
    TotalsChange,
)
from schemas.topics import ledger_topic
from streams.runtime.checkpoints import Advance
from streams.runtime.memory.stores import MemoryCheckpoints, MemoryQuarantine
from streams.runtime.records import TopicPartition
from streams.views import ledger_view
from streams.views.operations_view import replaces
from streams.views.tables import (
    BodyChange,
    LedgerStored,
    LedgerWrite,
    LoadedStates,
    OperationChange,
    ReadyRoot,
    SignedRoot,
    StoredHashes,
    TenantStateChange,
)

_COUNTED = tuple(
    column.name
    for column in fields(TotalsChange)
    if column.name not in {"tenant_id", "seq", "status", "currency"}
)


@dataclass(slots=True)
class TableRows:
    """What `views` and the three tables of `streams` beside it hold; comparable, so that a replay can be judged."""

    tenants: dict[str, TenantRow] = field(default_factory=dict)
    entries: dict[tuple[str, int], EntryRow] = field(default_factory=dict)
    tiles: dict[tuple[str, TileId], bytes] = field(default_factory=dict)
    checkpoints: dict[tuple[str, int], tuple[bytes, str]] = field(default_factory=dict)
    intents: dict[tuple[str, str], IntentRow] = field(default_factory=dict)
    totals: dict[tuple[str, str, str], tuple[int, ...]] = field(default_factory=dict)
    bodies: dict[BodyKey, BodyRow] = field(default_factory=dict)
    operations: dict[tuple[str, str], OperationRow] = field(default_factory=dict)
    tenant_states: dict[str, bytes] = field(default_factory=dict)
    tenant_state_offsets: dict[str, int] = field(default_factory=dict)
    waiting: dict[tuple[str, int], SignedRoot] = field(default_factory=dict)
    erased: dict[BodyKey, int] = field(default_factory=dict)


class MemoryViews:
    """ViewsTables. What holds U+0000 is refused, as Postgres does."""

    def __init__(self, checkpoints: MemoryCheckpoints, quarantine: MemoryQuarantine) -> None:
        self._checkpoints = checkpoints
        self._quarantine = quarantine
        self.rows = TableRows()
        self.notified: list[Mapping[str, int]] = []

    async def load(self, wanted: Mapping[str, Collection[str]]) -> LoadedStates:
        found: dict[str, dict[str, IntentState]] = {}
        for tenant_id, intent_ids in wanted.items():
            for intent_id in intent_ids:
                row = self.rows.intents.get((tenant_id, intent_id))
                if row is not None:
                    state = decode_as(IntentState, row.state)
                    found.setdefault(tenant_id, {})[intent_id] = state
        tenants = {key: row for key, row in self.rows.tenants.items() if key in wanted}
        return LoadedStates(tenants=tenants, states=found)

    async def store_entries(self, writes: Sequence[LedgerWrite]) -> LedgerStored:
        for write in writes:
            _refuse_nul(write.folded.entries, write.folded.intents, write.known)
        self._checkpoints.advance([write.advance for write in writes])
        restored, changed = {}, {}
        for write in writes:
            inserted = {row.seq for row in write.folded.entries if self._insert(row)}
            for change in write.folded.changes:
                if change.seq in inserted:
                    self._count(change)
            self._put_states(write)
            self._grow(write)
            restored[write.tenant_id] = sum(self._insert(row) for row in write.known)
            others = [row.seq for row in write.known if self._differs(row)]
            if others:
                changed[write.tenant_id] = min(others)
        self.notified.append(
            {
                write.tenant_id: write.folded.entries[-1].seq
                for write in writes
                if write.folded.entries
            }
        )
        return LedgerStored(restored=restored, changed=changed)

    async def store_bodies(
        self, advances: Sequence[Advance], changes: Sequence[BodyChange]
    ) -> Mapping[TopicPartition, int]:
        _refuse_nul([change.row for change in changes if change.row is not None])
        self._checkpoints.advance(advances)
        restored: dict[TopicPartition, int] = {}
        for change in changes:
            if change.row is None:
                self.rows.bodies.pop(change.key, None)
                known = self.rows.erased.get(change.key, -1)
                self.rows.erased[change.key] = max(known, change.offset)
            elif self.rows.erased.get(change.key, -1) <= change.offset:
                is_new = self.rows.bodies.get(change.key) != change.row
                self.rows.bodies[change.key] = change.row
                _restore(restored, change.at, is_known=change.is_known, is_new=is_new)
        return restored

    async def store_operations(
        self, advances: Sequence[Advance], changes: Sequence[OperationChange]
    ) -> Mapping[TopicPartition, int]:
        _refuse_nul([change.row for change in changes])
        self._checkpoints.advance(advances)
        restored: dict[TopicPartition, int] = {}
        for change in changes:
            key = change.row.tenant_id, change.row.command_id
            before = self.rows.operations.get(key)
            is_new = before is None or replaces(change.row, before)
            if is_new:
                self.rows.operations[key] = change.row
            _restore(restored, change.at, is_known=change.is_known, is_new=is_new)
        return restored

    async def store_tenant_states(
        self, advances: Sequence[Advance], changes: Sequence[TenantStateChange]
    ) -> Mapping[TopicPartition, int]:
        _refuse_nul([change.row for change in changes])
        self._checkpoints.advance(advances)
        restored: dict[TopicPartition, int] = {}
        for change in changes:
            tenant_id, state = change.row.tenant_id, change.row.state
            if self.rows.tenant_state_offsets.get(tenant_id, -1) > change.offset:
                continue
            is_new = self.rows.tenant_states.get(tenant_id) != state
            self.rows.tenant_states[tenant_id] = state
            self.rows.tenant_state_offsets[tenant_id] = change.offset
            _restore(restored, change.at, is_known=change.is_known, is_new=is_new)
        return restored

    async def prune_operations(self, *, before: datetime, rows_max: int) -> int:
        old = sorted(
            (row.recorded_at, key)
            for key, row in self.rows.operations.items()
            if row.recorded_at < before
        )[:rows_max]
        for _, key in old:
            del self.rows.operations[key]
        return len(old)

    async def store_waiting(
        self, advances: Sequence[Advance], roots: Sequence[SignedRoot]
    ) -> Mapping[TopicPartition, int]:
        self._checkpoints.advance(advances)
        restored: dict[TopicPartition, int] = {}
        for root in roots:
            key = root.tenant_id, root.size
            before = self.rows.waiting.get(key)
            same = (root.root, root.note)
            is_new = self.rows.checkpoints.get(key) != same and (
                before is None or (before.root, before.note) != same
            )
            if is_new:
                self.rows.waiting[key] = root
            _restore(restored, root.at, is_known=root.is_known, is_new=is_new)
        return restored

    async def ready(
        self, partitions: Collection[TopicPartition], *, rows_max: int
    ) -> Sequence[ReadyRoot]:
        found = []
        for (tenant_id, size), root in sorted(self.rows.waiting.items()):
            ledger = TopicPartition(topic=ledger_topic(TenantId(tenant_id)), partition=0)
            tenant = self.rows.tenants.get(tenant_id)
            if (
                root.at not in partitions
                or tenant is None
                or tenant.last_seq < size
                or self._quarantine.is_open(ledger_view.NAME, ledger)
            ):
                continue
            position = self._checkpoints.rows.get((ledger_view.NAME, ledger))
            is_here = position is not None and position.seq == size
            tree = position.tree if position is not None and is_here else None
            found.append(ReadyRoot(signed=root, tree=tree))
        return found[:rows_max]

    async def hashes(self, tenant_id: str, plan: TilePlan) -> StoredHashes:
        tiles = {
            tile: self.rows.tiles[tenant_id, tile]
            for tile in plan.tiles
            if (tenant_id, tile) in self.rows.tiles
        }
        leaves = b""
        if plan.leaves is not None:
            leaves = self._leaves(tenant_id, plan.leaves.first, plan.leaves.end)
        return StoredHashes(tiles=tiles, leaves=leaves)

    async def publish(self, roots: Sequence[SignedRoot]) -> None:
        for root in roots:
            key = root.tenant_id, root.size
            before = self.rows.checkpoints.get(key)
            if before is None or before[0] == root.root:
                self.rows.checkpoints[key] = (root.root, root.note)
            held = self.rows.waiting.get(key)
            if held is not None and (held.root, held.note) == (root.root, root.note):
                del self.rows.waiting[key]

    def _insert(self, row: EntryRow) -> bool:
        return self.rows.entries.setdefault((row.tenant_id, row.seq), row) is row

    def _differs(self, row: EntryRow) -> bool:
        return self.rows.entries[row.tenant_id, row.seq].leaf_hash != row.leaf_hash

    def _count(self, change: TotalsChange) -> None:
        key = change.tenant_id, change.status, change.currency
        before = self.rows.totals.get(key, (0,) * len(_COUNTED))
        moved = [getattr(change, name) for name in _COUNTED]
        self.rows.totals[key] = tuple(map(add, before, moved))

    def _put_states(self, write: LedgerWrite) -> None:
        tenant = write.folded.tenant
        if tenant is not None:
            held = self.rows.tenants.get(tenant.tenant_id)
            if held is None or held.last_seq < tenant.last_seq:
                self.rows.tenants[tenant.tenant_id] = tenant
        for row in write.folded.intents:
            before = self.rows.intents.get((row.tenant_id, row.intent_id))
            if before is None or before.last_seq < row.last_seq:
                self.rows.intents[row.tenant_id, row.intent_id] = row

    def _grow(self, write: LedgerWrite) -> None:
        for run in write.growth.runs:
            key = write.tenant_id, TileId(level=run.level, tile=run.tile)
            held = self.rows.tiles.get(key, b"")
            if len(held) == 32 * run.offset:
                self.rows.tiles[key] = held + run.hashes
        for tile in write.growth.full_leaf_tiles:
            leaves = self._leaves(write.tenant_id, tile * TILE_WIDTH, (tile + 1) * TILE_WIDTH)
            self.rows.tiles.setdefault((write.tenant_id, TileId(level=0, tile=tile)), leaves)

    def _leaves(self, tenant_id: str, first: int, end: int) -> bytes:
        rows = (self.rows.entries.get((tenant_id, seq)) for seq in range(first + 1, end + 1))
        return b"".join(row.leaf_hash for row in rows if row is not None)


def _restore(
    restored: dict[TopicPartition, int], at: TopicPartition, *, is_known: bool, is_new: bool
) -> None:
    if is_known:
        restored[at] = restored.get(at, 0) + is_new


def _refuse_nul(*groups: Sequence[Any]) -> None:
    for row in (row for group in groups for row in group):
        for column in fields(row):
            value = getattr(row, column.name)
            texts = value if isinstance(value, list) else [value]
            if any(isinstance(text, str) and "\0" in text for text in texts):
                raise DataRefusedError(sqlstate="22021", reason=f"U+0000 in {column.name}")

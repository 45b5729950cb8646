"""A ledger that was read again against Postgres: every row of `views` that follows from entries, column by column.

The rows are of one moment, which the tenant's row names by its `last_seq`; they are compared at that seq, however far
the ledger has gone since. Rows, not entries, are held, and of those only what tells two apart.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from functools import partial

from harbor.fsck.bodies import row_token
from harbor.fsck.compare import SignedSize
from harbor.fsck.findings import Finding, FindingKind, FindingList
from harbor.fsck.implied import Fact, ImpliedFacts
from harbor.fsck.operations import OperationFact, operation_token
from harbor.fsck.ports import TableSnapshot
from harbor.fsck.reread import LedgerReading, Step
from harbor.fsck.shared_topics import LedgerKeys, open_note
from harbor.fsck.signed_sizes import CHECKPOINT_ROWS
from harbor.fsck.tile_growth import TileGrowthCheck
from schemas.ids import TenantId
from schemas.tables.rows import (
    EntryRow,
    IntentRow,
    TenantRow,
    TenantStateRow,
    entry_row,
    intent_row,
    record_key_of_body,
    tenant_row,
    totals_changes,
)

TENANTS = "views.tenants"
ENTRIES = "views.ledger_entries"
INTENTS = "views.intents"
TOTALS = "views.intent_totals"
# Of each column: enough to tell two values apart that nobody made to collide.
_COLUMN_BYTES = 8
_COLUMNS = tuple(field.name for field in fields(IntentRow))

Sums = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRows:
    """Of one tenant: bodies by record key, operations by command, its own row; `reached` as the port has it.

    `checkpoint_sizes`: published ones and those that wait.
    """

    bodies: Mapping[bytes, bytes]
    operations: Mapping[str, OperationFact]
    tenant_state: TenantStateRow | None
    checkpoint_sizes: frozenset[int]
    reached: Mapping[str, int]


class TableComparison:
    """`load`, then `see` each step, then `finish`; `signed_sizes` after `load`."""

    def __init__(self, tenant_id: TenantId, snapshot: TableSnapshot, *, keys: LedgerKeys) -> None:
        self._tenant_id = tenant_id
        self._snapshot = snapshot
        self._keys = keys
        self._tenant: TenantRow | None = None
        self._entries = snapshot.entries()
        self._row: EntryRow | None = None
        self._is_tenant_missed = False
        self._intents = ImpliedFacts({}, where=INTENTS, reached=0, describe=differing_columns)
        self._tiles = TileGrowthCheck({}, size=0)
        self._stored_totals: dict[tuple[str, str], Sums] = {}
        self._totals: dict[tuple[str, str], Sums] = {}
        self._findings = FindingList()
        self._published = set[int]()
        self.signed_sizes = list[SignedSize]()

    @property
    def size(self) -> int:
        """How many entries the tables say they have."""
        return 0 if self._tenant is None else self._tenant.last_seq

    async def load(self) -> None:
        """Raises DatabaseUnavailableError."""
        snapshot = self._snapshot
        self._tenant = await snapshot.tenant()
        for totals in await snapshot.totals():
            _, _, *sums = astuple(totals)
            self._stored_totals[totals.status, totals.currency] = tuple(sums)
        facts = {
            row.intent_id.encode(): Fact(seq=row.last_seq, token=column_digests(row))
            async for row in snapshot.intents()
        }
        self._intents = ImpliedFacts(
            facts, where=INTENTS, reached=self.size, describe=differing_columns
        )
        tiles = {(row.level, row.tile): row.hashes async for row in snapshot.tiles()}
        self._tiles = TileGrowthCheck(tiles, size=self.size)
        async for checkpoint in snapshot.checkpoints():
            self._published.add(checkpoint.size)
            opened = open_note(
                checkpoint.note,
                tenant_id=self._tenant_id,
                size=checkpoint.size,
                keys=self._keys,
                where=CHECKPOINT_ROWS,
            )
            if isinstance(opened, Finding):
                self._findings.add(opened)
            elif opened.root != checkpoint.root:
                detail = f"size {checkpoint.size}: the column `root` is not that of the note"
                self._tell(checkpoint.size, FindingKind.NOT_IMPLIED, CHECKPOINT_ROWS, detail)
            else:
                self.signed_sizes.append(opened)
        self._row = await anext(self._entries, None)

    async def shared_rows(self, partition: int) -> SharedRows:
        """Rows that follow from shared topics; same moment as `load`, and after it.

        Raises DatabaseUnavailableError.
        """
        bodies = {record_key_of_body(r): row_token(r) async for r in self._snapshot.bodies()}
        operations = {
            row.command_id: OperationFact(token=operation_token(row), recorded_at=row.recorded_at)
            async for row in self._snapshot.operations()
        }
        reached = await self._snapshot.reached(partition)
        tenant_state = await self._snapshot.tenant_state()
        return SharedRows(
            bodies=bodies,
            operations=operations,
            tenant_state=tenant_state,
            checkpoint_sizes=await self._snapshot.waiting_sizes() | self._published,
            reached=reached,
        )

    async def see(self, step: Step) -> None:
        """Raises DatabaseUnavailableError."""
        seq, after = step.entry.seq, step.after
        await self._see_entry(step)
        if after is not None:
            token = partial(_token, step)
            self._intents.imply(after.intent_id.encode(), seq=seq, token=token)
        if seq <= self.size:
            self._tiles.append(step.leaf_hash)
            self._count(step)
        if seq == self.size:
            self._see_tenant(step)

    async def finish(self, reading: LedgerReading) -> list[FindingList]:
        """Raises DatabaseUnavailableError."""
        is_whole = reading.first_bad is None
        self._intents.finish(size=reading.size, is_whole=is_whole)
        while self._row is not None and is_whole:
            detail = f"seq {self._row.seq}: the ledger ends with seq {reading.size}"
            self._tell(self._row.seq, FindingKind.NOT_IMPLIED, ENTRIES, detail)
            self._row = await anext(self._entries, None)
        if is_whole and self.size > reading.size:
            detail = f"it says {self.size} entries, the ledger ends with seq {reading.size}"
            self._tell(reading.size + 1, FindingKind.NOT_IMPLIED, TENANTS, detail)
        if self._tenant is not None and self.size <= reading.size:
            self._compare_totals()
            for finding in self._tiles.finish():
                self._findings.add(finding)
        return [self._findings, self._intents.findings]

    async def _see_entry(self, step: Step) -> None:
        seq = step.entry.seq
        while self._row is not None and self._row.seq < seq:
            detail = f"seq {self._row.seq}: no entry has it"
            self._tell(self._row.seq, FindingKind.NOT_IMPLIED, ENTRIES, detail)
            self._row = await anext(self._entries, None)
        if self._row is None or self._row.seq > seq:
            if seq <= self.size:
                self._tell(seq, FindingKind.ABSENT, ENTRIES, f"seq {seq}: it is not there")
            return
        implied = entry_row(step.entry, value=step.value, leaf_hash=step.leaf_hash)
        if self._row != implied:
            detail = f"seq {seq}: it differs in {_differing(self._row, implied)}"
            self._tell(seq, FindingKind.NOT_IMPLIED, ENTRIES, detail)
        if self._tenant is None and not self._is_tenant_missed:
            self._is_tenant_missed = True
            self._tell(seq, FindingKind.ABSENT, TENANTS, "there are rows, but none of the tenant")
        self._row = await anext(self._entries, None)

    def _see_tenant(self, step: Step) -> None:
        implied = tenant_row(
            step.tenant,
            last_seq=step.entry.seq,
            last_leaf_hash=step.leaf_hash,
            last_recorded_at=step.entry.recorded_at,
        )
        if self._tenant is not None and self._tenant != implied:
            detail = f"it differs in {_differing(self._tenant, implied)}"
            self._tell(step.entry.seq, FindingKind.NOT_IMPLIED, TENANTS, detail)

    def _count(self, step: Step) -> None:
        if step.after is None:
            return
        for change in totals_changes(step.before, step.after, seq=step.entry.seq):
            _, _, status, currency, *moved = astuple(change)
            before = self._totals.get((status, currency), (0,) * len(moved))
            self._totals[status, currency] = tuple(map(sum, zip(before, moved, strict=True)))

    def _compare_totals(self) -> None:
        """A row may fall back to zeros; it stays."""
        for status, currency in sorted(self._stored_totals.keys() | self._totals.keys()):
            implied = self._totals.get((status, currency), ())
            stored = self._stored_totals.get((status, currency), ())
            if stored != implied and (any(stored) or any(implied)):
                detail = f"{status} {currency}: {stored} is stored, {implied} is implied"
                self._tell(self.size, FindingKind.NOT_IMPLIED, TOTALS, detail)

    def _tell(self, seq: int, kind: FindingKind, where: str, detail: str) -> None:
        self._findings.add(Finding(seq=seq, kind=kind, where=where, detail=detail))


def column_digests(row: IntentRow) -> bytes:
    """Equal rows have equal ones, and of different ones they say which columns differ."""
    return b"".join(
        hashlib.sha256(repr(value).encode()).digest()[:_COLUMN_BYTES] for value in astuple(row)
    )


def differing_columns(stored: bytes, implied: bytes) -> str:
    places = range(0, len(implied), _COLUMN_BYTES)
    return ", ".join(
        name
        for name, at in zip(_COLUMNS, places, strict=True)
        if stored[at : at + _COLUMN_BYTES] != implied[at : at + _COLUMN_BYTES]
    )


def _token(step: Step) -> bytes:
    assert step.after is not None
    return column_digests(intent_row(step.after))


def _differing(stored: EntryRow | TenantRow, implied: EntryRow | TenantRow) -> str:
    return ", ".join(
        field.name
        for field in fields(stored)
        if getattr(stored, field.name) != getattr(implied, field.name)
    )

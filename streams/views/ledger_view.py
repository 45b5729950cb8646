"""Ledger topics into entries, states, counters and tiles: one transaction a batch, whoever many tenants it has.

Per tenant: 1. check the chain; 2. fold; 3. grow the tree; all pure, up to the first record that does not fit. Then one
write. A value that Postgres refuses is bisected to its tenant, and stops that tenant alone.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from schemas.errors import (
    ChainBreakError,
    CodecError,
    DataRefusedError,
    FoldError,
    IntegrityError,
    UnknownSchemaError,
)
from schemas.ids import TenantId
from schemas.intent_fold import IntentState, TenantState
from schemas.ledger.tiles import tile_updates
from schemas.messages.events import LedgerEntry
from schemas.tables.fold import TableFold, tenant_state
from schemas.tables.rows import EntryRow, entry_row
from schemas.topics import LEDGER_PREFIX, tenant_of_ledger_topic
from streams.runtime.batch_loop import Slice, Stored
from streams.runtime.checkpoints import Advance
from streams.runtime.metrics import Metrics
from streams.runtime.quarantine import Break, QuarantineReason
from streams.runtime.records import TopicPartition
from streams.views.chain_check import CheckedEntry, known_entry, next_entry
from streams.views.tables import LedgerStored, LedgerTables, LedgerWrite

NAME = "ledger"
# About 2 kB each: 100 MB at most, and every intent that is worked on at the same time.
STATES_MAX = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A slice after the chain check: what continues the chain, what was read again, and where it stopped."""

    part: Slice
    tenant_id: TenantId
    known: tuple[EntryRow, ...]
    entries: tuple[tuple[int, CheckedEntry], ...]
    found: Break | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    write: LedgerWrite
    tenant: TenantState | None
    found: Break | None


class LedgerView:
    """A Projection. The states it keeps are valid only while it owns their partition."""

    def __init__(self, *, tables: LedgerTables, metrics: Metrics) -> None:
        self._tables = tables
        self._metrics = metrics
        self._states: OrderedDict[tuple[str, str], IntentState] = OrderedDict()
        self._tenants: dict[str, TenantState] = {}

    @property
    def name(self) -> str:
        return NAME

    def serves(self, topic: str) -> bool:
        return topic.startswith(LEDGER_PREFIX)

    def forget(self, partitions: Sequence[TopicPartition]) -> None:
        gone = {tenant_of_ledger_topic(at.topic) for at in partitions}
        for key in [key for key in self._states if key[0] in gone]:
            del self._states[key]
        for tenant_id in gone:
            if tenant_id is not None:
                self._tenants.pop(tenant_id, None)

    async def idle(self, owned: Collection[TopicPartition]) -> None:
        """Nothing of a ledger waits."""

    async def store(self, slices: Sequence[Slice]) -> Stored:
        stored = Stored()
        checked = []
        for part in slices:
            tenant_id = tenant_of_ledger_topic(part.at.topic)
            if tenant_id is None:
                stored.breaks[part.at] = Break(
                    reason=QuarantineReason.UNREADABLE,
                    detail="the topic's name ends in no possible tenant id",
                )
            else:
                checked.append(_check(part, tenant_id))
        await self._load(checked)
        await self._write([self._prepare(one) for one in checked], stored)
        return stored

    async def _load(self, checked: Sequence[_Checked]) -> None:
        wanted: dict[str, set[str]] = {}
        for one in checked:
            ids = {entry.entry.intent_id for _, entry in one.entries}
            missing = {
                intent_id
                for intent_id in ids
                if intent_id is not None and (one.tenant_id, intent_id) not in self._states
            }
            if missing or one.tenant_id not in self._tenants:
                wanted[one.tenant_id] = missing
        if not wanted:
            return
        loaded = await self._tables.load(wanted)
        for tenant_id, row in loaded.tenants.items():
            self._tenants[tenant_id] = tenant_state(row)
        for tenant_id, states in loaded.states.items():
            for intent_id, state in states.items():
                self._states[tenant_id, intent_id] = state

    def _prepare(self, checked: _Checked) -> _Prepared:
        """Steps 2 and 3."""
        before = checked.part.position
        fold = TableFold(
            tenant=self._tenants.get(checked.tenant_id),
            states={
                intent_id: self._states[checked.tenant_id, intent_id]
                for intent_id in {entry.entry.intent_id for _, entry in checked.entries}
                if intent_id is not None and (checked.tenant_id, intent_id) in self._states
            },
        )
        found, end, hashes = checked.found, before.chain_end, []
        next_offset = checked.part.end if found is None else found.offset
        for offset, one in checked.entries:
            try:
                fold.add(one.entry, value=one.value, leaf_hash=one.end.leaf_hash)
            except FoldError as error:
                next_offset = offset
                found = _break(error, checked.tenant_id, offset=offset, seq=end.seq + 1)
                break
            end = one.end
            hashes.append(end.leaf_hash)
        assert next_offset is not None
        growth = tile_updates(before.tree, hashes)
        # Reading again moves nothing until it passes the checkpoint.
        after = before.moved(max(next_offset, before.next_offset), end=end, tree=growth.frontier)
        return _Prepared(
            write=LedgerWrite(
                tenant_id=checked.tenant_id,
                advance=Advance(before=before, after=after),
                folded=fold.rows(),
                growth=growth,
                known=checked.known,
            ),
            tenant=fold.tenant,
            found=found,
        )

    async def _write(self, prepared: Sequence[_Prepared], stored: Stored) -> None:
        """All at once; what the database refuses, in halves, until the tenant is found that it refuses."""
        if not prepared:
            return
        try:
            result = await self._tables.store_entries([one.write for one in prepared])
        except DataRefusedError as error:
            if len(prepared) > 1:
                middle = len(prepared) // 2
                await self._write(prepared[:middle], stored)
                await self._write(prepared[middle:], stored)
                return
            move = prepared[0].write.advance
            stored.breaks[move.before.at] = Break(
                reason=QuarantineReason.DATA_REFUSED,
                detail=str(error),
                tenant_id=prepared[0].write.tenant_id,
                offset=move.before.next_offset,
                seq=move.before.seq + 1,
            )
            return
        for one in prepared:
            self._settle(one, result, stored)

    def _settle(self, one: _Prepared, result: LedgerStored, stored: Stored) -> None:
        """Only now, after the commit, may memory say what the tables say."""
        write = one.write
        at = write.advance.before.at
        stored.positions[at] = write.advance.after
        stored.restored[at] = result.restored.get(write.tenant_id, 0)
        self._metrics.count("paybond_streams_entries_total", by=len(write.folded.entries))
        if one.tenant is not None:
            self._tenants[write.tenant_id] = one.tenant
        for intent_id, state in write.folded.states.items():
            self._states[write.tenant_id, intent_id] = state
            self._states.move_to_end((write.tenant_id, intent_id))
        while len(self._states) > STATES_MAX:
            self._states.popitem(last=False)
        changed_seq = result.changed.get(write.tenant_id)
        if one.found is not None:
            stored.breaks[at] = one.found
        elif changed_seq is not None:
            stored.breaks[at] = Break(
                reason=QuarantineReason.HISTORY_CHANGED,
                detail="the topic has another entry than the tables at this seq",
                tenant_id=write.tenant_id,
                seq=changed_seq,
            )


def _check(part: Slice, tenant_id: TenantId) -> _Checked:
    """Step 1, up to the first record that does not fit."""
    end = part.position.chain_end
    known: list[EntryRow] = []
    entries: list[tuple[int, CheckedEntry]] = []
    found = None
    for record in part.records:
        try:
            if record.offset < part.position.next_offset:
                again = known_entry(end, tenant_id=tenant_id, key=record.key, value=record.value)
                known.append(_row(again.entry, again))
                continue
            checked = next_entry(end, tenant_id=tenant_id, key=record.key, value=record.value)
        except IntegrityError as error:
            found = _break(error, tenant_id, offset=record.offset, seq=end.seq + 1)
            break
        entries.append((record.offset, checked))
        end = checked.end
    return _Checked(
        part=part, tenant_id=tenant_id, known=tuple(known), entries=tuple(entries), found=found
    )


def _row(entry: LedgerEntry, checked: CheckedEntry) -> EntryRow:
    return entry_row(entry, value=checked.value, leaf_hash=checked.end.leaf_hash)


def _break(error: IntegrityError, tenant_id: str, *, offset: int, seq: int) -> Break:
    reasons: tuple[tuple[type[IntegrityError], QuarantineReason], ...] = (
        (ChainBreakError, QuarantineReason.CHAIN_BREAK),
        (UnknownSchemaError, QuarantineReason.UNKNOWN_SCHEMA),
        (CodecError, QuarantineReason.UNREADABLE),
        (FoldError, QuarantineReason.IMPOSSIBLE_ENTRY),
    )
    reason = next(reason for family, reason in reasons if isinstance(error, family))
    found = Break(reason=reason, detail=str(error), tenant_id=tenant_id, offset=offset)
    return replace(found, seq=seq)

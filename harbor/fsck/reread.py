"""A ledger read again from its first record: chain, keys, tree and states, recomputed from the bytes alone.

The first record that does not fit ends the reading, because nothing after it can be trusted. Where two records
contradict each other (`prev_hash`), a third witness, the next record or the tip, tells which of them was changed.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

from harbor.engine.ports import LogRecord
from harbor.fsck.findings import Finding, FindingKind
from harbor.fsck.folded_states import FoldedStates
from schemas.errors import CodecError, FoldError, UnknownSchemaError
from schemas.ids import TenantId
from schemas.intent_fold import IntentState, PartyPin, TenantState, evolve, provision
from schemas.ledger.entry_chain import CHAIN_START, ChainEnd, leaf_hash
from schemas.ledger.merkle_tree import EMPTY_FRONTIER, Appender
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import IntentCreated, LedgerEntry, PartyKeyRotated
from schemas.messages.tips import Tip
from schemas.topics import ledger_key, ledger_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One good entry, with what it led to. `before` and `after` are null for an entry about the tenant itself.

    `pins` = parties that this entry shows for the first time. `appender` holds the tree with this entry in it.
    """

    entry: LedgerEntry
    value: bytes
    leaf_hash: bytes
    tenant: TenantState
    before: IntentState | None
    after: IntentState | None
    pins: tuple[PartyPin, ...]
    appender: Appender


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReading:
    """What the good entries add up to. `first_bad` = why the reading ended before the end of the topic."""

    tenant_id: TenantId
    size: int
    root: bytes
    last_leaf_hash: bytes
    tenant: TenantState | None
    states: Mapping[str, IntentState]
    pins: Mapping[str, PartyPin]
    first_bad: Finding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """A record as far as it could be read: `entry` or `problem`, and never both."""

    key: bytes | None
    value: bytes | None
    entry: LedgerEntry | None
    problem: FindingKind | None
    detail: str = ""

    @property
    def leaf_hash(self) -> bytes:
        assert self.value is not None
        return leaf_hash(self.value)


class Rereading:
    """`steps` to its end, then `reading`. `tip` = the tip's last record, a witness for the last entries."""

    def __init__(
        self, tenant_id: TenantId, records: AsyncIterator[LogRecord], *, tip: Tip | None = None
    ) -> None:
        self._tenant_id = tenant_id
        self._topic = ledger_topic(tenant_id)
        self._records = records
        self._tip = tip
        self._end: ChainEnd = CHAIN_START
        self._appender = Appender(EMPTY_FRONTIER)
        self._tenant: TenantState | None = None
        self._states = FoldedStates()
        self._pins: dict[str, PartyPin] = {}
        self._first_bad: Finding | None = None

    async def steps(self) -> AsyncGenerator[Step, None]:
        """Each good entry in turn. Raises what the records raise: BrokerUnavailableError."""
        try:
            present = await self._next()
            while present is not None:
                following = await self._next()
                step = self._next_step(present, following)
                if step is None:
                    return
                yield step
                present = following
        finally:
            # A break leaves records unread; whoever reads them has to be told that nobody will.
            if isinstance(self._records, AsyncGenerator):
                await self._records.aclose()

    def reading(self) -> LedgerReading:
        """Of all steps so far."""
        return LedgerReading(
            tenant_id=self._tenant_id,
            size=self._end.seq,
            root=self._appender.frontier().root(),
            last_leaf_hash=self._end.leaf_hash,
            tenant=self._tenant,
            states=self._states,
            pins=self._pins,
            first_bad=self._first_bad,
        )

    @property
    def _expected_seq(self) -> int:
        return self._end.seq + 1

    async def _next(self) -> _Record | None:
        record = await anext(self._records, None)
        return None if record is None else _read(record)

    def _next_step(self, present: _Record, following: _Record | None) -> Step | None:
        """None where the reading ends: `first_bad` says why."""
        self._first_bad = self._misfit(present, following)
        if self._first_bad is not None:
            return None
        assert present.entry is not None
        try:
            return self._step(present, present.entry)
        except FoldError as error:
            self._first_bad = self._finding(self._expected_seq, FindingKind.IMPOSSIBLE, str(error))
            return None

    def _misfit(self, record: _Record, following: _Record | None) -> Finding | None:
        """Why the record is not the next entry, in this order: readable, tenant, place, `prev_hash`."""
        expected = self._expected_seq
        entry = record.entry
        if entry is None:
            assert record.problem is not None
            seq = expected
            if record.problem is FindingKind.TOMBSTONE:
                # What it erases lies before it, if it was published behind the entries.
                seq = min(_seq_of_key(self._tenant_id, record.key) or expected, expected)
            return self._finding(seq, record.problem, record.detail)
        if entry.tenant_id != self._tenant_id:
            # Another tenant's record was brought here whole, or a byte of ours was changed.
            is_foreign = record.key == ledger_key(TenantId(entry.tenant_id), entry.seq)
            kind = FindingKind.WRONG_TENANT if is_foreign else FindingKind.DAMAGED
            return self._finding(expected, kind, f"the entry names the tenant {entry.tenant_id!r}")
        if record.key != ledger_key(self._tenant_id, entry.seq):
            detail = f"the entry has seq {entry.seq}, its record the key {record.key!r}"
            return self._finding(expected, FindingKind.DAMAGED, detail)
        if entry.seq != expected:
            return self._misplaced(record, entry, following)
        if entry.prev_hash != self._end.leaf_hash:
            return self._broken(record, following)
        return None

    def _misplaced(self, record: _Record, entry: LedgerEntry, following: _Record | None) -> Finding:
        """The record's key and value agree on a seq that is not the next one."""
        expected = self._expected_seq
        if entry.seq > expected:
            is_late = following is not None and following.key == ledger_key(
                self._tenant_id, expected
            )
            kind = FindingKind.SWAPPED if is_late else FindingKind.MISSING
            return self._finding(expected, kind, f"seq {entry.seq} follows seq {expected - 1}")
        if entry.seq == self._end.seq and record.leaf_hash != self._end.leaf_hash:
            detail = f"two entries claim seq {entry.seq}"
            return self._finding(entry.seq, FindingKind.INSERTED, detail)
        detail = f"seq {entry.seq} comes again where seq {expected} belongs"
        return self._finding(entry.seq, FindingKind.DOUBLED, detail)

    def _broken(self, record: _Record, following: _Record | None) -> Finding:
        """Either it or the record before it is not what was written; whoever comes next may vouch for it."""
        expected = self._expected_seq
        if self._end.seq > 0 and self._is_vouched_for(record, following):
            detail = f"its bytes do not have the hash that seq {expected} gives"
            return self._finding(self._end.seq, FindingKind.DAMAGED, detail)
        is_pushed_on = (
            following is not None
            and following.entry is not None
            and following.entry.seq == expected
            and following.entry.prev_hash == self._end.leaf_hash
        )
        kind = FindingKind.INSERTED if is_pushed_on else FindingKind.DAMAGED
        return self._finding(
            expected, kind, f"prev_hash is not the leaf hash of seq {expected - 1}"
        )

    def _is_vouched_for(self, record: _Record, following: _Record | None) -> bool:
        if following is not None:
            return following.entry is not None and following.entry.prev_hash == record.leaf_hash
        tip = self._tip
        return (
            tip is not None
            and tip.size == self._expected_seq
            and tip.last_leaf_hash == record.leaf_hash
        )

    def _step(self, record: _Record, entry: LedgerEntry) -> Step:
        """Raises FoldError, and then nothing has changed."""
        assert record.value is not None
        tenant = provision(entry) if self._tenant is None else self._tenant
        before = after = None
        if (
            entry.intent_id is None
            and entry.seq > 1
            and not isinstance(entry.event, PartyKeyRotated)
        ):
            raise FoldError(
                subject=f"{entry.tenant_id} seq {entry.seq}", reason="the event names no intent"
            )
        if entry.intent_id is not None:
            before = self._states.get(entry.intent_id)
            after = evolve(before, entry)
            self._states.put(entry.intent_id, after)
        self._tenant = tenant
        end = ChainEnd(seq=entry.seq, leaf_hash=record.leaf_hash)
        self._end = end
        self._appender.append(end.leaf_hash)
        return Step(
            entry=entry,
            value=record.value,
            leaf_hash=end.leaf_hash,
            tenant=tenant,
            before=before,
            after=after,
            pins=self._new_pins(entry),
            appender=self._appender,
        )

    def _new_pins(self, entry: LedgerEntry) -> tuple[PartyPin, ...]:
        """Principals and payees alike are pinned by the first intent that names them."""
        event = entry.event
        if not isinstance(event, IntentCreated):
            return ()
        parties = {
            event.principal_did: event.principal_pubkey,
            event.payee_did: event.payee_pubkey,
        }
        new = tuple(
            PartyPin(tenant_id=entry.tenant_id, did=did, pubkey=pubkey, since_seq=entry.seq)
            for did, pubkey in parties.items()
            if did not in self._pins
        )
        self._pins.update({pin.did: pin for pin in new})
        return new

    def _finding(self, seq: int, kind: FindingKind, detail: str) -> Finding:
        return Finding(seq=seq, kind=kind, where=self._topic, detail=detail)


async def reread(
    tenant_id: TenantId, records: AsyncIterator[LogRecord], *, tip: Tip | None = None
) -> LedgerReading:
    """The whole ledger at once, where nothing is compared on the way."""
    rereading = Rereading(tenant_id, records, tip=tip)
    async for _ in rereading.steps():
        pass
    return rereading.reading()


def _read(record: LogRecord) -> _Record:
    if record.value is None:
        return _Record(
            key=record.key,
            value=None,
            entry=None,
            problem=FindingKind.TOMBSTONE,
            detail=f"a tombstone under {record.key!r} at offset {record.offset}",
        )
    entry, problem, detail = None, None, ""
    try:
        entry = decode_as(LedgerEntry, record.value)
    except UnknownSchemaError as error:
        problem, detail = FindingKind.SCHEMA_UNKNOWN, str(error)
    except CodecError as error:
        problem, detail = FindingKind.DAMAGED, str(error)
    return _Record(key=record.key, value=record.value, entry=entry, problem=problem, detail=detail)


def _seq_of_key(tenant_id: TenantId, key: bytes | None) -> int | None:
    digits = (key or b"").removeprefix(f"{tenant_id}/".encode())
    if len(digits) != 16 or not digits.isdigit():
        return None
    return int(digits)

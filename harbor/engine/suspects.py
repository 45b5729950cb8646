"""Input that stopped the process: counted in the slot's store, decided alone, and at last given up.

Before a batch is decided its offset range is marked; the mark goes with the batch's own write after the commit. So a
mark that is found at the start means that the process ended in between: twice, and the range is decided one by one; a
third time, alone, and the offset is poison. An outage or a fence is nobody's fault and takes the mark back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harbor.engine.batch_lookup import StoreKey
from harbor.engine.intake import Rejected, RejectReason
from harbor.engine.ports import InputRecord, StateStore
from schemas.ids import TenantId, is_tenant_id
from schemas.messages.commands import HEADER_TENANT_ID
from schemas.partitioner import partition_of

STOPS_BEFORE_ALONE = 2
STOPS_BEFORE_POISON = 3

_MARK: StoreKey = ("attempts", b"deciding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """`count` attempts to decide offsets first ≤ o < end of one partition did not end.

    `is_explained` = one of them was found to be to blame: the others are looked at alone still, and not blamed for it.
    """

    first: int
    end: int
    count: int
    is_explained: bool = False

    @property
    def is_decided_alone(self) -> bool:
        return self.is_explained or self.count >= STOPS_BEFORE_ALONE

    def covers(self, offset: int) -> bool:
        return self.first <= offset < self.end

    def encoded(self) -> bytes:
        return f"{self.first} {self.end} {self.count}".encode()

    @classmethod
    def decoded(cls, value: bytes) -> "Mark":
        first, end, count = map(int, value.split())
        return cls(first=first, end=end, count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Records that go into one transaction. `is_alone` = one suspect; `is_poison` = it had its last attempt."""

    records: tuple[InputRecord, ...]
    is_alone: bool = False
    is_poison: bool = False


class Suspects:
    def __init__(self, store: StateStore) -> None:
        self._store = store
        # What an earlier process left behind, until those offsets are passed.
        self._found: dict[int, Mark] = {}
        self._current: dict[int, Mark] = {}

    async def load(self, partition: int) -> None:
        """When the partition starts."""
        found = await self._store.get_many(partition, [_MARK])
        if _MARK in found:
            self._found[partition] = Mark.decoded(found[_MARK])

    def drop(self, partition: int) -> None:
        """The partition was revoked."""
        self._found.pop(partition, None)
        self._current.pop(partition, None)

    def shares(self, records: Sequence[InputRecord]) -> Iterator[Share]:
        """The records in their order: suspects one by one, what lies between them together."""
        together: list[InputRecord] = []
        for record in records:
            mark = self._mark_of(record)
            if mark is None or not mark.is_decided_alone:
                together.append(record)
                continue
            if together:
                yield Share(records=tuple(together))
                together = []
            is_poison = mark.count >= STOPS_BEFORE_POISON
            yield Share(records=(record,), is_alone=True, is_poison=is_poison)
        if together:
            yield Share(records=tuple(together))

    async def mark(self, records: Sequence[InputRecord]) -> None:
        """Before anything looks into the records."""
        for partition, (first, end) in _ranges(records).items():
            found = self._found.get(partition)
            is_again = found is not None and found.first < end and first < found.end
            count = found.count + 1 if found is not None and is_again else 1
            self._current[partition] = Mark(first=first, end=end, count=count)
        await self._store.write({p: {_MARK: self._current[p].encoded()} for p in _ranges(records)})

    def explain(self, record: InputRecord) -> None:
        """The one to blame was found. Its neighbours have a stop to spare: the next may be nobody's fault."""
        found = self._found.get(record.partition)
        if found is not None:
            count = min(found.count, STOPS_BEFORE_ALONE - 1)
            self._found[record.partition] = replace(found, count=count, is_explained=True)

    def settled(self, next_offsets: Mapping[int, int]) -> dict[int, dict[StoreKey, None]]:
        """The batch was committed: deletes for its own write; suspects that were passed are so no longer."""
        for partition, next_offset in next_offsets.items():
            self._current.pop(partition, None)
            found = self._found.get(partition)
            if found is not None and found.end <= next_offset:
                del self._found[partition]
        return {partition: {_MARK: None} for partition in next_offsets}

    async def acquit(self, records: Sequence[InputRecord]) -> None:
        """The batch failed, but not by what is in it: as many stops are on record as before."""
        writes: dict[int, dict[StoreKey, bytes | None]] = {}
        for partition in _ranges(records):
            self._current.pop(partition, None)
            found = self._found.get(partition)
            writes[partition] = {_MARK: None if found is None else found.encoded()}
        await self._store.write(writes)

    def _mark_of(self, record: InputRecord) -> Mark | None:
        found = self._found.get(record.partition)
        return found if found is not None and found.covers(record.offset) else None


def poison(record: InputRecord, detail: str, *, partitions: int) -> Rejected:
    """A record that is given up. Its tenant is taken from header or key, since its value is what nobody may open."""
    named = record.headers.get(HEADER_TENANT_ID) or record.key or b""
    tenant_id = named.decode("ascii", "replace")
    is_here = is_tenant_id(tenant_id) and partition_of(tenant_id, partitions) == record.partition
    return Rejected(
        record=record,
        reason=RejectReason.CRASHED_DECIDE,
        detail=detail,
        attempts=STOPS_BEFORE_POISON,
        tenant_id=TenantId(tenant_id) if is_here else None,
    )


def _ranges(records: Sequence[InputRecord]) -> dict[int, tuple[int, int]]:
    """Per partition first offset and the one after the last."""
    ranges: dict[int, tuple[int, int]] = {}
    for record in records:
        first, _ = ranges.get(record.partition, (record.offset, 0))
        ranges[record.partition] = (first, record.offset + 1)
    return ranges

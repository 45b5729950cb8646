"""One partition in memory: offsets with gaps, transactions with markers, a last stable offset, compaction.

What a read_committed consumer may see is decided here, as Kafka decides it: below the last stable offset, without
markers and without what was aborted.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import islice


class TransactionStatus(Enum):
    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(slots=True, kw_only=True, eq=False)
class LogTransaction:
    """One transaction; the same object stands in all partitions it touched, so that they turn at once."""

    number: int
    transactional_id: str
    status: TransactionStatus = TransactionStatus.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A record or, without key and value, the marker that ends `transaction` here."""

    offset: int
    timestamp: datetime
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    transaction: LogTransaction | None = None
    is_marker: bool = False

    @property
    def is_visible(self) -> bool:
        """Whether a read_committed consumer is ever shown it."""
        if self.is_marker:
            return False
        return self.transaction is None or self.transaction.status is TransactionStatus.COMMITTED


class PartitionLog:
    """Records by rising offset. `start` moves up by retention, never down."""

    def __init__(self) -> None:
        self.start = 0
        self._next = 0
        self._records: list[StoredRecord] = []
        # First offset per open transaction, in order of opening: the first entry is the last stable offset.
        self._open: dict[LogTransaction, int] = {}

    @property
    def high_watermark(self) -> int:
        return self._next

    @property
    def last_stable_offset(self) -> int:
        return min(self._open.values(), default=self._next)

    def append(
        self,
        *,
        timestamp: datetime,
        key: bytes | None,
        value: bytes | None,
        headers: Mapping[str, bytes],
        transaction: LogTransaction | None,
    ) -> int:
        if transaction is not None:
            self._open.setdefault(transaction, self._next)
        record = StoredRecord(
            offset=self._next,
            timestamp=timestamp,
            key=key,
            value=value,
            headers=dict(headers),
            transaction=transaction,
        )
        return self._keep(record)

    def end_transaction(self, transaction: LogTransaction, *, timestamp: datetime) -> None:
        """Write the marker; the transaction's status says which one."""
        del self._open[transaction]
        self._keep(
            StoredRecord(
                offset=self._next,
                timestamp=timestamp,
                key=None,
                value=None,
                transaction=transaction,
                is_marker=True,
            )
        )

    def committed(self, *, start: int, end: int) -> Iterator[StoredRecord]:
        """What read_committed shows with start ≤ offset < end."""
        limit = min(end, self.last_stable_offset)
        for record in self._records[self._index_of(start) :]:
            if record.offset >= limit:
                return
            if record.is_visible:
                yield record

    def everything(self) -> tuple[StoredRecord, ...]:
        """As read_uncommitted would show it, markers included: for auditors and tests."""
        return tuple(self._records)

    def last_committed(self, most: int) -> Sequence[StoredRecord]:
        """In their order."""
        stable = self._index_of(self.last_stable_offset)
        visible = (record for record in reversed(self._records[:stable]) if record.is_visible)
        return tuple(islice(visible, most))[::-1]

    def delete_before(self, offset: int) -> None:
        """Retention: the log begins at `offset` (at most the high watermark)."""
        self.start = max(self.start, min(offset, self._next))
        self._records = self._records[self._index_of(self.start) :]

    def compact(self, *, older_than: datetime | None = None, keep_tombstones: bool = True) -> None:
        """One pass of the cleaner: the last copy of each key stays, at its offset.

        It ends at the last stable offset, and at the first record that is not `older_than` where that is given.
        """
        clean_end = self._index_of(self.last_stable_offset)
        for at, record in enumerate(self._records[:clean_end]):
            if older_than is not None and record.timestamp >= older_than:
                clean_end = at
                break
        dirty = self._records[clean_end:]
        last: dict[bytes | None, int] = {}
        for record in self._records[:clean_end]:
            if record.is_visible:
                last[record.key] = record.offset
        kept = [
            record
            for record in self._records[:clean_end]
            if record.is_visible
            and last[record.key] == record.offset
            and (keep_tombstones or record.value is not None)
        ]
        self._records = kept + dirty

    def _keep(self, record: StoredRecord) -> int:
        self._records.append(record)
        self._next += 1
        return record.offset

    def _index_of(self, offset: int) -> int:
        return bisect_left(self._records, offset, key=lambda record: record.offset)

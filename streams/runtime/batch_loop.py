"""One member's loop over batches: which partitions are ours, where each stands, and what each projection does with it.

Rebalance, step by step: 1. claim the checkpoints (epoch + 1); 2. a committed offset below `hint_acked` is an operator's
reset: read again from there, else from the checkpoint; 3. what is quarantined stays paused. Per batch: 4. rows and
checkpoint in one transaction, per projection; 5. only then the broker's offset, as a hint.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from streams.runtime.checkpoints import CheckpointStore, Position
from streams.runtime.metrics import Metrics
from streams.runtime.quarantine import (
    Break,
    QuarantinedPartition,
    QuarantineReason,
    QuarantineStore,
)
from streams.runtime.records import Record, RecordSource, TopicPartition

_log = structlog.get_logger()

# A release, or another projection's verdict about a tenant, is noticed within this time.
QUARANTINE_POLL = timedelta(seconds=2)


class Clock(Protocol):
    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What a batch has of one partition: those below `position.next_offset` are being read again.

    `end` = the offset after the last record, passed-over ones included.
    """

    position: Position
    records: tuple[Record, ...]
    end: int

    @property
    def at(self) -> TopicPartition:
        return self.position.at


@dataclass(slots=True, kw_only=True)
class Stored:
    """What a projection did: new positions, rows that a re-read had to restore, and where it had to stop."""

    positions: dict[TopicPartition, Position] = field(default_factory=dict)
    restored: dict[TopicPartition, int] = field(default_factory=dict)
    breaks: dict[TopicPartition, Break] = field(default_factory=dict)


class Projection(Protocol):
    """One kind of topic into its tables."""

    @property
    def name(self) -> str:
        """Of its checkpoint rows."""
        ...

    def serves(self, topic: str) -> bool: ...

    async def store(self, slices: Sequence[Slice]) -> Stored:
        """Rows and checkpoints in one transaction; a partition with a break keeps what lies before it.

        Raises OwnershipLostError, DatabaseUnavailableError, BrokerUnavailableError.
        """
        ...

    def forget(self, partitions: Sequence[TopicPartition]) -> None:
        """Drop what was kept in memory of them: somebody else may write them now."""
        ...

    async def idle(self, owned: Collection[TopicPartition]) -> None:
        """Work that waits for other records or for time; called after each batch and while there is none.

        `owned` = its partitions, but for the paused.
        """
        ...


@dataclass(slots=True, kw_only=True)
class _Owned:
    """A partition of ours. `cursor` = the next offset to read; below `reread_until` the rows are there already."""

    projection: Projection
    position: Position
    cursor: int
    reread_until: int | None = None
    restored: int = 0
    is_paused: bool = False


class BatchLoop:
    """A PartitionOwner; the source is told what to pause. Not for concurrent use."""

    def __init__(
        self,
        *,
        source: RecordSource,
        projections: Sequence[Projection],
        checkpoints: CheckpointStore,
        quarantine: QuarantineStore,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._source = source
        self._projections = projections
        self._checkpoints = checkpoints
        self._quarantine = quarantine
        self._clock = clock
        self._metrics = metrics
        self._owned: dict[TopicPartition, _Owned] = {}
        self._skipped: frozenset[tuple[TopicPartition, int]] = frozenset()
        self._hints: dict[TopicPartition, int] = {}
        self._quarantine_due: datetime | None = None
        self._restored_total = 0
        self._was_assigned = False

    @property
    def positions(self) -> Mapping[TopicPartition, Position]:
        return {at: owned.position for at, owned in self._owned.items()}

    @property
    def is_assigned(self) -> bool:
        """Whether the group has given us anything yet, be it nothing."""
        return self._was_assigned

    async def run_once(self) -> int:
        """Read a batch, store it, hint it; the number of records. The simulator's step, and the agent's."""
        records = await self._source.read()
        await self.store(records)
        return len(records)

    async def assigned(
        self, committed: Mapping[TopicPartition, int | None]
    ) -> Mapping[TopicPartition, int]:
        """Steps 1 to 3."""
        self._was_assigned = True
        serving = {at: self._serving(at.topic) for at in committed}
        claimed = await self._checkpoints.claim(
            {at: projection.name for at, projection in serving.items()}
        )
        for at, position in claimed.items():
            self._owned[at] = _owned(serving[at], position, committed[at])
            serving[at].forget([at])
        self._skipped = await self._quarantine.skipped(self._owned.keys())
        for row in await self._open_rows():
            if row.found.reason is QuarantineReason.UNKNOWN_SCHEMA and row.at in claimed:
                await self._quarantine.release(
                    quarantine_id=row.quarantine_id,
                    released_by="paybond-streams",
                    reason="assigned again: this release may know the schema",
                    now=self._clock.now(),
                )
            else:
                self._owned[row.at].is_paused = True
        again = [owned for at, owned in self._owned.items() if at in claimed and _is_reread(owned)]
        if again:
            self._restored_total = 0
            _log.warning("reread_started", partitions=len(again))
        self._show()
        return {at: self._owned[at].cursor for at in claimed if not self._owned[at].is_paused}

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self._hints |= self._source.acknowledged()
        await self._note_hints()
        for at in partitions:
            owned = self._owned.pop(at, None)
            if owned is not None:
                owned.projection.forget([at])
        self._show()

    async def store(self, records: Sequence[Record]) -> None:
        """Steps 4 and 5, then what waits. A record that is not ours, paused, or read before is passed over."""
        slices = self._slices(records)
        for projection in self._projections:
            mine = [part for part in slices if self._owned[part.at].projection is projection]
            if mine:
                await self._settle(mine, await projection.store(mine))
        if slices:
            self._source.hint({part.at: self._hint_of(part.at) for part in slices})
        for projection in self._projections:
            await projection.idle(self._running(projection))
        self._hints |= self._source.acknowledged()
        if not records:
            await self._note_hints()
        await self._follow_quarantine()

    async def stopped(self) -> None:
        """After the source has stopped: its last acknowledgements."""
        self._hints |= self._source.acknowledged()
        await self._note_hints()

    def _serving(self, topic: str) -> Projection:
        return next(projection for projection in self._projections if projection.serves(topic))

    def _running(self, projection: Projection) -> frozenset[TopicPartition]:
        return frozenset(
            at
            for at, owned in self._owned.items()
            if owned.projection is projection and not owned.is_paused
        )

    def _slices(self, records: Sequence[Record]) -> list[Slice]:
        taken: dict[TopicPartition, list[Record]] = {}
        ends: dict[TopicPartition, int] = {}
        for record in records:
            owned = self._owned.get(record.at)
            if (
                owned is None
                or owned.is_paused
                or record.offset < ends.get(record.at, owned.cursor)
            ):
                continue
            ends[record.at] = record.offset + 1
            kept = taken.setdefault(record.at, [])
            if (record.at, record.offset) not in self._skipped:
                kept.append(record)
        return [
            Slice(position=self._owned[at].position, records=tuple(kept), end=ends[at])
            for at, kept in sorted(taken.items())
        ]

    async def _settle(self, slices: Sequence[Slice], stored: Stored) -> None:
        for part in slices:
            owned = self._owned[part.at]
            owned.position = stored.positions.get(part.at, owned.position)
            owned.restored += stored.restored.get(part.at, 0)
            found = stored.breaks.get(part.at)
            if found is None:
                owned.cursor = part.end
                self._finish_reread(part.at, owned)
            else:
                owned.cursor = owned.position.next_offset
                await self._stop(owned, found)

    async def _stop(self, owned: _Owned, found: Break) -> None:
        at = owned.position.at
        owned.is_paused = True
        owned.projection.forget([at])
        await self._source.pause(at)
        await self._quarantine.put(
            projection=owned.projection.name, at=at, found=found, now=self._clock.now()
        )
        _log.error(
            "quarantined",
            topic=at.topic,
            partition=at.partition,
            tenant_id=found.tenant_id,
            offset=found.offset,
            seq=found.seq,
            reason=found.reason.value,
            detail=found.detail,
        )
        self._show()

    def _finish_reread(self, at: TopicPartition, owned: _Owned) -> None:
        if owned.reread_until is None or owned.cursor < owned.reread_until:
            return
        owned.reread_until = None
        self._restored_total += owned.restored
        self._metrics.count("paybond_streams_restored_rows_total", by=owned.restored)
        _log.info(
            "reread_of_partition_finished",
            topic=at.topic,
            partition=at.partition,
            restored=owned.restored,
        )
        owned.restored = 0
        if not any(_is_reread(other) for other in self._owned.values()):
            # Spelled out as well: this is the line that an operator waits for.
            _log.warning(
                "reread_finished",
                restored=self._restored_total,
                summary=f"restored={self._restored_total}",
            )

    def _hint_of(self, at: TopicPartition) -> int:
        return self._owned[at].cursor

    async def _note_hints(self) -> None:
        """Only what the broker has acknowledged, and never downwards: during a re-read the old one stands."""
        moved: list[tuple[Position, int]] = []
        for at, offset in self._hints.items():
            owned = self._owned.get(at)
            if owned is None or offset <= (owned.position.hint_acked or -1):
                continue
            moved.append((owned.position, offset))
            owned.position = replace(owned.position, hint_acked=offset)
        self._hints.clear()
        await self._checkpoints.acknowledge(moved)

    async def _open_rows(self) -> Sequence[QuarantinedPartition]:
        rows = await self._quarantine.open_rows()
        return [
            row
            for row in rows
            if row.at in self._owned and self._owned[row.at].projection.name == row.projection
        ]

    async def _follow_quarantine(self) -> None:
        """Pause what somebody else quarantined, resume what was released: both are only rows."""
        now = self._clock.now()
        if self._quarantine_due is not None and now < self._quarantine_due:
            return
        self._quarantine_due = now + QUARANTINE_POLL
        quarantined = {row.at for row in await self._open_rows()}
        changed = [
            at for at, owned in self._owned.items() if owned.is_paused != (at in quarantined)
        ]
        if not changed:
            return
        self._skipped = await self._quarantine.skipped(self._owned.keys())
        for at in changed:
            owned = self._owned[at]
            owned.is_paused = at in quarantined
            if owned.is_paused:
                await self._source.pause(at)
            else:
                await self._source.resume(at, offset=owned.cursor)
            _log.warning(
                "quarantine_followed",
                topic=at.topic,
                partition=at.partition,
                is_paused=owned.is_paused,
            )
        self._show()

    def _show(self) -> None:
        paused = sum(owned.is_paused for owned in self._owned.values())
        self._metrics.gauge("paybond_quarantined_tenants", paused)
        self._metrics.gauge("paybond_partitions_owned", len(self._owned) - paused)


def _owned(projection: Projection, position: Position, committed: int | None) -> _Owned:
    # Between `hint_acked` and the checkpoint lies a crash, not an order; and no offset at all is no hint. A checkpoint
    # that was set back itself may lie below both (in the middle of a re-read): what follows it is read first.
    is_reset = (
        committed is not None
        and position.hint_acked is not None
        and committed < min(position.hint_acked, position.next_offset)
    )
    if not is_reset or committed is None:
        return _Owned(projection=projection, position=position, cursor=position.next_offset)
    return _Owned(
        projection=projection,
        position=position,
        cursor=committed,
        reread_until=position.next_offset,
    )


def _is_reread(owned: _Owned) -> bool:
    return owned.reread_until is not None and not owned.is_paused

"""Checkpoints, quarantine, dead letters and the clock in memory: what the same ports do in Postgres and Kafka."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas.errors import OwnershipLostError
from schemas.messages.operations import DeadLetter
from streams.runtime.checkpoints import Advance, Position
from streams.runtime.quarantine import Break, QuarantinedPartition
from streams.runtime.records import TopicPartition


class MemoryClock:
    """Moves only when told to."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by


class MemoryCheckpoints:
    """`advance` is what a transaction of the tables calls first."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, TopicPartition], Position] = {}

    async def claim(
        self, wanted: Mapping[TopicPartition, str]
    ) -> Mapping[TopicPartition, Position]:
        claimed = {}
        for at, projection in wanted.items():
            found = self.rows.get((projection, at)) or Position(
                projection=projection, at=at, epoch=0
            )
            claimed[at] = self.rows[projection, at] = replace(found, epoch=found.epoch + 1)
        return claimed

    async def acknowledge(self, hints: Sequence[tuple[Position, int]]) -> None:
        for position, offset in hints:
            found = self.rows[position.projection, position.at]
            if found.epoch == position.epoch:
                self.rows[position.projection, position.at] = replace(found, hint_acked=offset)

    async def positions(self) -> Sequence[Position]:
        return [self.rows[key] for key in sorted(self.rows)]

    def advance(self, moves: Iterable[Advance]) -> None:
        """All of them or none. Raises OwnershipLostError."""
        rows = dict(self.rows)
        for move in moves:
            before = move.before
            found = rows.get((before.projection, before.at))
            if found is None or (found.epoch, found.next_offset) != (
                before.epoch,
                before.next_offset,
            ):
                raise OwnershipLostError(
                    resource=f"{before.projection} of {before.at.topic}/{before.at.partition}",
                    reason="the checkpoint has a newer epoch or another offset",
                )
            rows[before.projection, before.at] = replace(
                move.after, epoch=found.epoch, hint_acked=found.hint_acked
            )
        self.rows = rows


@dataclass(slots=True, kw_only=True)
class _Row:
    """`release` null = open; else by whom, why and when."""

    row: QuarantinedPartition
    release: tuple[str, str, datetime] | None = None


@dataclass(slots=True)
class MemoryQuarantine:
    _rows: list[_Row] = field(default_factory=list)
    _skipped: dict[tuple[TopicPartition, int], tuple[str, str, datetime]] = field(
        default_factory=dict
    )

    async def put(
        self, *, projection: str, at: TopicPartition, found: Break, now: datetime
    ) -> None:
        if self.is_open(projection, at):
            return
        row = QuarantinedPartition(
            quarantine_id=len(self._rows) + 1, projection=projection, at=at, found=found, since=now
        )
        self._rows.append(_Row(row=row))

    async def open_rows(self) -> Sequence[QuarantinedPartition]:
        return [held.row for held in self._rows if held.release is None]

    async def release(
        self, *, quarantine_id: int, released_by: str, reason: str, now: datetime
    ) -> bool:
        for held in self._rows:
            if held.row.quarantine_id == quarantine_id and held.release is None:
                held.release = (released_by, reason, now)
                return True
        return False

    async def skip(
        self, *, at: TopicPartition, offset: int, approved_by: str, reason: str, now: datetime
    ) -> None:
        self._skipped.setdefault((at, offset), (approved_by, reason, now))

    async def skipped(
        self, partitions: Collection[TopicPartition]
    ) -> frozenset[tuple[TopicPartition, int]]:
        return frozenset(order for order in self._skipped if order[0] in partitions)

    def is_open(self, projection: str, at: TopicPartition) -> bool:
        return any(
            held.release is None and (held.row.projection, held.row.at) == (projection, at)
            for held in self._rows
        )


@dataclass(slots=True)
class MemoryDeadLetters:
    letters: list[DeadLetter] = field(default_factory=list)

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        self.letters.extend(letters)

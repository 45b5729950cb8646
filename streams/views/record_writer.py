"""Records of topics that many tenants share: what can't be read goes to dead letters, the others go on.

1. read each record; one with an unknown schema parks its partition there; 2. one write; 3. what the database refuses
is bisected to its record; 4. dead letters are safe before the checkpoint moves past them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from schemas.errors import DataRefusedError, IntegrityError, UnknownSchemaError
from schemas.messages.operations import DeadLetter
from schemas.topics import tenant_of_key
from streams.runtime.batch_loop import Clock, Slice, Stored
from streams.runtime.checkpoints import Advance, Position
from streams.runtime.dead_letters import DeadLetters, dead_letter_of
from streams.runtime.metrics import Metrics
from streams.runtime.quarantine import Break, QuarantineReason
from streams.runtime.records import Record, TopicPartition

_log = structlog.get_logger()
Change = TypeVar("Change")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read(Generic[Change]):
    """`change` null: nothing to write, by the topic's own rules."""

    record: Record
    change: Change | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordWriter(Generic[Change]):
    """`read(record, is_known)` raises IntegrityError; `write` is one transaction, of at most one change per key."""

    group: str
    read: Callable[[Record, bool], Change | None]
    write: Callable[[Sequence[Advance], Sequence[Change]], Awaitable[Mapping[TopicPartition, int]]]
    dead_letters: DeadLetters
    clock: Clock
    metrics: Metrics

    async def store(self, slices: Sequence[Slice]) -> Stored:
        stored = Stored()
        reads: list[_Read[Change]] = []
        ends: dict[TopicPartition, int] = {}
        letters: list[DeadLetter] = []
        for part in slices:
            ends[part.at] = self._read_slice(part, reads, letters, stored)
        await self._bury(letters)
        positions = {part.at: part.position for part in slices}
        await self._write(reads, positions, ends, stored)
        stored.positions |= positions
        return stored

    def _read_slice(
        self,
        part: Slice,
        reads: list[_Read[Change]],
        letters: list[DeadLetter],
        stored: Stored,
    ) -> int:
        """Step 1; the offset up to which the slice is done."""
        for record in part.records:
            try:
                change = self.read(record, record.offset < part.position.next_offset)
            except UnknownSchemaError as error:
                stored.breaks[part.at] = Break(
                    reason=QuarantineReason.UNKNOWN_SCHEMA, detail=str(error), offset=record.offset
                )
                return record.offset
            except IntegrityError as error:
                letters.append(self._letter(record, error))
                continue
            reads.append(_Read(record=record, change=change))
        return part.end

    async def _write(
        self,
        reads: Sequence[_Read[Change]],
        positions: dict[TopicPartition, Position],
        ends: Mapping[TopicPartition, int],
        stored: Stored,
    ) -> None:
        """Steps 2 and 3: `positions` are moved to `ends`, in place."""
        advances = [
            Advance(before=before, after=before.moved(max(ends[at], before.next_offset)))
            for at, before in positions.items()
        ]
        changes = [one.change for one in reads if one.change is not None]
        try:
            restored = await self.write(advances, changes)
        except DataRefusedError as error:
            if len(reads) > 1:
                middle = len(reads) // 2
                between = _ends_of(reads[:middle], positions)
                await self._write(reads[:middle], positions, between, stored)
                await self._write(reads[middle:], positions, ends, stored)
                return
            await self._bury([self._letter(one.record, error) for one in reads])
            restored = await self.write(advances, [])
        for move in advances:
            positions[move.before.at] = move.after
        for at, rows in restored.items():
            stored.restored[at] = stored.restored.get(at, 0) + rows

    def _letter(self, record: Record, error: IntegrityError) -> DeadLetter:
        # The key is all that says whose a record is that can't be read; it is believed for this notice only.
        tenant_id = tenant_of_key(record.key) if record.key is not None else None
        return dead_letter_of(
            record,
            group=self.group,
            reason=str(error),
            now=self.clock.now(),
            tenant_id=tenant_id,
        )

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        """Step 4."""
        if not letters:
            return
        await self.dead_letters.put(letters)
        for letter in letters:
            self.metrics.count("paybond_dead_letters_total")
            _log.error(
                "dead_letter",
                topic=letter.topic,
                partition=letter.partition,
                offset=letter.offset,
                reason=letter.reason,
            )


def _ends_of(
    reads: Sequence[_Read[Change]], positions: Mapping[TopicPartition, Position]
) -> Mapping[TopicPartition, int]:
    ends = {at: position.next_offset for at, position in positions.items()}
    return ends | {one.record.at: one.record.offset + 1 for one in reads}

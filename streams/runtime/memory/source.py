"""A log and its group in memory: offsets with holes, hints that may be lost, rebalances between two batches."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from streams.runtime.records import PartitionOwner, Record, TopicPartition


class MemoryLog:
    """Topics and the group's committed offsets: what outlives a process."""

    def __init__(self) -> None:
        self._records: dict[TopicPartition, list[Record]] = {}
        self._next: dict[TopicPartition, int] = {}
        self.committed: dict[TopicPartition, int] = {}

    def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        timestamp: datetime,
        partition: int = 0,
        gap: int = 0,
    ) -> Record:
        """`gap` = offsets left out before it, as transaction markers and compaction do."""
        at = TopicPartition(topic=topic, partition=partition)
        offset = self._next.get(at, 0) + gap
        record = Record(at=at, offset=offset, key=key, value=value, timestamp=timestamp)
        self._records.setdefault(at, []).append(record)
        self._next[at] = offset + 1
        return record

    @property
    def partitions(self) -> Sequence[TopicPartition]:
        return sorted(self._records)

    def read(self, at: TopicPartition, *, offset: int, records_max: int) -> Sequence[Record]:
        found = [record for record in self._records[at] if record.offset >= offset]
        return found[:records_max]


class MemorySource:
    """A RecordSource over a MemoryLog. `take` and `give_back` are the group's coordinator."""

    def __init__(self, log: MemoryLog, *, records_max: int = 100) -> None:
        self._log = log
        self._records_max = records_max
        self._owner: PartitionOwner | None = None
        self._cursors: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._acknowledged: dict[TopicPartition, int] = {}
        self.loses_hints = False

    async def start(self, owner: PartitionOwner) -> None:
        self._owner = owner

    async def take(self, partitions: Iterable[TopicPartition]) -> None:
        """The group assigns these."""
        assert self._owner is not None, "start first"
        wanted = list(partitions)
        begins = await self._owner.assigned({at: self._log.committed.get(at) for at in wanted})
        for at in wanted:
            self._cursors[at] = begins.get(at, 0)
            self._paused.discard(at)
            if at not in begins:
                self._paused.add(at)

    async def give_back(self, partitions: Iterable[TopicPartition]) -> None:
        """The group takes these away."""
        assert self._owner is not None, "start first"
        gone = list(partitions)
        await self._owner.revoked(gone)
        for at in gone:
            self._cursors.pop(at, None)
            self._paused.discard(at)

    async def read(self) -> Sequence[Record]:
        batch: list[Record] = []
        for at in sorted(self._cursors):
            if at in self._paused:
                continue
            room = self._records_max - len(batch)
            batch += self._log.read(at, offset=self._cursors[at], records_max=room)
            if batch and batch[-1].at == at:
                self._cursors[at] = batch[-1].offset + 1
        return batch

    async def pause(self, partition: TopicPartition) -> None:
        self._paused.add(partition)

    async def resume(self, partition: TopicPartition, *, offset: int) -> None:
        self._paused.discard(partition)
        self._cursors[partition] = offset

    def hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.loses_hints:
            return
        for at, offset in offsets.items():
            if at in self._cursors:
                self._log.committed[at] = offset
                self._acknowledged[at] = offset

    def acknowledged(self) -> Mapping[TopicPartition, int]:
        taken, self._acknowledged = self._acknowledged, {}
        return taken

    async def stop(self) -> None:
        await self.give_back(list(self._cursors))

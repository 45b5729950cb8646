"""What the views of topics that many tenants share have in common: one topic, one RecordWriter, no memory."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from schemas.topics import GROUP_VIEWS
from streams.runtime.batch_loop import Clock, Slice, Stored
from streams.runtime.checkpoints import Advance
from streams.runtime.dead_letters import DeadLetters
from streams.runtime.metrics import Metrics
from streams.runtime.records import Record, TopicPartition
from streams.views.record_writer import RecordWriter

Tables = TypeVar("Tables")
Change = TypeVar("Change")


class TopicView(ABC, Generic[Tables, Change]):
    """A Projection. A view says what a record changes, and how changes are written."""

    name: ClassVar[str]
    topic: ClassVar[str]

    def __init__(
        self, *, tables: Tables, dead_letters: DeadLetters, clock: Clock, metrics: Metrics
    ) -> None:
        self._tables = tables
        self._clock = clock
        self._writer = RecordWriter(
            group=GROUP_VIEWS,
            read=self._read,
            write=self._write,
            dead_letters=dead_letters,
            clock=clock,
            metrics=metrics,
        )

    def serves(self, topic: str) -> bool:
        return topic == self.topic

    async def store(self, slices: Sequence[Slice]) -> Stored:
        return await self._writer.store(slices)

    def forget(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing is kept in memory."""

    async def idle(self, owned: Collection[TopicPartition]) -> None:
        """Nothing waits."""

    @abstractmethod
    def _read(self, record: Record, is_known: bool) -> Change | None:  # noqa: FBT001 – RecordWriter's call
        """Null: nothing to write. Raises IntegrityError for a dead letter, UnknownSchemaError to stop there."""

    @abstractmethod
    async def _write(
        self, advances: Sequence[Advance], changes: Sequence[Change]
    ) -> Mapping[TopicPartition, int]:
        """One transaction with at most one change per key: the newest; rows that a re-read restored."""

"""A record as every loop sees it, whoever read it: librdkafka, or a log in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TopicPartition:
    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`timestamp` is the record's own; `value` null = a tombstone."""

    at: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: datetime


class PartitionOwner(Protocol):
    """Who reads what a source is assigned. Called between batches only: none is ever in flight then.

    Neither method may wait for the source itself: it is inside the rebalance meanwhile.
    """

    async def assigned(
        self, committed: Mapping[TopicPartition, int | None]
    ) -> Mapping[TopicPartition, int]:
        """Where to begin each of them; one that is missing from the answer stays paused.

        `committed`: the broker's offset of the group, None if it has none. Raises DatabaseUnavailableError.
        """
        ...

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing of them is written from now on: the next owner's epoch would refuse it."""
        ...


class RecordSource(Protocol):
    """Batches of committed records of the partitions that the group gives us, in offset order per partition."""

    async def start(self, owner: PartitionOwner) -> None:
        """Join the group. Raises BrokerUnavailableError."""
        ...

    async def read(self) -> Sequence[Record]:
        """The next batch, empty after a short wait. Calls the owner on a rebalance.

        Raises BrokerUnavailableError; ConfigurationError if nothing is assigned although there are topics to read.
        """
        ...

    async def pause(self, partition: TopicPartition) -> None: ...

    async def resume(self, partition: TopicPartition, *, offset: int) -> None: ...

    def hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit to the broker, without waiting: only a hint, Postgres knows better."""
        ...

    def acknowledged(self) -> Mapping[TopicPartition, int]:
        """Hints that the broker has acknowledged since the last call."""
        ...

    async def stop(self) -> None:
        """Wait for the last hints and leave the group; `acknowledged` may be asked once more afterwards."""
        ...

"""A consumer group in memory, as KIP-848 runs it: who owns what, under which generation, and the group's offsets.

A partition reaches its new owner only after the old one has let it go at its next poll, left, or was expelled. An
offset commit is judged by generation and membership, never by ownership, as Kafka does (measured).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harbor.adapters.memory.partition_log import LogTransaction
from harbor.engine.ports import AbortableError

TopicPartition = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEpoch:
    """What a member knows of its own standing when it takes the group metadata."""

    group: str
    member: str
    generation: int


@dataclass(slots=True, kw_only=True)
class _Member:
    topic: str
    generation: int
    owned: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnershipChange:
    assigned: tuple[int, ...] = ()
    revoked: tuple[int, ...] = ()


class ConsumerGroup:
    """All members subscribe to one topic each; partitions go round by member name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation = 0
        self._members: dict[str, _Member] = {}
        self._offsets: dict[TopicPartition, int] = {}
        self._pending: dict[LogTransaction, dict[TopicPartition, int]] = {}

    def join(self, member: str, topic: str) -> None:
        assert member not in self._members, f"{member} is a member of {self.name} already"
        self.generation += 1
        self._members[member] = _Member(topic=topic, generation=self.generation)

    def remove(self, member: str) -> None:
        """The member left, or its session ran out (then it is a zombie, and learns of it only when it speaks)."""
        if self._members.pop(member, None) is not None:
            self.generation += 1

    def is_member(self, member: str) -> bool:
        return member in self._members

    def rebalance(self) -> None:
        """A rebalance for no reason of the members': the generation goes up, ownership stays."""
        self.generation += 1

    def epoch_of(self, member: str) -> MemberEpoch:
        known = self._members.get(member)
        generation = known.generation if known is not None else -1
        return MemberEpoch(group=self.name, member=member, generation=generation)

    def owned_by(self, member: str) -> frozenset[int]:
        known = self._members.get(member)
        return frozenset(known.owned) if known is not None else frozenset()

    def poll(self, member: str, partitions: int) -> OwnershipChange:
        """The member's poll: it learns the generation, lets go what is another's, takes what is free and its own."""
        known = self._members[member]
        known.generation = self.generation
        target = self._targets(known.topic, partitions)[member]
        revoked = known.owned - target
        known.owned -= revoked
        taken = {
            partition
            for name, other in self._members.items()
            if name != member and other.topic == known.topic
            for partition in other.owned
        }
        assigned = target - known.owned - taken
        known.owned |= assigned
        return OwnershipChange(assigned=tuple(sorted(assigned)), revoked=tuple(sorted(revoked)))

    def check(self, epoch: MemberEpoch) -> None:
        """Raises AbortableError as the coordinator refuses a commit of a stale or unknown member."""
        if epoch.member not in self._members:
            raise AbortableError(f"UNKNOWN_MEMBER_ID: {epoch.member} of {self.name}")
        if epoch.generation != self.generation:
            raise AbortableError(
                f"ILLEGAL_GENERATION: {epoch.generation}, the group is at {self.generation}"
            )

    def hold(self, transaction: LogTransaction, offsets: Mapping[TopicPartition, int]) -> None:
        """Offsets that count when the transaction commits."""
        self._pending.setdefault(transaction, {}).update(offsets)

    def settle(self, transaction: LogTransaction, *, is_committed: bool) -> None:
        held = self._pending.pop(transaction, {})
        if is_committed:
            self._offsets.update(held)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._offsets.update(offsets)

    def forget(self, partition: TopicPartition) -> None:
        """Lose a committed offset, as `kafka-consumer-groups --delete-offsets` does."""
        self._offsets.pop(partition, None)

    def committed(self, partition: TopicPartition) -> int | None:
        return self._offsets.get(partition)

    def is_pending(self, partition: TopicPartition) -> bool:
        """Whether an open transaction holds an offset: UNSTABLE_OFFSET_COMMIT."""
        return any(partition in held for held in self._pending.values())

    def _targets(self, topic: str, partitions: int) -> dict[str, set[int]]:
        names = sorted(name for name, member in self._members.items() if member.topic == topic)
        targets: dict[str, set[int]] = {name: set() for name in names}
        for partition in range(partitions):
            targets[names[partition % len(names)]].add(partition)
        return targets

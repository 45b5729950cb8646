"""The broker of a simulation: `MemoryKafka`, with a coordinator that ends sessions and transactions by time."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from harbor.adapters.memory.group import ConsumerGroup, OwnershipChange
from harbor.adapters.memory.log import MemoryKafka, ProducerHandle, _Producer

# Of every member: a process that says nothing for longer has lost its partitions.
SESSION = timedelta(seconds=6)
TRANSACTION_TIMEOUT = timedelta(seconds=10)


class _NotedGroup(ConsumerGroup):
    """Tells when somebody may get or lose something by its next poll."""

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        super().__init__(name)
        self._changed = changed

    def join(self, member: str, topic: str) -> None:
        super().join(member, topic)
        self._changed()

    def remove(self, member: str) -> None:
        super().remove(member)
        self._changed()

    def rebalance(self) -> None:
        super().rebalance()
        self._changed()

    def poll(self, member: str, partitions: int) -> OwnershipChange:
        change = super().poll(member, partitions)
        if change.assigned or change.revoked:
            self._changed()
        return change


class SimulatedKafka(MemoryKafka):
    """`version` grows with everything that a consumer may see anew, records or partitions.

    `stamp` is the broker's clock, which may be wrong; `now` is the time that passes.
    """

    def __init__(self, *, stamp: Callable[[], datetime], now: Callable[[], datetime]) -> None:
        super().__init__(now=stamp)
        self.version = 0
        self._passing = now
        self._began: dict[str, datetime] = {}
        # Under which epoch the last transaction of an id was committed, until the next one begins.
        self._committed: dict[str, int] = {}

    def append(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Mapping[str, bytes] | None = None,
    ) -> int:
        offset = super().append(topic, partition, key=key, value=value, headers=headers)
        self.version += 1
        return offset

    def begin(self, handle: ProducerHandle) -> None:
        super().begin(handle)
        self._committed.pop(handle.transactional_id, None)
        self._began[handle.transactional_id] = self._passing()

    def commit(self, handle: ProducerHandle) -> None:
        """Asked again after an answer that was lost, the coordinator says yes again."""
        if self._committed.get(handle.transactional_id) == handle.epoch:
            return
        super().commit(handle)
        self._committed[handle.transactional_id] = handle.epoch

    def group(self, name: str) -> ConsumerGroup:
        found = self._groups.get(name)
        if found is None:
            found = self._groups[name] = _NotedGroup(name, self._change)
        return found

    def _end(self, producer: _Producer, *, is_committed: bool) -> None:
        super()._end(producer, is_committed=is_committed)
        self._change()

    def _change(self) -> None:
        self.version += 1

    def time_out_transactions(self) -> list[str]:
        """Whose transaction was open for too long; it is aborted, and its holder fenced."""
        latest = self._passing() - TRANSACTION_TIMEOUT
        ended = [
            name
            for name, began in self._began.items()
            if began < latest and self.has_open_transaction(name)
        ]
        for name in ended:
            self.time_out_transaction(name)
            del self._began[name]
        return ended

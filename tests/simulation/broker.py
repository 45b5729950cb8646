"""The broker of a simulation: `MemoryKafka`, with a coordinator that ends sessions and transactions by time."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from harbor.adapters.memory.group import ConsumerGroup, OwnershipChange
from harbor.adapters.memory.log import MemoryKafka, ProducerHandle, _Producer
from harbor.adapters.memory.partition_log import LogTransaction, PartitionLog, TransactionStatus

# Of every member: a process that says nothing for longer has lost its partitions.
SESSION = timedelta(seconds=6)
TRANSACTION_TIMEOUT = timedelta(seconds=10)


class NotedGroup(ConsumerGroup):
    """Tells when somebody may get or lose something by its next poll."""

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        super().__init__(name)
        self._changed = changed
        self._turned = 0

    def join(self, member: str, topic: str) -> None:
        super().join(member, topic)
        self._changed()

    def remove(self, member: str) -> None:
        super().remove(member)
        self._changed()

    def rebalance(self) -> None:
        super().rebalance()
        self._changed()

    def exchange(self) -> None:
        """Everybody gets what another had, at the polls to come."""
        self._turned += 1
        self.rebalance()

    def poll(self, member: str, partitions: int) -> OwnershipChange:
        change = super().poll(member, partitions)
        if change.assigned or change.revoked:
            self._changed()
        return change

    def _targets(self, topic: str, partitions: int) -> dict[str, set[int]]:
        targets = super()._targets(topic, partitions)
        names = sorted(targets)
        return {
            name: targets[names[(at + self._turned) % len(names)]] for at, name in enumerate(names)
        }


class SimulatedKafka(MemoryKafka):
    """`version` grows with everything that a consumer may see anew, records or partitions.

    `stamp` is the broker's clock, which may be wrong; `now` is the time that passes. `marks_late` is asked at a commit
    whether its markers come one after the other, and `later` lets something happen some time after.
    """

    def __init__(
        self,
        *,
        stamp: Callable[[], datetime],
        now: Callable[[], datetime],
        marks_late: Callable[[], bool],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        super().__init__(now=stamp)
        self._marks_late = marks_late
        self._later = later
        # Committed, but not yet in all logs: who reads there waits for the marker.
        self._unmarked: list[tuple[LogTransaction, PartitionLog]] = []
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

    def init_transactions(self, transactional_id: str) -> ProducerHandle:
        self._mark_all(transactional_id)
        return super().init_transactions(transactional_id)

    def begin(self, handle: ProducerHandle) -> None:
        # CONCURRENT_TRANSACTIONS: the coordinator first ends the one before.
        self._mark_all(handle.transactional_id)
        super().begin(handle)
        self._committed.pop(handle.transactional_id, None)
        self._began[handle.transactional_id] = self._passing()

    def commit(self, handle: ProducerHandle) -> None:
        """Asked again after an answer that was lost, the coordinator says yes again."""
        if self._committed.get(handle.transactional_id) == handle.epoch:
            return
        super().commit(handle)
        self._committed[handle.transactional_id] = handle.epoch

    def group(self, name: str) -> NotedGroup:
        found = self._groups.get(name)
        if not isinstance(found, NotedGroup):
            found = self._groups[name] = NotedGroup(name, self._change)
        return found

    def _end(self, producer: _Producer, *, is_committed: bool) -> None:
        transaction = producer.transaction
        if transaction is not None and is_committed and self._marks_late():
            logs = tuple(producer.touched.values())
            transaction.status = TransactionStatus.COMMITTED
            # The group's offsets are one of the partitions, and here the first.
            for name in producer.groups:
                self.group(name).settle(transaction, is_committed=True)
            producer.transaction = None
            super()._end(producer, is_committed=True)
            for log in logs:
                self._unmarked.append((transaction, log))
                self._later(partial(self._mark, transaction, log))
        else:
            super()._end(producer, is_committed=is_committed)
        self._change()

    def _mark(self, transaction: LogTransaction, log: PartitionLog) -> None:
        if (transaction, log) in self._unmarked:
            self._unmarked.remove((transaction, log))
            log.end_transaction(transaction, timestamp=self._now())
            self._change()

    def _mark_all(self, transactional_id: str) -> None:
        for transaction, log in list(self._unmarked):
            if transaction.transactional_id == transactional_id:
                self._mark(transaction, log)

    def _change(self) -> None:
        self.version += 1

    @property
    def has_markers_to_come(self) -> bool:
        return bool(self._unmarked)

    @property
    def topics_made(self) -> int:
        return self._topics_made

    def clock(self) -> datetime:
        """What it stamps records with now."""
        return self._now()

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

"""`MemoryKafka`: a broker in memory with Kafka's semantics, one object shared by all who pretend to be processes.

Synchronous and deterministic: every call takes effect at once, time comes from the caller. Suspension, crashes and
delays are the adapters' (`harbor.adapters.memory.ports`), so that a simulator can put one before and after each call.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from harbor.adapters.memory.group import ConsumerGroup, MemberEpoch, TopicPartition
from harbor.adapters.memory.partition_log import (
    LogTransaction,
    PartitionLog,
    StoredRecord,
    TransactionStatus,
)
from harbor.engine.ports import AbortableError, FencedError
from schemas.topics import LEDGER_PREFIX, TOPICS, PartitionedBy, TopicSpec, spec_of

# Kafka's default `message.max.bytes`, where a topic sets none.
MESSAGE_BYTES_DEFAULT = 1_048_588


class RecordRefusedError(Exception):
    """The broker would never take this record: no such topic, no key on a compacted one, too large."""


@dataclass(slots=True, kw_only=True)
class _Topic:
    name: str
    topic_id: str
    is_compacted: bool
    compaction_lag: timedelta
    bytes_max: int
    partitions: tuple[PartitionLog, ...]


@dataclass(slots=True, kw_only=True)
class _Producer:
    """Of one transactional id: who holds it, and what that holder has open."""

    epoch: int = 0
    transaction: LogTransaction | None = None
    touched: dict[TopicPartition, PartitionLog] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    must_abort: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerHandle:
    """What `init_transactions` gives: worth something until the next holder of the same id comes."""

    transactional_id: str
    epoch: int


class MemoryKafka:
    """`now` is the broker's clock; it stamps every record (LogAppendTime)."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._topics: dict[str, _Topic] = {}
        self._groups: dict[str, ConsumerGroup] = {}
        self._producers: dict[str, _Producer] = {}
        self._topics_made = 0
        self._transactions_made = 0

    def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        is_compacted: bool = False,
        compaction_lag: timedelta = timedelta(),
        bytes_max: int = MESSAGE_BYTES_DEFAULT,
    ) -> None:
        """Does nothing where the topic exists. `compaction_lag` = how long the cleaner leaves a record alone."""
        if name in self._topics:
            return
        self._topics_made += 1
        self._topics[name] = _Topic(
            name=name,
            topic_id=f"memory-topic-{self._topics_made}",
            is_compacted=is_compacted,
            compaction_lag=compaction_lag,
            bytes_max=bytes_max,
            partitions=tuple(PartitionLog() for _ in range(partitions)),
        )

    def create_paybond_topics(self, *, partitions: int) -> None:
        """Every topic of `schemas.topics` but the ledgers, as `topics apply` makes them."""
        for spec in TOPICS:
            self._create_from(spec, spec.name, partitions)

    def create_ledger_topic(self, name: str) -> None:
        assert name.startswith(LEDGER_PREFIX)
        spec = spec_of(name)
        assert spec is not None
        self._create_from(spec, name, 1)

    def delete_topic(self, name: str) -> None:
        self._topics.pop(name, None)

    def topics(self) -> frozenset[str]:
        return frozenset(self._topics)

    def topic_id(self, name: str) -> str:
        return self._topic(name).topic_id

    def partitions_of(self, name: str) -> int:
        return len(self._topic(name).partitions)

    def partition(self, topic: str, partition: int) -> PartitionLog:
        return self._topic(topic).partitions[partition]

    def read(
        self, topic: str, partition: int, *, start: int = 0, end: int | None = None
    ) -> Iterator[StoredRecord]:
        """As a read_committed consumer: below the last stable offset, nothing aborted."""
        log = self.partition(topic, partition)
        return log.committed(start=start, end=log.high_watermark if end is None else end)

    def read_all(self, topic: str) -> Iterator[StoredRecord]:
        """Every committed record of every partition, partition by partition."""
        for partition in range(self.partitions_of(topic)):
            yield from self.read(topic, partition)

    def append(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Mapping[str, bytes] | None = None,
    ) -> int:
        """One record, acknowledged by all; its offset."""
        log = self._checked(topic, partition, key, value)
        return log.append(
            timestamp=self._now(),
            key=key,
            value=value,
            headers=headers or {},
            transaction=None,
        )

    def compact(self, topic: str, *, keep_tombstones: bool = True) -> None:
        """A pass of the cleaner over all partitions; nothing on a topic that is not compacted."""
        found = self._topic(topic)
        if found.is_compacted:
            lag = found.compaction_lag
            older_than = self._now() - lag if lag else None
            for log in found.partitions:
                log.compact(older_than=older_than, keep_tombstones=keep_tombstones)

    def init_transactions(self, transactional_id: str) -> ProducerHandle:
        """Take the id over: the last holder is fenced and its open transaction aborted."""
        producer = self._producers.setdefault(transactional_id, _Producer())
        self._end(producer, is_committed=False)
        producer.epoch += 1
        return ProducerHandle(transactional_id=transactional_id, epoch=producer.epoch)

    def begin(self, handle: ProducerHandle) -> None:
        producer = self._holder(handle)
        assert producer.transaction is None, "a transaction is open already"
        self._transactions_made += 1
        producer.transaction = LogTransaction(
            number=self._transactions_made, transactional_id=handle.transactional_id
        )

    def produce(
        self,
        handle: ProducerHandle,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Mapping[str, bytes] | None = None,
    ) -> int:
        """Raises FencedError, RecordRefusedError."""
        producer = self._holder(handle)
        assert producer.transaction is not None, "no transaction is open"
        log = self._checked(topic, partition, key, value)
        producer.touched[topic, partition] = log
        return log.append(
            timestamp=self._now(),
            key=key,
            value=value,
            headers=headers or {},
            transaction=producer.transaction,
        )

    def send_offsets(
        self, handle: ProducerHandle, offsets: Mapping[TopicPartition, int], epoch: MemberEpoch
    ) -> None:
        """Raises FencedError, AbortableError; after the latter the transaction can only be aborted."""
        producer = self._holder(handle)
        assert producer.transaction is not None, "no transaction is open"
        group = self.group(epoch.group)
        try:
            group.check(epoch)
        except AbortableError:
            producer.must_abort = True
            raise
        producer.groups.add(epoch.group)
        group.hold(producer.transaction, offsets)

    def commit(self, handle: ProducerHandle) -> None:
        """Raises FencedError, AbortableError."""
        producer = self._holder(handle)
        assert producer.transaction is not None, "no transaction is open"
        if producer.must_abort:
            raise AbortableError("the transaction failed before and can only be aborted")
        self._end(producer, is_committed=True)

    def abort(self, handle: ProducerHandle) -> None:
        """Raises FencedError."""
        self._end(self._holder(handle), is_committed=False)

    def has_open_transaction(self, transactional_id: str) -> bool:
        producer = self._producers.get(transactional_id)
        return producer is not None and producer.transaction is not None

    def time_out_transaction(self, transactional_id: str) -> None:
        """What the coordinator does after `transaction.timeout.ms`: abort, and fence who had it open."""
        producer = self._producers.get(transactional_id)
        if producer is not None and producer.transaction is not None:
            self._end(producer, is_committed=False)
            producer.epoch += 1

    def group(self, name: str) -> ConsumerGroup:
        return self._groups.setdefault(name, ConsumerGroup(name))

    def _topic(self, name: str) -> _Topic:
        found = self._topics.get(name)
        if found is None:
            raise RecordRefusedError(f"UNKNOWN_TOPIC_OR_PARTITION: {name}")
        return found

    def _create_from(self, spec: TopicSpec, name: str, partitions: int) -> None:
        self.create_topic(
            name,
            partitions=1 if spec.partitioned_by is PartitionedBy.SINGLE else partitions,
            is_compacted="compact" in spec.config["cleanup.policy"],
            compaction_lag=timedelta(
                milliseconds=int(spec.config.get("min.compaction.lag.ms", "0"))
            ),
            bytes_max=int(spec.config.get("max.message.bytes", MESSAGE_BYTES_DEFAULT)),
        )

    def _checked(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None
    ) -> PartitionLog:
        found = self._topic(topic)
        if found.is_compacted and key is None:
            raise RecordRefusedError(f"INVALID_RECORD: a record without a key on {topic}")
        if len(key or b"") + len(value or b"") > found.bytes_max:
            raise RecordRefusedError(f"MSG_SIZE_TOO_LARGE: on {topic}")
        return found.partitions[partition]

    def _holder(self, handle: ProducerHandle) -> _Producer:
        producer = self._producers[handle.transactional_id]
        if producer.epoch != handle.epoch:
            raise FencedError(f"another producer holds {handle.transactional_id}")
        return producer

    def _end(self, producer: _Producer, *, is_committed: bool) -> None:
        """Markers and offsets at once: nobody ever sees half of a transaction."""
        transaction = producer.transaction
        if transaction is not None:
            transaction.status = (
                TransactionStatus.COMMITTED if is_committed else TransactionStatus.ABORTED
            )
            for log in producer.touched.values():
                log.end_transaction(transaction, timestamp=self._now())
            for name in producer.groups:
                self.group(name).settle(transaction, is_committed=is_committed)
        producer.transaction = None
        producer.touched.clear()
        producer.groups.clear()
        producer.must_abort = False

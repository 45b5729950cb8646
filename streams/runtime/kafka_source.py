"""confluent-kafka behind `RecordSource`: one consumer on one thread, positioned by Postgres and not by the broker.

A rebalance happens inside `read`, between two batches: 1. assigned: ask for the group's offsets; 2. the owner claims
the checkpoints and says where to begin; 3. assign there, what has no answer paused. Revoked: commit what is stored,
tell the owner, give back. On a stop the batch in flight has been stored before this is called.
"""

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import BrokerUnavailableError, ConfigurationError, PaybondError
from schemas.instants import from_micros
from streams.runtime.records import PartitionOwner, Record, TopicPartition

Answer = TypeVar("Answer")

BATCH_RECORDS_MAX = 2_000
READ_WAIT_SECONDS = 0.1
# A transaction in PostgreSQL costs nearly the same for five records as for five hundred, so batches of a busy topic
# begin this far apart unless one is full. After a pause the first record waits for nobody.
GATHER_SECONDS = 0.05
# A new topic is seen after 2–11 s; a subscription that matches nothing is silent for ever.
UNASSIGNED_SECONDS_MAX = 30.0
_REQUEST_SECONDS_MAX = 10.0
# Claims wait for a predecessor's transaction, which its statement time-out ends.
_OWNER_SECONDS_MAX = 60.0
_SEEK_TRIES_MAX = 20
_SEEK_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """`topics`: names, or expressions that begin with `^`. `expected` = what must not stay unassigned in the group."""

    topics: tuple[str, ...]
    expected: str
    is_incremental: bool


class KafkaSource:
    """`config` of `consumer_settings`. Where the broker has no record at our offset, reading begins at its oldest.

    That is for topics with retention. On a ledger topic a gap can't hide behind it: the chain is checked by seq.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        subscription: Subscription,
        records_max: int = BATCH_RECORDS_MAX,
        unassigned_seconds_max: float = UNASSIGNED_SECONDS_MAX,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._config = dict(config) | {
            "auto.offset.reset": "earliest",
            "error_cb": self._on_error,
            "on_commit": self._on_commit,
        }
        self._subscription = subscription
        self._records_max = records_max
        self._unassigned_seconds_max = unassigned_seconds_max
        self._gather_seconds = gather_seconds
        self._gather_until = 0.0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka-source")
        self._consumer: Consumer | None = None
        self._owner: PartitionOwner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._assigned: set[TopicPartition] = set()
        self._unassigned_since = 0.0
        self._pending: dict[TopicPartition, int] = {}
        self._acknowledged: dict[TopicPartition, int] = {}
        self._failure: BaseException | None = None

    async def start(self, owner: PartitionOwner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._unassigned_since = self._loop.time()
        await self._run(self._subscribe)

    async def read(self) -> Sequence[Record]:
        records = await self._run(self._read)
        await self._expect_assignment()
        return records

    async def pause(self, partition: TopicPartition) -> None:
        await self._run(lambda: self._live.pause([_kafka(partition)]))

    async def resume(self, partition: TopicPartition, *, offset: int) -> None:
        await self._run(lambda: self._resume(partition, offset))

    def hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._pending |= offsets

    def acknowledged(self) -> Mapping[TopicPartition, int]:
        taken, self._acknowledged = self._acknowledged, {}
        return taken

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._run(self._close)
        self._thread.shutdown()

    @property
    def _live(self) -> Consumer:
        assert self._consumer is not None, "start first"
        return self._consumer

    async def _run(self, call: Callable[[], Answer]) -> Answer:
        """On the consumer's thread. Raises BrokerUnavailableError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except KafkaException as error:
            raise BrokerUnavailableError(str(error)) from error

    def _subscribe(self) -> None:
        self._consumer = Consumer(self._config)
        self._consumer.subscribe(
            list(self._subscription.topics),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def _read(self) -> list[Record]:
        self._commit_pending(is_asynchronous=True)
        first = self._live.poll(READ_WAIT_SECONDS)
        self._raise_failure()
        if first is None:
            return []
        # `consume` alone would wait its full time unless the batch is full.
        rest = max(0.0, self._gather_until - time.monotonic())
        more = self._live.consume(self._records_max - 1, rest)
        self._gather_until = time.monotonic() + self._gather_seconds
        self._raise_failure()
        return [_record(message) for message in (first, *more) if not _matches_nothing(message)]

    def _commit_pending(self, *, is_asynchronous: bool) -> None:
        mine = {at: offset for at, offset in self._pending.items() if at in self._assigned}
        self._pending = {}
        if not mine:
            return
        offsets = [_kafka(at, offset) for at, offset in mine.items()]
        if is_asynchronous:
            self._live.commit(offsets=offsets, asynchronous=True)
            return
        try:
            committed = self._live.commit(offsets=offsets, asynchronous=False)
        except KafkaException:
            # A hint that could not be left is no loss: Postgres knows.
            return
        self._note(committed or ())

    def _on_commit(self, error: KafkaError | None, offsets: list[KafkaPartition]) -> None:
        if error is None:
            self._note(offsets)

    def _note(self, offsets: Iterable[KafkaPartition]) -> None:
        for offset in offsets:
            if offset.error is None and offset.offset >= 0:
                self._acknowledged[_ours(offset)] = offset.offset

    def _on_error(self, error: KafkaError) -> None:
        # librdkafka mends single connections by itself; this is when none is left.
        if error.fatal() or error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 – its name
            self._failure = BrokerUnavailableError(error.str())

    def _on_assign(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        """Steps 1 to 3. An exception must not pass through librdkafka: it is raised by `read`."""
        assert self._owner is not None
        try:
            committed = consumer.committed(partitions, timeout=_REQUEST_SECONDS_MAX)
            begins = self._ask(
                self._owner.assigned(
                    {_ours(at): at.offset if at.offset >= 0 else None for at in committed}
                )
            )
            for at in partitions:
                at.offset = begins.get(_ours(at), 0)
            if self._subscription.is_incremental:
                consumer.incremental_assign(partitions)
            else:
                consumer.assign(partitions)
            paused = [at for at in partitions if _ours(at) not in begins]
            if paused:
                consumer.pause(paused)
            self._assigned |= {_ours(at) for at in partitions}
        except (KafkaException, PaybondError, TimeoutError) as error:
            self._failure = error

    def _on_revoke(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        self._commit_pending(is_asynchronous=False)
        self._give_back(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        """The group has given them to somebody else already: nothing can be committed any more."""
        self._pending = {}
        self._give_back(consumer, partitions)

    def _give_back(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        assert self._owner is not None
        try:
            self._ask(self._owner.revoked([_ours(at) for at in partitions]))
            self._assigned -= {_ours(at) for at in partitions}
            if self._subscription.is_incremental:
                consumer.incremental_unassign(partitions)
            else:
                consumer.unassign()
        except (KafkaException, PaybondError, TimeoutError) as error:
            self._failure = error

    def _ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(_OWNER_SECONDS_MAX)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _resume(self, partition: TopicPartition, offset: int) -> None:
        at = _kafka(partition, offset)
        for tries_left in reversed(range(_SEEK_TRIES_MAX)):
            try:
                self._live.seek(at)
                break
            except KafkaException:
                # Just assigned: its fetcher is not there yet.
                if tries_left == 0:
                    raise
                time.sleep(_SEEK_PAUSE_SECONDS)
        self._live.resume([at])

    def _close(self) -> None:
        self._commit_pending(is_asynchronous=False)
        self._live.close()
        self._consumer = None

    async def _expect_assignment(self) -> None:
        """Raises ConfigurationError where nobody in the group reads topics that are there."""
        assert self._loop is not None
        is_expected = re.compile(self._subscription.expected).match
        now = self._loop.time()
        if any(is_expected(at.topic) for at in self._assigned):
            self._unassigned_since = now
        if now - self._unassigned_since < self._unassigned_seconds_max:
            return
        self._unassigned_since = now
        topics = await self._run(lambda: self._live.list_topics(timeout=_REQUEST_SECONDS_MAX))
        waiting = sorted(topic for topic in topics.topics if is_expected(topic))
        if waiting and not await self._run(self._is_read_by_others):
            raise ConfigurationError(
                f"no member of {self._config['group.id']} was assigned {waiting[0]} "
                f"({len(waiting)} such topics) within {self._unassigned_seconds_max:g} s: "
                "check the subscription and the group's protocol"
            )

    def _is_read_by_others(self) -> bool:
        """A spare member of a larger group has nothing to read, and is right."""
        shared = {
            name: value
            for name, value in self._config.items()
            if name.startswith(("bootstrap.", "security.", "sasl.", "ssl."))
        }
        group = str(self._config["group.id"])
        is_expected = re.compile(self._subscription.expected).match
        # Kept by name: a client that is collected gives up what it was asked.
        admin = AdminClient(shared)
        described = admin.describe_consumer_groups([group])[group]
        members = described.result(_REQUEST_SECONDS_MAX).members
        return any(
            is_expected(at.topic)
            for member in members
            if member.assignment is not None
            for at in member.assignment.topic_partitions
        )


def _matches_nothing(message: Message) -> bool:
    """A cluster without tenants has no ledger topic yet: librdkafka says so once, with the expression as topic."""
    error, topic = message.error(), message.topic()
    return (
        error is not None
        and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
        and topic is not None
        and topic.startswith("^")
    )


def _record(message: Message) -> Record:
    """Raises BrokerUnavailableError for what librdkafka hands over in place of a record."""
    error = message.error()
    if error is not None:
        raise BrokerUnavailableError(f"{message.topic()}/{message.partition()}: {error.str()}")
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    _kind, milliseconds = message.timestamp()
    return Record(
        at=TopicPartition(topic=topic, partition=partition),
        offset=offset,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        timestamp=_instant(milliseconds),
    )


def _instant(milliseconds: int) -> datetime:
    return from_micros(milliseconds * 1_000).astimezone(UTC)


def _bytes(raw: bytes | str | None) -> bytes | None:
    return raw.encode() if isinstance(raw, str) else raw


def _kafka(at: TopicPartition, offset: int | None = None) -> KafkaPartition:
    if offset is None:
        return KafkaPartition(at.topic, at.partition)
    return KafkaPartition(at.topic, at.partition, offset)


def _ours(at: KafkaPartition) -> TopicPartition:
    return TopicPartition(topic=at.topic, partition=at.partition)

"""Committed reads beside the group: stable offsets, both kinds of end, and records up to a given one.

Offsets come from the admin client, records from a few consumers outside any group, each on a thread of its own. The
embedded broker honours no stable offset: there the end of the log stands for the last stable one, and a log line says
so once (`deploy/local/embedded_kafka.py`).
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from concurrent import futures
from datetime import datetime
from typing import Any, TypeVar

import structlog
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from harbor.adapters.client_thread import ClientThread
from harbor.adapters.kafka_commands import instant_of
from harbor.adapters.kafka_errors import error_of, is_passing, outage_of
from harbor.adapters.kafka_transactions import HEADER_TRANSACTION
from harbor.engine.ports import LogRecord
from schemas.errors import BrokerUnavailableError, ConfigurationError
from schemas.instants import to_micros
from schemas.topics import (
    COMMANDS,
    GROUP_HARBOR,
    POSITIONS,
    PartitionedBy,
    spec_of,
    tenant_of_ledger_topic,
)

Result = TypeVar("Result")

_log = structlog.get_logger("harbor.reader")
_REQUEST_SECONDS = 10.0
_METADATA_SECONDS = 10.0
_UNSTABLE_PAUSE_SECONDS = 0.1
# `transaction.timeout.ms` is 10 s and the coordinator looks every second: a minute is no ordinary predecessor.
STABLE_SECONDS_MAX = 60.0
_CHUNK_RECORDS = 2000
_CHUNK_SECONDS = 0.5
# Without any progress for this long the broker is out; there is no limit on the whole.
_SILENCE_SECONDS_MAX = 30.0
# Restores of many partitions take turns: each lane is a consumer, its connections and a thread.
_LANES = 4
# A commit marker lies behind the last record, so looking at one offset would never find it.
_BACKWARDS_FIRST = 2


class KafkaLogReader:
    """`reader_settings` and `client_settings` of `streams.runtime.kafka_clients`; `is_embedded` names the broker.

    `partitions` = what P is taken for. Whoever looks at a topic that has another number of them gets a
    ConfigurationError: with a P too small a tool would overlook tenants, and say that all is well.
    """

    def __init__(
        self,
        reader_settings: Mapping[str, Any],
        client_settings: Mapping[str, Any],
        *,
        is_embedded: bool,
        partitions: int,
        group: str = GROUP_HARBOR,
    ) -> None:
        self._admin = AdminClient(dict(client_settings))
        self._metadata = ClientThread("reader-metadata")
        self._lanes = [_Lane(reader_settings, f"reader-{n}") for n in range(_LANES)]
        self._free: asyncio.LifoQueue[_Lane] = asyncio.LifoQueue()
        for lane in self._lanes:
            self._free.put_nowait(lane)
        self._undecided_settings = dict(reader_settings) | {"isolation.level": "read_uncommitted"}
        self._is_embedded = is_embedded
        self._group = group
        self._partitions = partitions
        self._counted: set[str] = set()
        if is_embedded:
            _log.warning(
                "embedded_broker",
                meaning="no stable offsets: ends of logs are taken for last stable offsets",
            )

    async def committed_offset(self, partition: int) -> int | None:
        """As the port; a transaction that holds the offset longer than a minute is a BrokerUnavailableError."""
        deadline = time.monotonic() + STABLE_SECONDS_MAX
        while True:
            place = TopicPartition(COMMANDS, partition)
            asked = self._admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(self._group, [place])],
                require_stable=not self._is_embedded,
                request_timeout=_REQUEST_SECONDS,
            )
            try:
                answer = await asyncio.wrap_future(asked[self._group])
            except KafkaException as exception:
                found = error_of(exception)
            else:
                (answered,) = answer.topic_partitions or [place]
                error = answered.error
                if error is None:
                    return answered.offset if answered.offset >= 0 else None
                found = error
            if found.code() != KafkaError.UNSTABLE_OFFSET_COMMIT and not found.retriable():
                raise outage_of(found)
            if time.monotonic() > deadline:
                holder = await self.undecided_by(POSITIONS, partition)
                raise BrokerUnavailableError(
                    f"the offset of partition {partition} of {COMMANDS} stays undecided: {holder}"
                )
            await asyncio.sleep(_UNSTABLE_PAUSE_SECONDS)

    async def beginning_offset(self, topic: str, partition: int) -> int:
        return await self._offset(
            topic,
            partition,
            OffsetSpec.earliest(),  # type: ignore[no-untyped-call]
            IsolationLevel.READ_UNCOMMITTED,
        )

    async def end_offset(self, topic: str, partition: int) -> int:
        return await self._offset(
            topic,
            partition,
            OffsetSpec.latest(),  # type: ignore[no-untyped-call]
            IsolationLevel.READ_UNCOMMITTED,
        )

    async def stable_offset(self, topic: str, partition: int) -> int:
        return await self._offset(
            topic,
            partition,
            OffsetSpec.latest(),  # type: ignore[no-untyped-call]
            IsolationLevel.READ_COMMITTED,
        )

    async def offset_at(self, topic: str, partition: int, instant: datetime) -> int:
        milliseconds = to_micros(instant) // 1000
        found = await self._offset(
            topic,
            partition,
            OffsetSpec.for_timestamp(milliseconds),
            IsolationLevel.READ_UNCOMMITTED,
        )
        return found if found >= 0 else await self.end_offset(topic, partition)

    async def read(
        self, topic: str, partition: int, *, start: int, end: int
    ) -> AsyncGenerator[LogRecord, None]:
        if start >= end:
            return
        lane = await self._free.get()
        try:
            await lane.begin(TopicPartition(topic, partition, start))
            silent_since = time.monotonic()
            is_at_end = False
            while not is_at_end:
                chunk = await lane.next_chunk(end)
                is_at_end = chunk.is_at_end
                if chunk.records:
                    silent_since = time.monotonic()
                elif time.monotonic() - silent_since > _SILENCE_SECONDS_MAX:
                    raise BrokerUnavailableError(f"{topic}/{partition} ends before {end}")
                for record in chunk.records:
                    yield record
        finally:
            try:
                await lane.rest()
            finally:
                self._free.put_nowait(lane)

    async def last_record(self, topic: str, partition: int) -> LogRecord | None:
        found = await self.last_records(topic, partition, most=1)
        return found[-1] if found else None

    async def last_records(self, topic: str, partition: int, *, most: int) -> tuple[LogRecord, ...]:
        """Doubling the distance: aborted records and markers of any length may lie at the end."""
        end = await self.stable_offset(topic, partition)
        beginning = await self.beginning_offset(topic, partition)
        distance = _BACKWARDS_FIRST * most
        while beginning < end:
            start = max(beginning, end - distance)
            found: deque[LogRecord] = deque(maxlen=most)
            async for record in self.read(topic, partition, start=start, end=end):
                found.append(record)
            if len(found) == most or start == beginning:
                return tuple(found)
            distance *= 2
        return ()

    async def ledger_topics(self) -> frozenset[str]:
        metadata = await self._metadata.call(self._list_topics)
        return frozenset(name for name in metadata if tenant_of_ledger_topic(name) is not None)

    async def topic_id(self, topic: str) -> str:
        """The embedded broker gives every topic the same id, zero: there it tells nothing."""
        described = self._admin.describe_topics(
            TopicCollection([topic]), request_timeout=_REQUEST_SECONDS
        )
        return str((await _answer(described[topic])).topic_id)

    async def cluster_id(self) -> str:
        described = self._admin.describe_cluster(request_timeout=_REQUEST_SECONDS)
        return str((await _answer(described)).cluster_id)

    async def undecided_by(self, topic: str, partition: int) -> str:
        """In words, whose transaction keeps the last stable offset of this partition from its end."""
        stable = await self.stable_offset(topic, partition)
        lane = _Lane(self._undecided_settings, "reader-undecided")
        try:
            holder = await lane.transaction_at(TopicPartition(topic, partition, stable))
        finally:
            await lane.close()
        if holder is not None:
            return f"transaction {holder} hangs at offset {stable} of {topic}/{partition}"
        return (
            f"a transaction hangs at offset {stable} of {topic}/{partition} "
            "(kafka-transactions find-hanging tells which)"
        )

    async def close(self) -> None:
        for lane in self._lanes:
            await lane.close()
        self._metadata.close()

    async def _offset(
        self, topic: str, partition: int, spec: OffsetSpec, isolation: IsolationLevel
    ) -> int:
        await self._count_partitions(topic)
        place = TopicPartition(topic, partition)
        asked = self._admin.list_offsets(
            {place: spec}, isolation_level=isolation, request_timeout=_REQUEST_SECONDS
        )
        return int((await _answer(asked[place])).offset)

    async def _count_partitions(self, topic: str) -> None:
        """Once per topic: P is fixed when a cluster is born."""
        spec = spec_of(topic)
        is_single = spec is None or spec.partitioned_by is PartitionedBy.SINGLE
        if is_single or topic in self._counted:
            return
        found = await self._metadata.call(self._partitions_of, topic)
        if found not in {0, self._partitions}:
            raise ConfigurationError(
                f"{topic} has {found} partitions, PAYBOND_KAFKA_PARTITIONS says {self._partitions}"
            )
        self._counted.add(topic)

    def _list_topics(self) -> frozenset[str]:
        try:
            return frozenset(self._admin.list_topics(timeout=_METADATA_SECONDS).topics)
        except KafkaException as exception:
            raise outage_of(error_of(exception)) from exception

    def _partitions_of(self, topic: str) -> int:
        """0 where it is missing, or may not be described: the offsets' own error says that better."""
        try:
            topics = self._admin.list_topics(topic, timeout=_METADATA_SECONDS).topics
        except KafkaException as exception:
            raise outage_of(error_of(exception)) from exception
        return len(topics[topic].partitions) if topic in topics else 0


class _Chunk:
    __slots__ = ("is_at_end", "records")

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.is_at_end = False


class _Lane:
    """One consumer outside any group, on its thread; it reads one partition at a time."""

    def __init__(self, settings: Mapping[str, Any], name: str) -> None:
        self._thread = ClientThread(name)
        self._settings = dict(settings)
        self._consumer: Consumer | None = None
        self._known: set[str] = set()

    async def begin(self, place: TopicPartition) -> None:
        await self._thread.call(self._begin, place)

    async def next_chunk(self, end: int) -> _Chunk:
        return await self._thread.call(self._next_chunk, end)

    async def transaction_at(self, place: TopicPartition) -> str | None:
        """Which transactional id the undecided record at this offset says it is of."""
        await self._thread.call(self._begin, place)
        return await self._thread.call(self._transaction_here)

    async def rest(self) -> None:
        await self._thread.call(self._rest)

    async def close(self) -> None:
        await self._thread.call(self._close)
        self._thread.close()

    def _begin(self, place: TopicPartition) -> None:
        if self._consumer is None:
            self._consumer = Consumer(self._settings)
        if place.topic not in self._known:
            # An assigned topic without metadata waits for librdkafka's next look, up to a second (measured).
            try:
                self._consumer.list_topics(place.topic, timeout=_METADATA_SECONDS)
            except KafkaException as exception:
                raise outage_of(error_of(exception)) from exception
            self._known.add(place.topic)
        self._consumer.assign([place])

    def _rest(self) -> None:
        assert self._consumer is not None
        self._consumer.unassign()

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()

    def _next_chunk(self, end: int) -> _Chunk:
        assert self._consumer is not None
        chunk = _Chunk()
        first = self._consumer.poll(_CHUNK_SECONDS)
        messages = [] if first is None else [first, *self._consumer.consume(_CHUNK_RECORDS, 0)]
        for message in messages:
            offset = _offset_of(message)
            if _is_end(message):
                # The end that is meant is the caller's: this event may be of an earlier moment.
                chunk.is_at_end = offset >= end
                continue
            if offset < end:
                chunk.records.append(_log_record(message))
            if offset >= end - 1:
                chunk.is_at_end = True
                return chunk
        return chunk

    def _transaction_here(self) -> str | None:
        assert self._consumer is not None
        message = self._consumer.poll(_METADATA_SECONDS)
        if message is None or message.error() is not None:
            return None
        headers = message.headers() or []
        for name, value in headers.items() if isinstance(headers, dict) else headers:
            if name == HEADER_TRANSACTION and isinstance(value, bytes):
                return value.decode("ascii", "replace")
        return None


def _is_end(message: Message) -> bool:
    """Whether this is the EOF event; other errors that do not pass are raised."""
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
        return True
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
        raise ConfigurationError(
            f"{message.topic()}/{message.partition()} has no record at the offset that was asked for: {error}"
        )
    if is_passing(error):
        _log.warning("log_unreachable", error=str(error))
        return True
    raise outage_of(error)


def _offset_of(message: Message) -> int:
    offset = message.offset()
    return -1 if offset is None else offset


def _log_record(message: Message) -> LogRecord:
    return LogRecord(
        offset=_offset_of(message),
        key=message.key(),
        value=message.value(),
        timestamp=instant_of(message.timestamp()[1]),
    )


async def _answer(future: futures.Future[Result]) -> Result:
    try:
        return await asyncio.wrap_future(future)
    except KafkaException as exception:
        raise outage_of(error_of(exception)) from exception

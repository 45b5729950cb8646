"""The member of group `paybond-harbor`: batches of commands with the group metadata that was valid before them.

librdkafka runs on a thread of its own. Newly assigned partitions stay paused until the loop has restored them; what
the callbacks of a rebalance said is handed on with the next batch.
"""

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from harbor.adapters.client_thread import ClientThread
from harbor.adapters.kafka_errors import error_of, is_passing, outage_of
from harbor.engine.ports import Consumed, GroupMetadata, InputRecord
from schemas.errors import BrokerUnavailableError, ConfigurationError, PaybondError
from schemas.topics import COMMANDS

_log = structlog.get_logger("harbor.commands")
# How long a batch waits for its first record: also how long a rebalance waits to be heard of.
POLL_SECONDS = 0.1
# A partition can be positioned only once librdkafka has started it, which it does in the background.
_START_TRIES_MAX = 200
_START_PAUSE_SECONDS = 0.05
# For one partition's end, in the middle of a rebalance; the member's heartbeats go on meanwhile.
_END_SECONDS_MAX = 30.0


class KafkaCommandConsumer:
    """`settings` are those of `streams.runtime.kafka_clients.consumer_settings`."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._thread = ClientThread("commands")
        self._is_incremental = _is_incremental(settings)
        self._consumer = Consumer(dict(settings))
        self._has_subscribed = False
        self._is_closed = False
        # Owned and, of these, started; both change on the client's thread only.
        self._owned: set[int] = set()
        self._started: set[int] = set()
        self._revoked_now: set[int] = set()
        # What a callback met: an exception must not pass through librdkafka.
        self._failure: PaybondError | None = None

    async def consume(self, *, records_max: int) -> Consumed:
        return await self._thread.call(self._consume, records_max)

    async def start(self, offsets: Mapping[int, int]) -> None:
        await self._thread.call(self._start, offsets)

    async def seek(self, offsets: Mapping[int, int]) -> None:
        await self._thread.call(self._seek, offsets)

    async def close(self) -> None:
        """Leave the group at once, so that nobody waits for the session to run out."""
        if not self._is_closed:
            self._is_closed = True
            await self._thread.call(self._consumer.close)
            self._thread.close()

    def _consume(self, records_max: int) -> Consumed:
        if not self._has_subscribed:
            self._subscribe()
        owned_before = frozenset(self._owned)
        self._revoked_now = set()
        try:
            # Before the batch: the broker checks the generation, not the ownership, so metadata taken after it
            # could commit records of a partition that was lost meanwhile (docs/protocols.md: the transaction's step 1).
            group = self._consumer.consumer_group_metadata()
            first = self._consumer.poll(POLL_SECONDS)
            # `consume(n, t)` would wait the whole t unless n records are there (measured).
            # A message without a value has the length 0, and is one.
            has_first = first is not None and records_max > 1
            rest = self._consumer.consume(records_max - 1, 0) if has_first else []
        except KafkaException as exception:
            raise outage_of(error_of(exception)) from exception
        if self._failure is not None:
            raise self._failure
        messages = [
            message
            for message in (first, *rest)
            if message is not None and self._is_record(message)
        ]
        revoked = owned_before & self._revoked_now
        return Consumed(
            group=GroupMetadata(group),
            # What was fetched before its partition went (or came back, paused) is its next owner's.
            records=tuple(
                _input_record(message)
                for message in messages
                if message.partition() in self._started
            ),
            assigned=tuple(sorted(self._owned - (owned_before - revoked))),
            revoked=tuple(sorted(revoked)),
        )

    def _start(self, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            if partition not in self._owned:
                continue
            place = TopicPartition(COMMANDS, partition, offset)
            self._position(place)
            self._consumer.resume([place])
            self._started.add(partition)

    def _seek(self, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            if partition in self._started:
                self._position(TopicPartition(COMMANDS, partition, offset))

    def _position(self, place: TopicPartition) -> None:
        pause = threading.Event()
        for _ in range(_START_TRIES_MAX):
            try:
                self._consumer.seek(place)
            except KafkaException as exception:
                error = error_of(exception)
                if error.code() != KafkaError._STATE:  # noqa: SLF001
                    raise outage_of(error) from exception
                pause.wait(_START_PAUSE_SECONDS)
            else:
                return
        raise BrokerUnavailableError(f"partition {place.partition} of {COMMANDS} did not start")

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            [COMMANDS],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )
        self._has_subscribed = True

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            places = [self._at_its_end(place.partition) for place in partitions]
        except PaybondError as error:
            self._failure = error
            return
        if self._is_incremental:
            self._consumer.incremental_assign(places)
        else:
            self._consumer.assign(places)
        if places:
            self._consumer.pause(places)
        numbers = {place.partition for place in places}
        self._owned |= numbers
        self._started -= numbers

    def _at_its_end(self, partition: int) -> TopicPartition:
        """Where a partition waits for `start`, which alone says where it goes on.

        An offset that is there: a fetch may go out before the pause (measured), while at 0 retention has passed, and
        Harbor may not be reset. And a number: librdkafka looks the committed offset up, or `OFFSET_END`, half a second
        later once more, and a position that was given while it waits for the answer is overwritten by that (measured:
        commands were passed over without a word). Raises BrokerUnavailableError, ConfigurationError.
        """
        place = TopicPartition(COMMANDS, partition)
        pause = threading.Event()
        deadline = time.monotonic() + _END_SECONDS_MAX
        while True:
            try:
                _, end = self._consumer.get_watermark_offsets(place, timeout=_END_SECONDS_MAX)
            except KafkaException as exception:
                outage = outage_of(error_of(exception))
                # A broker that goes brings a rebalance and new leaders at once, which are not known at once.
                if isinstance(outage, ConfigurationError) or time.monotonic() > deadline:
                    raise outage from exception
                pause.wait(_START_PAUSE_SECONDS)
            else:
                return TopicPartition(COMMANDS, partition, end)

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Nothing is open here: a transaction begins and ends between two calls of `consume`. The client then lets
        # the partitions go by itself, as its group protocol demands.
        numbers = {place.partition for place in partitions}
        self._owned -= numbers
        self._started -= numbers
        self._revoked_now |= numbers

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            raise ConfigurationError(
                f"partition {message.partition()} of {COMMANDS} has no record at the position it stands at: {error}"
            )
        if is_passing(error):
            _log.warning("commands_unreachable", error=str(error))
            return False
        raise outage_of(error)


def _is_incremental(settings: Mapping[str, Any]) -> bool:
    """Whether ownership moves partition by partition: KIP-848 and the cooperative assignor."""
    assignor = str(settings.get("partition.assignment.strategy", ""))
    return settings.get("group.protocol") == "consumer" or "cooperative" in assignor


def _input_record(message: Message) -> InputRecord:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    kind, milliseconds = message.timestamp()
    # The topic is LogAppendTime: every record has one.
    assert kind != TIMESTAMP_NOT_AVAILABLE
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return InputRecord(
        partition=partition,
        offset=offset,
        timestamp=instant_of(milliseconds),
        key=message.key(),
        value=message.value(),
        headers={name: value for name, value in pairs if isinstance(value, bytes)},
    )


def instant_of(milliseconds: int) -> datetime:
    """A record's time; whole milliseconds, no float in between."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)

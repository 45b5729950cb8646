"""The transactional producer of a process slot: one transaction per batch, errors in the engine's three words.

librdkafka runs on a thread of its own. What a delivery report says surfaces in `flush`; how far each changelog was
written is asked of the last record per partition only (a callback per record would cost more than the record).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from harbor.adapters.client_thread import ClientThread
from harbor.adapters.kafka_errors import error_behind, error_of, transaction_error
from harbor.engine.ports import (
    AbortableError,
    FencedError,
    GroupMetadata,
    OutputRecord,
    RetriableError,
)
from schemas.errors import BrokerUnavailableError
from schemas.topics import COMMANDS, POSITIONS

# One call's wait; what takes longer is called again, so that a cancelled caller is not held up for long.
_CALL_SECONDS = 2.0
# A predecessor's transaction is settled within its own time-out of 10 s; the rest is for a loaded coordinator.
_INITIALIZE_SECONDS_MAX = 60.0
# Past the transaction's own time-out the coordinator has aborted it: no repetition helps.
_REPEAT_SECONDS_MAX = 15.0
_QUEUE_PAUSE_SECONDS = 0.05
# On the record of `paybond.positions` that every transaction writes per input partition: when an assignment waits too
# long, it can say whose transaction hangs.
HEADER_TRANSACTION = "paybond-transaction"

Result = TypeVar("Result")
Delivered = Mapping[tuple[str, int], int]


class KafkaTransactions:
    """`settings` are those of `streams.runtime.kafka_clients.transactional_settings`."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._thread = ClientThread("transactions")
        self._transactional_id = str(settings["transactional.id"])
        self._producer = Producer(dict(settings))
        # Of the open transaction: the first failed delivery, and the last offset per partition.
        self._failed: KafkaError | None = None
        self._last: dict[tuple[str, int], int] = {}
        self._committed: dict[tuple[str, int], int] = {}

    async def initialize(self) -> None:
        """As the port; an outage that outlasts a minute is BrokerUnavailableError."""
        deadline = time.monotonic() + _INITIALIZE_SECONDS_MAX
        while True:
            try:
                await self._thread.call(
                    self._in_words, partial(self._producer.init_transactions, _CALL_SECONDS)
                )
            except RetriableError as error:
                if time.monotonic() > deadline:
                    raise BrokerUnavailableError(str(error)) from error
            else:
                return

    async def begin(self) -> None:
        await self._thread.call(self._begin)

    async def produce(self, records: Sequence[OutputRecord]) -> None:
        await self._thread.call(self._produce, records)

    async def flush(self) -> None:
        await self._thread.call(self._flush)

    async def send_offsets(self, offsets: Mapping[int, int], group: GroupMetadata) -> None:
        places = [TopicPartition(COMMANDS, number, next_) for number, next_ in offsets.items()]
        send = partial(self._producer.send_offsets_to_transaction, places, group, _CALL_SECONDS)
        try:
            await self._repeatedly(send)
        except RetriableError as error:
            raise AbortableError(f"the offsets were not taken in time: {error}") from error

    async def commit(self) -> None:
        await self._thread.call(
            self._in_words, partial(self._producer.commit_transaction, _CALL_SECONDS)
        )
        self._committed.update({place: last + 1 for place, last in self._last.items()})

    async def abort(self) -> None:
        try:
            await self._repeatedly(partial(self._producer.abort_transaction, _CALL_SECONDS))
        # Either way the successor's `init_transactions` settles it; who is not answered was not fenced.
        except RetriableError as error:
            raise BrokerUnavailableError(
                f"the transaction could not be aborted: {error}"
            ) from error
        except AbortableError as error:
            raise FencedError(f"the transaction could not be aborted: {error}") from error

    async def close(self) -> None:
        """Without a word to the broker: an open transaction is the successor's to settle."""
        await self._thread.call(self._drop)
        self._thread.close()

    def take_committed(self) -> Delivered:
        """Per topic and partition the offset after the last record of committed transactions, since the last call."""
        taken, self._committed = self._committed, {}
        return taken

    def _begin(self) -> None:
        self._failed = None
        self._last = {}
        self._in_words(self._producer.begin_transaction)

    def _produce(self, records: Sequence[OutputRecord]) -> None:
        last = {(record.topic, record.partition): at for at, record in enumerate(records)}
        for at, record in enumerate(records):
            is_last = last[record.topic, record.partition] == at
            headers: list[tuple[str, str | bytes | None]] = list(record.headers.items())
            if record.topic == POSITIONS:
                headers.append((HEADER_TRANSACTION, self._transactional_id.encode()))
            on_delivery = self._note_last if is_last else self._note_failure
            self._in_words(partial(self._hand_over, record, headers, on_delivery))

    def _hand_over(
        self,
        record: OutputRecord,
        headers: list[tuple[str, str | bytes | None]],
        on_delivery: Callable[[KafkaError | None, Message], None],
    ) -> None:
        deadline = time.monotonic() + _REPEAT_SECONDS_MAX
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=headers,
                    partition=record.partition,
                    on_delivery=on_delivery,
                )
            except BufferError as error:
                if time.monotonic() > deadline:
                    raise AbortableError("the producer's queue stays full") from error
                self._producer.poll(_QUEUE_PAUSE_SECONDS)
            else:
                return

    def _flush(self) -> None:
        deadline = time.monotonic() + _REPEAT_SECONDS_MAX
        while self._in_words(partial(self._producer.flush, _CALL_SECONDS)):
            if time.monotonic() > deadline:
                raise AbortableError("records were not acknowledged in time")
        if self._failed is not None:
            error = self._failed
            # A record that was not delivered leaves nothing to commit, whatever the report says of retrying.
            raise FencedError(str(error)) if error.fatal() else AbortableError(str(error))

    async def _repeatedly(self, call: Callable[[], object]) -> None:
        deadline = time.monotonic() + _REPEAT_SECONDS_MAX
        while True:
            try:
                await self._thread.call(self._in_words, call)
            except RetriableError:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def _in_words(self, call: Callable[[], Result]) -> Result:
        try:
            return call()
        except KafkaException as exception:
            raise transaction_error(error_of(exception)) from exception
        except SystemError as system_error:
            error = error_behind(system_error)
            if error is None:
                # Even its words may be lost on the way; only fatal errors take it.
                raise FencedError(f"the client failed for good: {system_error}") from system_error
            raise transaction_error(error) from system_error

    def _note_failure(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and (self._failed is None or error.fatal()):
            self._failed = error

    def _note_last(self, error: KafkaError | None, message: Message) -> None:
        self._note_failure(error, message)
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is None and topic is not None and partition is not None and offset is not None:
            self._last[topic, partition] = offset

    def _drop(self) -> None:
        # A fenced producer says so once more at every call; there is nothing left to learn from it.
        with suppress(KafkaException):
            self._producer.purge()
            # Reports of what was purged refer to this object: taken now, they can't come later.
            self._producer.poll(0)

"""Commands out and outcomes in, on librdkafka; each client has a thread of its own.

librdkafka calls back on the thread that polls it; results cross to the event loop by `call_soon_threadsafe` only.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from gateway.commands.ports import CommandRecord
from schemas.errors import BrokerUnavailableError, ConfigurationError, IntegrityError
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, OUTCOMES
from streams.runtime.acknowledged_producer import AcknowledgedProducer
from streams.runtime.kafka_clients import FETCH_WAIT_MILLISECONDS

_log = structlog.get_logger("gateway")
_POLL_SECONDS = 0.1
_RECORDS_MAX = 1000
_METADATA_SECONDS = 10.0
_LINGER_MILLISECONDS = 1
# librdkafka takes 0 for "for ever", and refuses a time that is not longer than the linger.
_MESSAGE_TIMEOUT_MILLISECONDS_MIN = 10
# librdkafka names its own conditions with a leading underscore; it reconnects after each of these, and asks again after
# what a broker says while leaders move or start. `retriable()` answers for transactional calls only: of a fetch it is
# false whatever the code.
_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.FETCH_SESSION_ID_NOT_FOUND,
        KafkaError.INVALID_FETCH_SESSION_EPOCH,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.LISTENER_NOT_FOUND,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)


class KafkaCommandPublisher:
    """Produces with acks=all and an idempotent producer: our own retries never double a command.

    `seconds` = how long a command is tried. librdkafka would go on for five minutes and then send what its caller was
    told long ago is not known; one that arrives after its 503 all the same is the command that a retry names too.
    """

    def __init__(self, config: Mapping[str, Any], *, partitions: int, seconds: float) -> None:
        self._partitions = partitions
        self._seconds = seconds
        timeout_milliseconds = max(_MESSAGE_TIMEOUT_MILLISECONDS_MIN, int(seconds * 1000))
        self._producer = AcknowledgedProducer(
            {
                **config,
                "enable.idempotence": True,
                "linger.ms": _LINGER_MILLISECONDS,
                "message.timeout.ms": timeout_milliseconds,
            },
            name="command-publisher",
        )

    async def publish(self, record: CommandRecord) -> None:
        """Returns when acknowledged. Raises BrokerUnavailableError: the command may or may not be there."""
        try:
            # librdkafka looks once a second for what has waited too long; a caller is answered in time.
            async with asyncio.timeout(self._seconds):
                await self._producer.produce(
                    COMMANDS,
                    key=record.tenant_id.encode(),
                    value=record.value,
                    headers=record.headers,
                    partition=partition_of(record.tenant_id, self._partitions),
                )
        except TimeoutError as error:
            raise BrokerUnavailableError(
                f"a command was not acknowledged within {self._seconds:g} s"
            ) from error

    def close(self) -> None:
        self._producer.close()


class KafkaOutcomeReader:
    """Reads all of `paybond.outcomes` from its present end: assigned, no group, positioned before `start` returns."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        partitions: int,
        deliver: Callable[[bytes | None, bytes | None], None],
    ) -> None:
        self._deliver = deliver
        self._partitions = partitions
        self._consumer = Consumer(
            {
                **config,
                # Required by librdkafka; nothing is ever committed under it.
                "group.id": "paybond-gateway-outcomes",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "latest",
                "fetch.wait.max.ms": FETCH_WAIT_MILLISECONDS,
                "enable.partition.eof": False,
            }
        )
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Position at the end of every partition, then read. Raises BrokerUnavailableError, ConfigurationError."""
        await asyncio.to_thread(self._position)
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._thread = threading.Thread(
            target=self._read, args=(loop, self._ended), name="outcome-reader", daemon=True
        )
        self._thread.start()

    async def ended(self) -> None:
        """Returns once it is closed. Raises what it can't read past: BrokerUnavailableError, or a defect."""
        assert self._ended is not None
        await self._ended

    def _position(self) -> None:
        """Ask for the end offsets now: `latest` alone is only resolved at the first fetch, after the listener opens."""
        ends: list[TopicPartition] = []
        try:
            topic = self._consumer.list_topics(OUTCOMES, timeout=_METADATA_SECONDS).topics[OUTCOMES]
            if topic.error is not None or len(topic.partitions) != self._partitions:
                raise ConfigurationError(
                    f"{OUTCOMES} has {len(topic.partitions)} partitions, not {self._partitions}"
                )
            for partition in sorted(topic.partitions):
                wanted = TopicPartition(OUTCOMES, partition, OFFSET_END)
                _, end = self._consumer.get_watermark_offsets(wanted, timeout=_METADATA_SECONDS)
                ends.append(TopicPartition(OUTCOMES, partition, end))
            self._consumer.assign(ends)
        except KafkaException as error:
            raise BrokerUnavailableError(str(error)) from error

    def _read(self, loop: asyncio.AbstractEventLoop, ended: "asyncio.Future[None]") -> None:
        failure: Exception | None = None
        try:
            while not self._is_closing.is_set():
                first = self._consumer.poll(_POLL_SECONDS)
                if first is None:
                    continue
                records = [first, *self._consumer.consume(_RECORDS_MAX - 1, 0)]
                batch = [(m.key(), m.value()) for m in records if _is_record(m)]
                if batch:
                    loop.call_soon_threadsafe(self._deliver_all, batch)
        except KafkaException as error:
            failure = BrokerUnavailableError(str(error))
        # The thread's top: who waits for `ended` ends the program with it.
        except Exception as error:  # noqa: BLE001
            failure = error
        loop.call_soon_threadsafe(_end, ended, failure)

    def _deliver_all(self, batch: list[tuple[Any, Any]]) -> None:
        for key, value in batch:
            try:
                self._deliver(key, value)
            except IntegrityError as error:
                _log.error("outcome_unreadable", key=repr(key), error=str(error))

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    async def close(self) -> None:
        self._is_closing.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._consumer.close)


def _end(ended: "asyncio.Future[None]", failure: Exception | None) -> None:
    if ended.done():
        return
    if failure is None:
        ended.set_result(None)
    else:
        ended.set_exception(failure)


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if not error.fatal() and error.code() in _PASSING:
        _log.warning("outcomes_unreachable", error=str(error))
        return False
    raise KafkaException(error)

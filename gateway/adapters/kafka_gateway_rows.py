"""The gateway's own rows on Kafka: one transactional writer, and a reader of everything there is.

librdkafka's calls block, so each client has a thread of its own; results come back to the event loop as awaitables.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from gateway.outbox.rows import key_of
from schemas.errors import BrokerUnavailableError, CodecError, OwnershipLostError
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.operations import GatewayRow
from schemas.partitioner import partition_of
from schemas.topics import GATEWAY_ROWS

TRANSACTIONAL_ID = "paybond-gateway-relay"
_TRANSACTION_SECONDS = 10.0
_METADATA_SECONDS = 10.0
# The topic is small (keys, not requests); a record that does not come for this long is an outage.
_SILENCE_SECONDS = 15.0
_RECORDS_MAX = 1000
_FENCED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
    }
)
Result = TypeVar("Result")


class KafkaRowLog:
    """A new producer at each `open`: one that was fenced can never publish again."""

    def __init__(self, config: Mapping[str, Any], *, partitions: int) -> None:
        self._config = {
            **config,
            "transactional.id": TRANSACTIONAL_ID,
            # A relay that died in the middle holds up readers of committed rows for so long.
            "transaction.timeout.ms": int(_TRANSACTION_SECONDS * 1000),
        }
        self._partitions = partitions
        self._producer: Producer | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway-rows")

    async def open(self) -> None:
        """Raises BrokerUnavailableError, OwnershipLostError."""
        await self._on_thread(self._open)

    async def publish(self, rows: Sequence[GatewayRow]) -> None:
        """Raises BrokerUnavailableError, OwnershipLostError."""
        await self._on_thread(lambda: self._publish(rows))

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
        self._producer = None

    async def _on_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _open(self) -> None:
        self._producer = Producer(self._config)
        try:
            self._producer.init_transactions(_TRANSACTION_SECONDS)
        except KafkaException as error:
            self._producer = None
            raise _failure(error) from error

    def _publish(self, rows: Sequence[GatewayRow]) -> None:
        producer = self._producer
        if producer is None:
            raise BrokerUnavailableError("the log of gateway rows is not open")
        try:
            producer.begin_transaction()
            for row in rows:
                record_key = key_of(row).record_key
                producer.produce(
                    GATEWAY_ROWS,
                    value=encode(row),
                    key=record_key,
                    partition=partition_of(record_key, self._partitions),
                )
            producer.commit_transaction(_TRANSACTION_SECONDS)
        except (KafkaException, BufferError) as error:
            # What became of the transaction is the next `open`'s to settle.
            self._producer = None
            raise _failure(error) from error


class KafkaRowHistory:
    """Every partition from its beginning to the end it has now; the last record per key counts."""

    def __init__(self, config: Mapping[str, Any], *, partitions: int) -> None:
        self._config = dict(config)
        self._partitions = partitions

    async def newest(self) -> Sequence[GatewayRow]:
        """Raises BrokerUnavailableError, CodecError."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Sequence[GatewayRow]:
        consumer = Consumer(
            {
                **self._config,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        try:
            consumer.assign(
                [
                    TopicPartition(GATEWAY_ROWS, partition, OFFSET_BEGINNING)
                    for partition in range(self._partitions)
                ]
            )
            return self._until_ends(consumer)
        except KafkaException as error:
            raise _failure(error) from error
        finally:
            consumer.close()

    def _until_ends(self, consumer: Consumer) -> Sequence[GatewayRow]:
        unfinished = set(range(self._partitions))
        newest: dict[bytes, GatewayRow] = {}
        while unfinished:
            # consume() alone would wait for a full batch.
            first = consumer.poll(_SILENCE_SECONDS)
            if first is None:
                raise BrokerUnavailableError(f"{GATEWAY_ROWS} fell silent before its end")
            for message in (first, *consumer.consume(_RECORDS_MAX, 0)):
                error = message.error()
                if error is None:
                    row = _row_of(message.key(), message.value())
                    newest[key_of(row).record_key] = row
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    unfinished.discard(message.partition())
                elif not error.retriable():
                    raise KafkaException(error)
        return tuple(newest.values())


def _row_of(record_key: object, value: object) -> GatewayRow:
    if not isinstance(record_key, bytes) or not isinstance(value, bytes):
        raise CodecError(f"{GATEWAY_ROWS}: a record without key or value")
    row = decode_as(GatewayRow, value)
    if key_of(row).record_key != record_key:
        raise CodecError(f"{GATEWAY_ROWS}: the record {record_key!r} carries another row")
    return row


def _failure(error: KafkaException | BufferError) -> Exception:
    if isinstance(error, KafkaException) and error.args[0].code() in _FENCED:
        return OwnershipLostError(resource=TRANSACTIONAL_ID, reason=str(error))
    return BrokerUnavailableError(str(error))

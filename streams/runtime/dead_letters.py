"""Records that can never work, on a topic of their own with reason and place: never on behalf of a ledger topic.

They are acknowledged by the broker before the checkpoint moves past the record; a repeat has the same key.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import BrokerUnavailableError
from schemas.messages.avro_codec import encode
from schemas.messages.operations import DeadLetter
from schemas.partitioner import partition_of
from schemas.topics import DEAD_LETTERS, RECORD_BYTES_MAX, dead_letter_key
from streams.runtime.records import Record

_FLUSH_SECONDS_MAX = 10.0
# Room for the fields beside the value.
_VALUE_BYTES_MAX = RECORD_BYTES_MAX - 16 * 1024


class DeadLetters(Protocol):
    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """Returns when they are safe. Raises BrokerUnavailableError."""
        ...


def dead_letter_of(
    record: Record, *, group: str, reason: str, now: datetime, tenant_id: str | None
) -> DeadLetter:
    """The record itself, or only its place and digest where it is too large for one."""
    value = record.value or b""
    return DeadLetter(
        group=group,
        topic=record.at.topic,
        partition=record.at.partition,
        offset=record.offset,
        reason=reason,
        attempts=1,
        recorded_at=now,
        tenant_id=tenant_id,
        command_id=None,
        key=record.key,
        value=record.value if len(value) <= _VALUE_BYTES_MAX else None,
        value_digest=hashlib.sha256(value).digest(),
    )


class KafkaDeadLetters:
    """`config`: of `producer_settings`. The producer starts with the first letter, most processes never have one."""

    def __init__(self, config: dict[str, Any], *, partitions: int) -> None:
        self._config = config
        self._partitions = partitions
        self._producer: Producer | None = None

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            await asyncio.to_thread(self._put, letters)

    async def close(self) -> None:
        """What was put is safe already; the connections go."""
        self._producer = None

    def _put(self, letters: Sequence[DeadLetter]) -> None:
        producer = self._producer or Producer(self._config)
        self._producer = producer
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failed.append(error)

        try:
            for letter in letters:
                key = dead_letter_key(letter.group, letter.topic, letter.partition, letter.offset)
                producer.produce(
                    DEAD_LETTERS,
                    partition=partition_of(key, self._partitions),
                    key=key,
                    value=encode(letter),
                    on_delivery=delivered,
                )
        except (KafkaException, BufferError) as error:
            raise BrokerUnavailableError(f"a dead letter: {error}") from error
        if producer.flush(_FLUSH_SECONDS_MAX) > 0 or failed:
            raise BrokerUnavailableError(f"a dead letter was not acknowledged: {failed[:1]}")

"""The rail worker's ports on librdkafka: effects by group, states by hand, dead letters."""

import asyncio
import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from harbor.adapters.kafka_sender import KafkaCommandSender
from harbor.rails.outstanding_effects import OutstandingEffects
from harbor.rails.ports import EffectBatch, EffectRecord
from schemas.errors import BrokerUnavailableError, ConfigurationError, IntegrityError
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.effects import Effect
from schemas.messages.operations import DeadLetter
from schemas.partitioner import partition_of
from schemas.topics import DEAD_LETTERS, EFFECTS, GROUP_RAILS, INTENTS, dead_letter_key
from streams.runtime.clock import SystemClock

_POLL_SECONDS = 0.1
_RECORDS_MAX = 500
_METADATA_SECONDS = 10.0
_END_OF_PARTITION = KafkaError._PARTITION_EOF  # noqa: SLF001 – librdkafka's own name


class KafkaEffectLog:
    """Effects from the group's committed offset, or from the log's beginning: an effect is never skipped."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._consumer = Consumer({**config, "auto.offset.reset": "earliest"})
        self._thread = ThreadPoolExecutor(1, "effect-log")
        self._assigned: list[int] = []
        self._revoked: list[int] = []
        self._consumer.subscribe(
            [EFFECTS], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned += [one.partition for one in partitions]

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._revoked += [one.partition for one in partitions]

    async def consume(self) -> EffectBatch:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._consume)

    def _consume(self) -> EffectBatch:
        first = self._consumer.poll(_POLL_SECONDS)
        messages = [] if first is None else [first, *self._consumer.consume(_RECORDS_MAX - 1, 0)]
        records = tuple(_effect_record(one) for one in messages if _is_record(one))
        assigned, self._assigned = self._assigned, []
        revoked, self._revoked = self._revoked, []
        return EffectBatch(records=records, assigned=tuple(assigned), revoked=tuple(revoked))

    async def commit(self, offsets: Mapping[int, int]) -> None:
        wanted = [TopicPartition(EFFECTS, number, offset) for number, offset in offsets.items()]
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._thread, lambda: self._consumer.commit(offsets=wanted, asynchronous=True)
        )

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._consumer.close)
        self._thread.shutdown()


class KafkaOutstanding:
    """Outstanding effects by intent, from `paybond.intents`; only those are kept, whatever the topic holds.

    A partition is assigned while it is read and not a moment longer: an idle worker fetches nothing.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._consumer = Consumer(dict(config))
        self._thread = ThreadPoolExecutor(1, "outstanding")
        self._next: dict[int, int] = {}
        self._states = OutstandingEffects()

    async def catch_up(self, partition: int) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._catch_up, partition)

    def _catch_up(self, partition: int) -> None:
        """Read to the end of what is committed: with read_committed the end-of-partition event is that."""
        low, high = self._watermarks(partition)
        start = max(self._next.get(partition, low), low)
        if start >= high:
            return
        place = TopicPartition(INTENTS, partition, start)
        self._consumer.assign([place])
        try:
            self._next[partition] = self._read_to_end(partition, start)
        finally:
            self._consumer.unassign()

    def _read_to_end(self, partition: int, start: int) -> int:
        """The offset to go on from."""
        following = start
        while True:
            first = self._consumer.poll(_METADATA_SECONDS)
            if first is None:
                raise BrokerUnavailableError(f"{INTENTS}: nothing for {_METADATA_SECONDS} s")
            # `consume(n, t)` waits the whole t unless n are there.
            for message in [first, *self._consumer.consume(_RECORDS_MAX, 0)]:
                error = message.error()
                offset = message.offset()
                if error is None:
                    assert offset is not None
                    key, value = message.key(), message.value()
                    if key is not None and value is not None:
                        self._states.take(partition, key=key, value=value)
                    following = offset + 1
                elif error.code() == _END_OF_PARTITION:
                    return following
                elif not error.retriable():
                    raise BrokerUnavailableError(str(error))

    def _watermarks(self, partition: int) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(INTENTS, partition), timeout=_METADATA_SECONDS
            )
        except KafkaException as error:
            raise BrokerUnavailableError(str(error)) from error
        return low, high

    def effect_of(self, *, tenant_id: str, intent_id: str) -> str | None:
        return self._states.effect_of(tenant_id=tenant_id, intent_id=intent_id)

    def has_shown(self, *, tenant_id: str, ledger_seq: int) -> bool:
        return self._states.has_shown(tenant_id=tenant_id, ledger_seq=ledger_seq)

    def is_paused(self, tenant_id: str) -> bool:
        return self._states.is_paused(tenant_id)

    def unreadable(self, tenant_id: str) -> str | None:
        return self._states.unreadable(tenant_id)

    def forget(self, partition: int) -> None:
        self._states.forget(partition)
        self._next.pop(partition, None)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._consumer.close)
        await asyncio.to_thread(self._thread.shutdown)


class KafkaDeadLetters:
    """What can't be an effect, with where it lies and why."""

    def __init__(self, sender: KafkaCommandSender, *, partitions: int) -> None:
        self._sender = sender
        self._partitions = partitions
        self._clock = SystemClock()

    async def bury(self, record: EffectRecord, reason: str) -> None:
        key = dead_letter_key(GROUP_RAILS, EFFECTS, record.partition, record.offset)
        value = record.value or b""
        letter = DeadLetter(
            group=GROUP_RAILS,
            topic=EFFECTS,
            partition=record.partition,
            offset=record.offset,
            reason=reason,
            attempts=1,
            recorded_at=self._clock.now(),
            tenant_id=None,
            command_id=None,
            key=record.key,
            value=record.value,
            value_digest=hashlib.sha256(value).digest(),
        )
        await self._sender.produce(
            DEAD_LETTERS,
            key=key,
            value=encode(letter),
            headers={},
            partition=partition_of(key, self._partitions),
        )


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise ConfigurationError(str(error))
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise ConfigurationError(f"{EFFECTS} does not exist: paybond-harbor topics apply")
    # librdkafka reconnects by itself; an outage is seen where we produce.
    return False


def _effect_record(message: Message) -> EffectRecord:
    value = message.value()
    try:
        effect = None if value is None else decode_as(Effect, value)
    # Of an unknown schema, too: if it is outstanding, Harbor issues it again as this release writes it.
    except IntegrityError:
        effect = None
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return EffectRecord(
        partition=partition, offset=offset, key=message.key(), value=value, effect=effect
    )

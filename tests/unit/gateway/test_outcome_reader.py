"""The reader of outcomes over a consumer that says what it is told to: what passes, and who learns of what does not."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from gateway.adapters import kafka_commands
from gateway.adapters.kafka_commands import KafkaOutcomeReader
from schemas.errors import BrokerUnavailableError

_WAIT_SECONDS_MAX = 10.0


class Said:
    """What a consumer hands out: a record, or an error."""

    def __init__(self, error: KafkaError | None = None) -> None:
        self._error = error

    def error(self) -> KafkaError | None:
        return self._error

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes:
        return b"value"


class ToldConsumer:
    """librdkafka's consumer, as far as the reader uses it. `says` is handed out once, in order."""

    says: list[Said | Exception] = []  # noqa: RUF012 – each test sets its own

    def __init__(self, _config: object) -> None:
        self._left = list(self.says)

    def list_topics(self, topic: str, timeout: float) -> Any:
        metadata: Any = type("Metadata", (), {})()
        metadata.error, metadata.partitions = None, {0: None}
        metadata.topics = {topic: metadata}
        return metadata

    def get_watermark_offsets(self, _of: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, 0

    def assign(self, _positions: list[TopicPartition]) -> None: ...

    def poll(self, seconds: float) -> Said | None:
        if not self._left:
            return None
        said = self._left.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    def consume(self, _count: int, _seconds: float) -> list[Said]:
        return []

    def close(self) -> None: ...


def _reading(
    monkeypatch: pytest.MonkeyPatch,
    says: list[Said | Exception],
    scenario: Callable[[KafkaOutcomeReader, asyncio.Event], Coroutine[Any, Any, None]],
) -> None:
    monkeypatch.setattr(ToldConsumer, "says", says)
    monkeypatch.setattr(kafka_commands, "Consumer", ToldConsumer)

    async def whole() -> None:
        delivered = asyncio.Event()
        reader = KafkaOutcomeReader({}, partitions=1, deliver=lambda *_: delivered.set())
        await reader.start()
        try:
            await asyncio.wait_for(scenario(reader, delivered), _WAIT_SECONDS_MAX)
        finally:
            await reader.close()

    asyncio.run(whole())


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN,
    ],
)
def test_it_reads_on_after_what_passes(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    async def scenario(reader: KafkaOutcomeReader, delivered: asyncio.Event) -> None:
        await delivered.wait()

        assert reader.is_alive

    _reading(monkeypatch, [Said(KafkaError(code)), Said()], scenario)


@pytest.mark.parametrize(
    "error",
    [
        KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED),
        KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART),
        KafkaError(KafkaError._TRANSPORT, "fatal", fatal=True),
    ],
)
def test_what_it_cant_read_past_ends_it_as_an_outage(
    monkeypatch: pytest.MonkeyPatch, error: KafkaError
) -> None:
    async def scenario(reader: KafkaOutcomeReader, delivered: asyncio.Event) -> None:
        with pytest.raises(BrokerUnavailableError):
            await reader.ended()

        assert not delivered.is_set()

    _reading(monkeypatch, [Said(error), Said()], scenario)


def test_a_defect_ends_it_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(reader: KafkaOutcomeReader, _delivered: asyncio.Event) -> None:
        with pytest.raises(LookupError):
            await reader.ended()

    _reading(monkeypatch, [LookupError("ours")], scenario)


def test_it_ends_without_an_error_once_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(reader: KafkaOutcomeReader, _delivered: asyncio.Event) -> None:
        await reader.close()
        await reader.ended()

        assert not reader.is_alive

    _reading(monkeypatch, [], scenario)

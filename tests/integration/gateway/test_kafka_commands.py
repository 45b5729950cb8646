"""Commands on a real producer: with Kafka gone a caller is answered in time, and nothing is sent long after."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.local.embedded_kafka import EmbeddedKafka
from deploy.local.server_process import free_port
from gateway.adapters.kafka_commands import KafkaCommandPublisher
from gateway.commands.ports import CommandRecord
from schemas.errors import BrokerUnavailableError
from schemas.ids import TenantId
from schemas.topics import COMMANDS

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

# Left to itself librdkafka keeps a record for five minutes. It looks once a second for what is too old.
_FORGOTTEN_SECONDS_MAX = 20.0
_LOOK_SECONDS = 0.1


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    """One of this test's own, which it may stop and start again."""
    broker = EmbeddedKafka(data_directory=tmp_path / "kafka")
    broker.start()
    yield broker
    broker.stop()


def _publisher(bootstrap: str, *, seconds: float) -> KafkaCommandPublisher:
    config = {"bootstrap.servers": bootstrap, "log_level": 0}
    return KafkaCommandPublisher(config, partitions=1, seconds=seconds)


def _record(value: bytes) -> CommandRecord:
    return CommandRecord(tenant_id=TenantId("acme"), value=value, headers={})


def _forget(publisher: KafkaCommandPublisher) -> None:
    """Until librdkafka has nothing more to send."""
    deadline = time.monotonic() + _FORGOTTEN_SECONDS_MAX
    while len(publisher._producer._producer):
        assert time.monotonic() < deadline
        time.sleep(_LOOK_SECONDS)


def _values(bootstrap: str, *, count: int) -> list[bytes | None]:
    """Of the first records of the commands' topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "log_level": 0})
    try:
        consumer.assign([TopicPartition(COMMANDS, 0, OFFSET_BEGINNING)])
        return [message.value() for message in consumer.consume(count, _FORGOTTEN_SECONDS_MAX)]
    finally:
        consumer.close()


def test_a_command_that_kafka_does_not_acknowledge_in_time_is_not_known() -> None:
    async def scenario() -> None:
        publisher = _publisher(f"127.0.0.1:{free_port()}", seconds=0.2)
        try:
            with pytest.raises(BrokerUnavailableError, match=r"acknowledged within 0\.2 s"):
                await asyncio.wait_for(publisher.publish(_record(b"1")), _FORGOTTEN_SECONDS_MAX)
            await asyncio.to_thread(_forget, publisher)
        finally:
            await asyncio.to_thread(publisher.close)

    asyncio.run(scenario())


def test_what_an_outage_left_unsent_is_not_sent_after_it_and_commands_go_on(
    broker: EmbeddedKafka,
) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(COMMANDS, num_partitions=1)])[COMMANDS].result(timeout=20)

    async def scenario() -> None:
        publisher = _publisher(broker.bootstrap, seconds=3)
        try:
            await publisher.publish(_record(b"before"))
            await asyncio.to_thread(broker.stop)
            with pytest.raises(BrokerUnavailableError):
                await publisher.publish(_record(b"meanwhile"))
            await asyncio.to_thread(_forget, publisher)
            await asyncio.to_thread(broker.start)
            await publisher.publish(_record(b"after"))
        finally:
            await asyncio.to_thread(publisher.close)

    asyncio.run(scenario())

    assert _values(broker.bootstrap, count=2) == [b"before", b"after"]

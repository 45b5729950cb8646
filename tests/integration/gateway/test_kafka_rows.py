"""The row topic on a real broker: one writer at a time, and the newest committed version of every key."""

import asyncio
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from gateway.adapters import kafka_gateway_rows
from gateway.adapters.kafka_gateway_rows import KafkaRowHistory, KafkaRowLog
from gateway.outbox.rows import AgentKeyRow, message_of
from schemas.errors import OwnershipLostError
from schemas.ids import TenantId
from tests.support.builders import T0

pytestmark = pytest.mark.integration

PARTITIONS = 3
ROW = AgentKeyRow(
    tenant_id=TenantId("acme"),
    key_id="agent-1",
    public_key=bytes(range(32)),
    purposes=("harbor.intent.fund",),
    expires_at=None,
    created_at=T0,
)


@pytest.fixture
def topic(kafka: str, unique_name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A row topic and a transactional id of this test alone."""
    admin = AdminClient({"bootstrap.servers": kafka})
    new = NewTopic(unique_name, num_partitions=PARTITIONS, replication_factor=1)
    for future in admin.create_topics([new]).values():
        future.result(timeout=20)
    monkeypatch.setattr(kafka_gateway_rows, "GATEWAY_ROWS", unique_name)
    monkeypatch.setattr(kafka_gateway_rows, "TRANSACTIONAL_ID", f"relay-{unique_name}")
    return unique_name


def _log(kafka: str) -> KafkaRowLog:
    config = {"bootstrap.servers": kafka, "enable.idempotence": True, "log_level": 0}
    return KafkaRowLog(config, partitions=PARTITIONS)


def _history(kafka: str, topic: str) -> KafkaRowHistory:
    config = {"bootstrap.servers": kafka, "group.id": f"{topic}-unused", "log_level": 0}
    return KafkaRowHistory(config, partitions=PARTITIONS)


def test_the_newest_version_of_every_key_is_read_back(kafka: str, topic: str) -> None:
    other = replace(ROW, key_id="agent-2")
    revoked = replace(ROW, revoked_at=T0)

    async def scenario() -> None:
        log = _log(kafka)
        try:
            await log.open()
            await log.publish([message_of(ROW, 1), message_of(other, 2)])
            await log.publish([message_of(revoked, 3)])

            newest = await _history(kafka, topic).newest()
        finally:
            await log.close()

        assert sorted(newest, key=lambda row: row.outbox_id) == [
            message_of(other, 2),
            message_of(revoked, 3),
        ]

    asyncio.run(scenario())


def test_an_empty_topic_has_no_rows(kafka: str, topic: str) -> None:
    newest = asyncio.run(_history(kafka, topic).newest())

    assert newest == ()


@pytest.mark.apache_only
def test_a_stalled_relay_is_fenced_by_its_successor(kafka: str, topic: str) -> None:
    async def scenario() -> None:
        stalled, successor = _log(kafka), _log(kafka)
        try:
            await stalled.open()
            await stalled.publish([message_of(ROW, 1)])
            await successor.open()
            await successor.publish([message_of(replace(ROW, revoked_at=T0), 2)])

            with pytest.raises(OwnershipLostError):
                await stalled.publish([message_of(ROW, 1)])

            newest = await _history(kafka, topic).newest()
        finally:
            await stalled.close()
            await successor.close()

        assert [row.outbox_id for row in newest] == [2]

    asyncio.run(scenario())

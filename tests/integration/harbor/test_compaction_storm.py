"""Ledger topics under a cleaner that never rests: nothing is lost, and a record that was sent twice is noticed."""

import asyncio
import time
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.engine.cluster_layout import SINGLE_NODE, ledger_layout
from harbor.fsck.findings import FindingKind
from harbor.fsck.reread import LedgerReading, Rereading
from schemas.ids import TenantId
from schemas.ledger.entry_chain import leaf_hash
from schemas.ledger.merkle_tree import root_of
from schemas.messages.command_sealing import command_headers, seal
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, ledger_topic
from streams.runtime.kafka_clients import client_settings, reader_settings
from streams.runtime.shared_settings import GroupProtocol, SharedSettings
from tests.integration.harbor.programs import KEY, PARTITIONS, SECONDS_MAX, Site
from tests.integration.harbor.test_crash_points import commands_of
from tests.integration.harbor.worlds import settings_for
from tests.support.builders import TENANT
from tests.support.depth import by_depth
from tests.support.ledgers import STORIES, Ledger, a_ledger
from tests.support.records import plain_producer

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

# The broker rolls by time below the megabyte that is its smallest segment by size.
STORM = {
    "segment.ms": "100",
    "segment.bytes": str(1024 * 1024),
    "min.cleanable.dirty.ratio": "0.0",
    "max.compaction.lag.ms": "1",
    "delete.retention.ms": "0",
}
_OTHER = TenantId("tenant-with-one-entry")
_ROUNDS = by_depth(usual=20, deep=400)
_ENTRIES_A_TRANSACTION = 10
_ABORTED_ONE_IN = 5
# The cleaner looks every 15 s when it found nothing to do; the rest is for a loaded machine.
_CLEANED_SECONDS_MAX = 90.0


def test_a_ledger_under_a_compaction_storm_keeps_every_entry_its_order_and_its_root(
    kafka: str, unique_name: str
) -> None:
    settings = settings_for(kafka, is_apache=True, protocol=GroupProtocol.CLASSIC)
    ledger = a_ledger(unique_name, [*STORIES] * _ROUNDS)
    topic = ledger_topic(ledger.tenant_id)
    asyncio.run(_make_stormy_topic(settings, ledger.tenant_id))

    written = _write(kafka, ledger, unique_name)
    left = _wait_for_the_cleaner(kafka, topic, written=written)

    assert left < written
    records = _records(kafka, topic, isolation="read_committed")
    assert [record.key() for record in records] == [record.key for record in ledger.records]
    assert [record.value() for record in records] == [record.value for record in ledger.records]
    reading = asyncio.run(_reread(settings, ledger.tenant_id))
    assert reading.first_bad is None
    assert reading.size == len(ledger.records)
    assert reading.root == root_of([leaf_hash(record.value) for record in ledger.records])

    # What must never happen: compaction would keep this copy, behind its successors.
    _produce(kafka, topic, ledger.records[1].key, ledger.records[1].value)
    damaged = asyncio.run(_reread(settings, ledger.tenant_id))
    assert damaged.first_bad is not None
    assert damaged.first_bad.kind is FindingKind.DOUBLED


def test_an_entry_that_somebody_published_again_quarantines_its_tenant_at_assignment(
    site: Site,
) -> None:
    topic = ledger_topic(TENANT)
    with site.harbor() as first:
        made = site.call("tenants", "create", TENANT, "--environment", "sandbox")
        assert made.status == 0, made.talk
        for command in commands_of(1):
            sealed = seal(command, bytes.fromhex(KEY))
            _produce(
                site.bootstrap, COMMANDS, TENANT.encode(), sealed, dict(command_headers(command))
            )
        deadline = time.monotonic() + SECONDS_MAX
        while len(entries := _records(site.bootstrap, topic, isolation="read_committed")) < 3:
            assert time.monotonic() < deadline, first.log.read_text()
        single = site.call("tenants", "create", _OTHER, "--environment", "sandbox")
        assert single.status == 0, single.talk
        assert first.stop() == 0
    _produce(site.bootstrap, topic, entries[1].key() or b"", entries[1].value() or b"")
    # Of the last entry a copy right behind it: neither the end nor the order changes.
    (only,) = _records(site.bootstrap, ledger_topic(_OTHER), isolation="read_committed")
    _produce(site.bootstrap, ledger_topic(_OTHER), only.key() or b"", only.value() or b"")

    with site.harbor() as second:
        second.wait_for("partition_started", PARTITIONS)
        found = second.events("tenant_quarantined")
        other = site.call("tenants", "create", "another", "--environment", "sandbox")
    listed = site.call("quarantine", "list", "--json")

    assert {event["tenant_id"] for event in found} == {TENANT, _OTHER}
    assert other.status == 0
    reasons = {row["tenant_id"]: row["reason"] for row in listed.document}
    assert reasons.keys() == {TENANT, _OTHER}
    assert "is there twice" in reasons[_OTHER]


async def _make_stormy_topic(settings: SharedSettings, tenant_id: TenantId) -> None:
    layout = ledger_layout(tenant_id, durability=SINGLE_NODE)
    topics = KafkaTopics(client_settings(settings, client_id="test"))
    try:
        assert await topics.create(replace(layout, config={**layout.config, **STORM}))
    finally:
        await topics.close()


def _write(bootstrap: str, ledger: Ledger, transactional_id: str) -> int:
    """As Harbor writes after aborts: what was aborted comes again. How many records went out, aborted ones too."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": transactional_id, "log_level": 0}
    )
    producer.init_transactions(SECONDS_MAX)
    topic, sent, turn, at = ledger_topic(ledger.tenant_id), 0, 0, 0
    while at < len(ledger.records):
        batch = ledger.records[at : at + _ENTRIES_A_TRANSACTION]
        turn += 1
        producer.begin_transaction()
        for record in batch:
            producer.produce(topic, key=record.key, value=record.value, partition=0)
        assert producer.flush(SECONDS_MAX) == 0
        sent += len(batch)
        if turn % _ABORTED_ONE_IN == 0:
            producer.abort_transaction(SECONDS_MAX)
        else:
            producer.commit_transaction(SECONDS_MAX)
            at += len(batch)
    return sent


def _wait_for_the_cleaner(bootstrap: str, topic: str, *, written: int) -> int:
    """How many records are left once fewer are there than were written."""
    deadline = time.monotonic() + _CLEANED_SECONDS_MAX
    while (left := len(_records(bootstrap, topic, isolation="read_uncommitted"))) >= written:
        assert time.monotonic() < deadline, f"the cleaner took nothing of {written} records"
        time.sleep(1)
    return left


def _records(bootstrap: str, topic: str, *, isolation: str) -> list[Message]:
    """From the beginning, as a consumer has them."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reads-everything",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        records: list[Message] = []
        while True:
            message = consumer.poll(SECONDS_MAX)
            assert message is not None, f"{topic} says nothing"
            if message.error() is not None:
                return records
            records.append(message)
    finally:
        consumer.close()


def _produce(
    bootstrap: str, topic: str, key: bytes, value: bytes, headers: dict[str, bytes] | None = None
) -> None:
    producer = plain_producer(bootstrap)
    partition = partition_of(TENANT, PARTITIONS) if topic == COMMANDS else 0
    producer.produce(topic, key=key, value=value, partition=partition, headers=dict(headers or {}))
    assert producer.flush(SECONDS_MAX) == 0


async def _reread(settings: SharedSettings, tenant_id: TenantId) -> LedgerReading:
    """What `fsck` makes of the topic alone."""
    reader = KafkaLogReader(
        reader_settings(settings, client_id="test"),
        client_settings(settings, client_id="test"),
        is_embedded=False,
        partitions=settings.kafka_partitions,
    )
    topic = ledger_topic(tenant_id)
    try:
        end = await reader.stable_offset(topic, 0)
        rereading = Rereading(tenant_id, reader.read(topic, 0, start=0, end=end))
        async for _ in rereading.steps():
            pass
        return rereading.reading()
    finally:
        await reader.close()

"""Every kind of damage, written to a copy of a tenant's topics on the real broker: fsck says the first bad seq.

One cluster for all: each damage has a tenant of its own, so that one `fsck --all` reads them all and each is told by
itself. A copy holds the very bytes of an undamaged ledger; what is damaged is one thing.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from confluent_kafka import Producer

from harbor.adapters.kafka_topics import KafkaTopics
from harbor.engine.cluster_layout import SINGLE_NODE, ledger_layout
from schemas.canonical import ed25519
from schemas.ids import IntentId, TenantId
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.tips import Tip
from schemas.partitioner import partition_of
from schemas.topics import CHECKPOINTS, EVIDENCE, INTENTS, TIPS, intent_key, ledger_topic
from streams.runtime.kafka_clients import client_settings
from streams.runtime.shared_settings import GroupProtocol, SharedSettings
from tests.integration.harbor.programs import PARTITIONS, Site
from tests.integration.harbor.worlds import SECONDS_MAX, settings_for
from tests.support.ledger_builder import (
    DEPLOYMENT,
    LEDGER_SEED,
    KeyValue,
    LedgerBuilder,
    a_ledger,
)
from tests.support.records import forget_topics, plain_producer

pytestmark = pytest.mark.integration

SEQ = 7
CLASSIC = GroupProtocol.CLASSIC
PUBLIC_KEY = ed25519.public_key(LEDGER_SEED).hex()


@dataclass(slots=True)
class Copy:
    """What is written of one tenant."""

    builder: LedgerBuilder
    ledger: list[KeyValue] = field(default_factory=list)
    tips: list[KeyValue] = field(default_factory=list)
    intents: dict[bytes, bytes] = field(default_factory=dict)
    bodies: dict[bytes, bytes] = field(default_factory=dict)


def copy_of(name: str) -> Copy:
    builder = a_ledger(3, intents=6, tenant_id=name)
    return Copy(
        builder=builder,
        ledger=list(builder.ledger),
        tips=list(builder.tips),
        intents=dict(builder.intents),
        bodies=dict(builder.bodies),
    )


def flip_a_byte(copy: Copy) -> None:
    record = copy.ledger[SEQ - 1]
    assert record.value is not None
    # In the middle of the record: its event, or its hash.
    at = len(record.value) // 2
    changed = record.value[:at] + bytes([record.value[at] ^ 1]) + record.value[at + 1 :]
    copy.ledger[SEQ - 1] = replace(record, value=changed)


def leave_one_out(copy: Copy) -> None:
    del copy.ledger[SEQ - 1]


def write_one_twice(copy: Copy) -> None:
    copy.ledger.insert(SEQ, copy.ledger[SEQ - 1])


def publish_one_again(copy: Copy) -> None:
    """As by hand, behind the end: compaction would keep this copy and break the order."""
    copy.ledger.append(copy.ledger[SEQ - 1])


def swap_two(copy: Copy) -> None:
    copy.ledger[SEQ - 1 : SEQ + 1] = reversed(copy.ledger[SEQ - 1 : SEQ + 1])


def insert_one(copy: Copy) -> None:
    """Another entry of this seq, with a good chain behind it; the true one comes after."""
    other = a_ledger(4, intents=6, tenant_id=copy.builder.tenant_id)
    copy.ledger.insert(SEQ - 1, other.ledger[SEQ - 1])


def bury_one(copy: Copy) -> None:
    copy.ledger[SEQ - 1] = replace(copy.ledger[SEQ - 1], value=None)


def set_the_tip_back(copy: Copy) -> None:
    """A tip that is no later than the one before it."""
    copy.tips.append(copy.tips[-2])


def change_a_state(copy: Copy) -> None:
    state = _settled(copy)
    key = intent_key(copy.builder.tenant_id, IntentId(state.intent_id))
    copy.intents[key] = encode(replace(state, amount_minor=state.amount_minor + 1))


def change_a_body(copy: Copy) -> None:
    key, body = next(iter(copy.bodies.items()))
    assert body
    copy.bodies[key] = body.replace(b'"max_spend_usd":200', b'"max_spend_usd":900')


def change_nothing(_: Copy) -> None:
    """The copy itself is clean."""


def _settled(copy: Copy) -> Any:
    return max(copy.builder.states.values(), key=lambda state: state.last_seq)


def _of_the_state(copy: Copy) -> int:
    return int(_settled(copy).last_seq)


def _of_the_tip(copy: Copy) -> int:
    return decode_as(Tip, copy.builder.tips[-2].value or b"").size


def _of_the_body(copy: Copy) -> int:
    return next(entry.seq for entry in copy.builder.entries if entry.intent_id is not None)


@dataclass(frozen=True, slots=True)
class Damage:
    do: Callable[[Copy], None]
    kinds: frozenset[str]
    seq: Callable[[Copy], int] = lambda _: SEQ


DAMAGES = {
    "flipped": Damage(flip_a_byte, frozenset({"damaged", "impossible", "schema_unknown"})),
    "missing": Damage(leave_one_out, frozenset({"missing"})),
    "doubled": Damage(write_one_twice, frozenset({"doubled"})),
    "republished": Damage(publish_one_again, frozenset({"doubled"})),
    "swapped": Damage(swap_two, frozenset({"swapped"})),
    "inserted": Damage(insert_one, frozenset({"inserted", "damaged"})),
    "buried": Damage(bury_one, frozenset({"tombstone"})),
    "tip": Damage(set_the_tip_back, frozenset({"tip_does_not_extend"}), _of_the_tip),
    "state": Damage(change_a_state, frozenset({"not_implied"}), _of_the_state),
    "body": Damage(change_a_body, frozenset({"not_implied"}), _of_the_body),
}
NAMES = ("clean", *DAMAGES)


@pytest.fixture(scope="module")
def reports(
    kafka: str, tmp_path_factory: pytest.TempPathFactory, *, is_apache: bool
) -> dict[str, dict[str, Any]]:
    """By tenant, after one `fsck` of all copies."""
    forget_topics(kafka, seconds=SECONDS_MAX)
    asyncio.run(_make_topics(settings_for(kafka, is_apache=is_apache, protocol=CLASSIC)))
    site = Site(bootstrap=kafka, folder=tmp_path_factory.mktemp("fsck"), is_apache=is_apache)
    assert site.call("topics", "apply").status == 0
    producer = plain_producer(kafka)
    for name in NAMES:
        copy = copy_of(name)
        (DAMAGES[name].do if name in DAMAGES else change_nothing)(copy)
        _write(producer, copy)
    assert producer.flush(60) == 0
    ended = site.call(
        "fsck",
        "--all",
        "--json",
        "--without-postgres",
        "--verifier-key",
        PUBLIC_KEY,
        PAYBOND_DEPLOYMENT=DEPLOYMENT,
    )
    assert ended.status == 1, ended.talk
    return {report["tenant_id"]: report for report in json.loads(ended.out)["tenants"]}


async def _make_topics(settings: SharedSettings) -> None:
    """The copies' ledger topics on a cluster that has no other of ours."""
    topics = KafkaTopics(client_settings(settings, client_id="test"))
    try:
        for name in NAMES:
            await topics.create(ledger_layout(TenantId(name), durability=SINGLE_NODE))
    finally:
        await topics.close()


def _write(producer: Producer, copy: Copy) -> None:
    tenant_id = copy.builder.tenant_id
    shared = partition_of(tenant_id, PARTITIONS)
    topics: Sequence[tuple[str, int, Sequence[KeyValue]]] = (
        (ledger_topic(tenant_id), 0, copy.ledger),
        (TIPS, shared, copy.tips),
        (INTENTS, shared, _records(copy.intents)),
        (CHECKPOINTS, shared, copy.builder.checkpoints),
        (EVIDENCE, shared, _records(copy.bodies)),
    )
    for topic, partition, records in topics:
        for record in records:
            producer.produce(topic, key=record.key, value=record.value, partition=partition)


def _records(values: dict[bytes, bytes]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def test_an_undamaged_copy_is_clean(reports: dict[str, dict[str, Any]]) -> None:
    assert reports["clean"]["findings"] == []
    assert reports["clean"]["first_bad_seq"] is None


@pytest.mark.parametrize("name", DAMAGES)
def test_the_damage_is_named_with_its_first_bad_seq(
    reports: dict[str, dict[str, Any]], name: str
) -> None:
    damage = DAMAGES[name]

    report = reports[name]

    assert report["first_bad_seq"] == damage.seq(copy_of(name)), report["findings"]
    assert report["reason"] in damage.kinds, report["findings"]

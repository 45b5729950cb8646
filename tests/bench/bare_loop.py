"""What a consume–transform–produce loop of the same size costs that does nothing else: the measure beside Harbor's.

Same client library, same transactions, as many records and bytes per input; one variant verifies a signature for as
many inputs as Harbor does, on the same number of threads.
"""

import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.canonical import ed25519
from schemas.messages.commands import Command

_PARTITIONS = 4
_BATCH = 2_000
_THREADS = 2
_SEED = b"\x07" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BareLoop:
    bootstrap: str
    records_per_command: int
    value_bytes: int
    commands: Sequence[tuple[Command, bytes]]
    signatures_each: float


def bare_loop_seconds(loop: BareLoop, *, verifies: bool) -> float:
    """Seconds from the first batch to the last commit; the inputs lie on their topic before."""
    name = f"bench-{secrets.token_hex(4)}"
    admin = AdminClient({"bootstrap.servers": loop.bootstrap})
    topics = [NewTopic(f"{name}-{part}", _PARTITIONS, 1) for part in ("in", "out")]
    for made in admin.create_topics(topics).values():
        made.result()
    _fill(loop, f"{name}-in")
    signatures = _signatures(int(len(loop.commands) * loop.signatures_each)) if verifies else []
    consumer = Consumer(
        {
            "bootstrap.servers": loop.bootstrap,
            "group.id": name,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([f"{name}-in"])
    producer = Producer(
        {"bootstrap.servers": loop.bootstrap, "transactional.id": name, "linger.ms": 5}
    )
    producer.init_transactions(60)
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            return _worked(
                loop, consumer, producer, topic=f"{name}-out", pool=pool, signatures=signatures
            )
    finally:
        consumer.close()


def _worked(
    loop: BareLoop,
    consumer: Consumer,
    producer: Producer,
    *,
    topic: str,
    pool: ThreadPoolExecutor,
    signatures: list[tuple[bytes, bytes, bytes]],
) -> float:
    value, done, began = b"x" * loop.value_bytes, 0, 0.0
    while done < len(loop.commands):
        first = consumer.poll(1)
        if first is None:
            continue
        # After the poll, which may have joined the group: a single member has nobody to lose a partition to.
        group = consumer.consumer_group_metadata()
        batch = [first, *consumer.consume(_BATCH - 1, 0)]
        began = began or time.perf_counter()
        part, signatures = signatures[: len(batch)], signatures[len(batch) :]
        if part:
            assert all(pool.map(lambda one: ed25519.verify(*one), part))
        producer.begin_transaction()
        ends: dict[int, int] = {}
        for message in batch:
            partition, offset = message.partition() or 0, message.offset() or 0
            ends[partition] = offset + 1
            for number in range(loop.records_per_command):
                producer.produce(topic, key=f"{offset}/{number}", value=value, partition=partition)
            producer.poll(0)
        places = [TopicPartition(first.topic() or "", *place) for place in ends.items()]
        producer.send_offsets_to_transaction(places, group, 30)
        producer.commit_transaction(60)
        done += len(batch)
    return time.perf_counter() - began


def _fill(loop: BareLoop, topic: str) -> None:
    producer = Producer({"bootstrap.servers": loop.bootstrap, "linger.ms": 5})
    for number, (command, value) in enumerate(loop.commands):
        producer.produce(topic, key=command.tenant_id, value=value, partition=number % _PARTITIONS)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush(60)


def _signatures(count: int) -> list[tuple[bytes, bytes, bytes]]:
    """Distinct messages: a signature that is verified twice could be remembered."""
    public_key = ed25519.public_key(_SEED)
    messages = [secrets.token_bytes(200) for _ in range(count)]
    return [(public_key, message, ed25519.sign(_SEED, message)) for message in messages]

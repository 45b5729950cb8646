"""Records in and out of a broker, as plainly as the client allows: for tests of the ground itself."""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

SECONDS_MAX = 20.0


def create_topic(bootstrap: str, topic: str, config: Mapping[str, str] | None = None) -> None:
    """One partition, one replica."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new = NewTopic(topic, num_partitions=1, replication_factor=1, config=dict(config or {}))
    for future in admin.create_topics([new]).values():
        future.result(timeout=SECONDS_MAX)


def plain_producer(bootstrap: str) -> Producer:
    """Idle at the end of a test it makes no topic again that the next test deletes."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "allow.auto.create.topics": False,
            # It would say on stderr that a broker that a test stopped went away.
            "log_level": 0,
        }
    )


def produce(bootstrap: str, topic: str, values: Sequence[bytes]) -> None:
    """Acknowledged when this returns."""
    producer = plain_producer(bootstrap)
    for value in values:
        producer.produce(topic, value=value, key=value)
    assert producer.flush(SECONDS_MAX) == 0


def read_all(bootstrap: str, topic: str, *, group: str) -> list[bytes]:
    """Every committed value of partition 0, in order, up to its present end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline = time.monotonic() + SECONDS_MAX
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                return values
            assert error is None, error
            value = message.value()
            assert value is not None
            values.append(value)
    finally:
        consumer.close()
    raise AssertionError(f"no end of {topic} within {SECONDS_MAX} s; read {len(values)}")

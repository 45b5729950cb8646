"""Records in and out of a broker, as plainly as the client allows: for tests of the ground itself."""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

SECONDS_MAX = 20.0
_LOOK_SECONDS = 0.05


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


def forget_topics(bootstrap: str, *, seconds: float) -> None:
    """Ours are gone when this returns: earlier tests left theirs on the same broker."""
    admin = _admin(bootstrap)
    names = _our_topics(admin)
    if not names:
        return
    for deleted in admin.delete_topics(names).values():
        deleted.result(seconds)
    deadline = time.monotonic() + seconds
    while left := set(_our_topics(admin)) & set(names):
        assert time.monotonic() < deadline, f"{left} are still there"
        time.sleep(_LOOK_SECONDS)


def forget(bootstrap: str, *, group: str, seconds: float) -> None:
    """Our topics and this group, as on the first day."""
    forget_topics(bootstrap, seconds=seconds)
    admin, deadline = _admin(bootstrap), time.monotonic() + seconds
    while True:
        try:
            admin.delete_consumer_groups([group])[group].result(seconds)
        except KafkaException as error:
            # A member whose test failed may still have its session. Any other error: there is no such group.
            if "NON_EMPTY_GROUP" in str(error):
                assert time.monotonic() < deadline, f"{group} has members"
                time.sleep(_LOOK_SECONDS)
                continue
        return


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def _our_topics(admin: AdminClient) -> list[str]:
    names = admin.list_topics(timeout=SECONDS_MAX).topics
    return [name for name in names if name.startswith("paybond.")]

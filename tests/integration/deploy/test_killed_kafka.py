"""A node that was SIGKILLed while transactions were being committed leaves none that hangs for ever.

Without `deploy.local.kafka_fencing` five kills in six left 30 to 40 of the 40 partitions hanging (measured). A kill
0.7 s after the producers started left none in three: on a new node the first commits may come later than that.
"""

import itertools
import random
import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from deploy.local.apache_kafka import ApacheKafka
from schemas.topics import LEDGER
from tests.support.brokers import apache_libraries, temporary_directory

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

# Many, so that the kill comes while some have their marker and some have not.
_TOPICS = tuple(f"topic-{number}" for number in range(10))
_PARTITIONS = 4
# Each has its own partition of the coordinator's log, and each of those is loaded at another moment of the next life.
_PRODUCERS = 8
# The first one waits for the coordinator's topic, which may take longer than anything after it.
_COMMITS_BEFORE_THE_KILL = 3
_COMMITTING_SECONDS_MAX = 60.0
_LEDGERS = 20
# In units of a segment's index: an entry of 12 bytes stands for some 5 KB of records. Half a segment, and then another.
_BEFORE_FIRST_KILL = 200
_BEFORE_SECOND_KILL = 400
_T0_MILLISECONDS = 1_700_000_000_000
_ticks = itertools.count()
# Its time-out of 10 s and the coordinator's start; the rest is for a loaded machine.
_SETTLED_SECONDS_MAX = 90.0


@pytest.fixture
def own_broker() -> Iterator[ApacheKafka]:
    with temporary_directory("kafka") as directory:
        broker = ApacheKafka(data_directory=directory, libraries=apache_libraries())
        broker.start()
        yield broker
        broker.stop()


def test_no_transaction_hangs_after_a_kill_in_the_middle_of_commits(
    own_broker: ApacheKafka, unique_name: str
) -> None:
    admin = AdminClient({"bootstrap.servers": own_broker.bootstrap})
    topics = [NewTopic(topic, _PARTITIONS, 1) for topic in _TOPICS]
    for created in admin.create_topics(topics).values():
        created.result()
    producing = [_Committing(own_broker, f"{unique_name}-{n}") for n in range(_PRODUCERS)]

    for thread in producing:
        thread.start()
    deadline = time.monotonic() + _COMMITTING_SECONDS_MAX
    while any(thread.committed < _COMMITS_BEFORE_THE_KILL for thread in producing):
        assert time.monotonic() < deadline, "nobody commits"
        time.sleep(0.01)
    own_broker.kill()
    for thread in producing:
        thread.join()
    own_broker.start()

    # A client of its own: an old one goes on asking with the leader epoch that it knew.
    assert _settled(AdminClient({"bootstrap.servers": own_broker.bootstrap})) == []


def test_a_node_that_was_killed_twice_starts_although_segments_of_ledgers_have_ended(
    own_broker: ApacheKafka,
) -> None:
    """With a ledger's settings, sixteenth for sixteenth. Segments that end because their index is full stopped it."""
    sizes = ("segment.bytes", "segment.index.bytes")
    config = {name: str(int(LEDGER.config[name]) // 16) for name in sizes}
    topic = NewTopic("ledgers", _LEDGERS, 1, config={**LEDGER.config, **config})
    admin = AdminClient({"bootstrap.servers": own_broker.bootstrap})
    admin.create_topics([topic])["ledgers"].result()
    rng = random.Random(7)

    for part in (_BEFORE_FIRST_KILL, _BEFORE_SECOND_KILL):
        _fill(own_broker, rng, bytes_each=part * int(config["segment.index.bytes"]))
        own_broker.kill()
        own_broker.start()

    # A client of its own, kept by name: one that is collected gives up what it was asked.
    asking = AdminClient({"bootstrap.servers": own_broker.bootstrap, "log_level": 0})
    ends = _ends(asking, [TopicPartition("ledgers", number) for number in range(_LEDGERS)])
    assert all(end > 0 for end in ends)


def _fill(broker: ApacheKafka, rng: random.Random, *, bytes_each: int) -> None:
    """Batches of one record each, of any size: how many of them are 4 KB differs with where one begins to count."""
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap, "batch.num.messages": 1, "log_level": 0}
    )
    left = bytes_each * _LEDGERS
    while left > 0:
        value = bytes(rng.randrange(100, 5_000))
        left -= len(value)
        # Times that grow: a time index has an entry for later ones only.
        timestamp = _T0_MILLISECONDS + next(_ticks)
        while True:
            try:
                producer.produce(
                    "ledgers",
                    key=str(timestamp).encode(),
                    value=value,
                    timestamp=timestamp,
                    partition=rng.randrange(_LEDGERS),
                )
            except BufferError:
                producer.poll(0.05)
            else:
                break
    assert producer.flush(_COMMITTING_SECONDS_MAX) == 0


class _Committing(threading.Thread):
    """One transaction after the other, until one fails."""

    def __init__(self, broker: ApacheKafka, transactional_id: str) -> None:
        super().__init__(name=transactional_id)
        self.committed = 0
        self._producer = Producer(
            {
                "bootstrap.servers": broker.bootstrap,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": 10_000,
                "log_level": 0,
            }
        )

    def run(self) -> None:
        producer = self._producer
        try:
            producer.init_transactions(30)
            while True:
                producer.begin_transaction()
                for topic in _TOPICS:
                    for partition in range(_PARTITIONS):
                        producer.produce(topic, value=b"x", partition=partition)
                producer.commit_transaction(2)
                self.committed += 1
        except KafkaException:
            producer.purge()
            producer.poll(0)


def _settled(admin: AdminClient) -> list[TopicPartition]:
    """Partitions whose last stable offset still is not their end when everything has had its time."""
    places = [
        TopicPartition(topic, partition) for topic in _TOPICS for partition in range(_PARTITIONS)
    ]
    deadline = time.monotonic() + _SETTLED_SECONDS_MAX
    while True:
        ends = _ends(admin, places)
        stable = _ends(admin, places, isolation_level=IsolationLevel.READ_COMMITTED)
        hanging = [
            place for place, end, until in zip(places, ends, stable, strict=True) if until < end
        ]
        if not hanging or time.monotonic() > deadline:
            return hanging
        time.sleep(0.5)


def _ends(
    admin: AdminClient,
    places: list[TopicPartition],
    isolation_level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> list[int]:
    """A node that has just started may tell of a leader whose epoch it does not know yet: it is asked again."""
    asked = {place: OffsetSpec.latest() for place in places}  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + _SETTLED_SECONDS_MAX
    while True:
        told = admin.list_offsets(asked, isolation_level=isolation_level)
        try:
            return [told[place].result(_COMMITTING_SECONDS_MAX).offset for place in places]
        except KafkaException:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)

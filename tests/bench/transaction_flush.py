"""What a partition costs a transaction: the flush before its commit, by the number of partitions it writes to.

librdkafka sends a ProduceRequest for each partition (its issue 1700) and a broker answers a connection's requests one
after the other. Before a transaction's first append to a partition the broker asks the coordinator about it (KIP-890):
measured by switching that off, which no broker that holds money may do.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from tests.bench.figures import Figure
from tests.support.brokers import BrokerChoice, BrokerKind, running_broker

_TOPIC = "flushed"
# Harbor's 64 in flight of 8 tenants over 4 partitions write to up to 32.
_PARTITIONS = (1, 8, 32)
_TRANSACTIONS = 200
# About what such a transaction of Harbor holds, and how long its records are.
_RECORDS = 128
_VALUE = bytes(500)
_ROUNDS = 2
_BROKER_ID = "1"
_VERIFICATION = "transaction.partition.verification.enable"
_VERIFIED, _UNVERIFIED = "true", "false"


def run(share: float) -> Iterator[Figure]:
    transactions = max(3, int(_TRANSACTIONS * share))
    seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
    with running_broker(BrokerChoice(kind=BrokerKind.APACHE)) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(_TOPIC, max(_PARTITIONS), 1)])[_TOPIC].result()
        # The first round finds the broker's code cold, so it is not counted.
        for round_number in range(_ROUNDS + 1):
            for verification in (_VERIFIED, _UNVERIFIED):
                _set_verification(admin, verification)
                for partitions in _PARTITIONS:
                    flushes = _flushes(broker.bootstrap, partitions, transactions)
                    if round_number > 0:
                        seconds[partitions, verification] += flushes
    for (partitions, verification), flushes in seconds.items():
        how = "" if verification == _VERIFIED else ", KIP-890's check off"
        yield Figure(
            name=f"flush of a transaction over {partitions} partition(s){how}, p50",
            value=statistics.median(flushes) * 1e3,
            unit="ms",
        )


def _flushes(bootstrap: str, partitions: int, transactions: int) -> list[float]:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": f"flush-{partitions}",
            "linger.ms": 0,
            "log_level": 0,
        }
    )
    producer.init_transactions()
    flushes = []
    for _ in range(transactions):
        producer.begin_transaction()
        for number in range(_RECORDS):
            producer.produce(_TOPIC, _VALUE, partition=number % partitions)
        began = time.perf_counter()
        producer.flush()
        flushes.append(time.perf_counter() - began)
        producer.commit_transaction()
    return flushes


def _set_verification(admin: AdminClient, value: str) -> None:
    entry = ConfigEntry(_VERIFICATION, value, incremental_operation=AlterConfigOpType.SET)
    broker = ConfigResource(ResourceType.BROKER, _BROKER_ID, incremental_configs=[entry])
    admin.incremental_alter_configs([broker])[broker].result()

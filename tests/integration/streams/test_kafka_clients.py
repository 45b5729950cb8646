"""What every client of ours is told, shown on a broker that makes topics for whoever names one."""

import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.runtime.kafka_clients import client_settings, producer_settings
from streams.runtime.shared_settings import Broker, SharedSettings

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]
_REFRESH_SECONDS = 0.2


def test_a_producer_that_outlives_its_topic_does_not_make_it_again(
    kafka: str, unique_name: str
) -> None:
    settings = SharedSettings(kafka_bootstrap=kafka, kafka_broker=Broker.EMBEDDED)
    admin = AdminClient(client_settings(settings, client_id="test"))
    admin.create_topics([NewTopic(unique_name, num_partitions=3)])[unique_name].result()
    refreshing = {"topic.metadata.refresh.interval.ms": int(_REFRESH_SECONDS * 1000)}
    producer = Producer(producer_settings(settings, client_id="test") | refreshing)
    producer.produce(unique_name, b"value", partition=0)
    assert producer.flush(10) == 0

    admin.delete_topics([unique_name])[unique_name].result()
    time.sleep(10 * _REFRESH_SECONDS)

    assert unique_name not in admin.list_topics(timeout=10).topics
    producer.close()

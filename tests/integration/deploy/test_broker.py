"""The session's broker, whichever it is: records go in and out, aborted ones never come out."""

import pytest
from confluent_kafka import Producer

from tests.support.records import SECONDS_MAX, create_topic, produce, read_all

pytestmark = pytest.mark.integration


def test_records_come_out_in_the_order_they_went_in(kafka: str, unique_name: str) -> None:
    create_topic(kafka, unique_name)
    values = [f"value {number}".encode() for number in range(50)]

    produce(kafka, unique_name, values)

    assert read_all(kafka, unique_name, group=unique_name) == values


def test_a_read_committed_reader_sees_no_aborted_record(kafka: str, unique_name: str) -> None:
    create_topic(kafka, unique_name)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": unique_name})
    producer.init_transactions(SECONDS_MAX)

    producer.begin_transaction()
    producer.produce(unique_name, value=b"aborted")
    producer.flush(SECONDS_MAX)
    producer.abort_transaction(SECONDS_MAX)
    producer.begin_transaction()
    producer.produce(unique_name, value=b"committed")
    producer.commit_transaction(SECONDS_MAX)

    assert read_all(kafka, unique_name, group=unique_name) == [b"committed"]

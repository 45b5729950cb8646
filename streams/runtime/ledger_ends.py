"""How far each tenant's ledger reaches on Kafka, by seq: what lag is measured against.

The last record is not at the end of the log: commit markers and aborted records lie there. It is looked for backwards,
doubling the distance.
"""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.errors import BrokerUnavailableError
from schemas.topics import tenant_of_ledger_topic

_REQUEST_SECONDS_MAX = 10.0
_ROUND_SECONDS_MAX = 30.0
_FIRST_DISTANCE = 4


def ledger_ends(config: Mapping[str, Any]) -> dict[str, int]:
    """Tenant → seq of the last committed entry, 0 for an empty ledger. `config` of `reader_settings`.

    Raises BrokerUnavailableError.
    """
    consumer = Consumer(dict(config))
    try:
        return _ends(consumer)
    except KafkaException as error:
        raise BrokerUnavailableError(str(error)) from error
    finally:
        consumer.close()


def _ends(consumer: Consumer) -> dict[str, int]:
    found: dict[str, int] = {}
    bounds: dict[str, tuple[int, int]] = {}
    for topic in consumer.list_topics(timeout=_REQUEST_SECONDS_MAX).topics:
        tenant_id = tenant_of_ledger_topic(topic)
        if tenant_id is not None:
            found[tenant_id] = 0
            low, high = consumer.get_watermark_offsets(
                TopicPartition(topic, 0), timeout=_REQUEST_SECONDS_MAX
            )
            if high > low:
                bounds[topic] = (low, high)
    distance = _FIRST_DISTANCE
    while bounds:
        begins = {topic: max(low, high - distance) for topic, (low, high) in bounds.items()}
        for topic, seq in _last_seqs(consumer, begins).items():
            tenant_id = tenant_of_ledger_topic(topic)
            assert tenant_id is not None
            found[tenant_id] = seq
            del bounds[topic]
        bounds = {topic: bound for topic, bound in bounds.items() if begins[topic] > bound[0]}
        distance *= 2
    return found


def _last_seqs(consumer: Consumer, begins: Mapping[str, int]) -> dict[str, int]:
    """Of the records from these offsets on; a topic without any is missing."""
    consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in begins.items()])
    seqs: dict[str, int] = {}
    reading = set(begins)
    deadline = time.monotonic() + _ROUND_SECONDS_MAX
    while reading:
        message = consumer.poll(1.0)
        if time.monotonic() > deadline:
            raise BrokerUnavailableError(f"{len(reading)} ledger topics were not read to their end")
        if message is None:
            continue
        topic, error, key = message.topic(), message.error(), message.key()
        assert topic is not None
        if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 – its name
            reading.discard(topic)
        elif error is not None:
            raise BrokerUnavailableError(f"{topic}: {error.str()}")
        else:
            seqs[topic] = _seq_of(key)
    consumer.unassign()
    return seqs


def _seq_of(key: bytes | str | None) -> int:
    """The key says it, checked or not: this is a measure of lag, the indexer judges."""
    text = key.decode("ascii", "replace") if isinstance(key, bytes) else key or ""
    digits = text.rpartition("/")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0

"""librdkafka settings of every client: both group protocols, SASL, and what must never be left to a default.

With `group.protocol=consumer` librdkafka refuses `session.timeout.ms` and `partition.assignment.strategy`: the session
is the group's own setting then (`consumer.session.timeout.ms`, set by `paybond-harbor topics apply`).
"""

from typing import Any

from schemas.topics import RECORD_BYTES_MAX
from streams.runtime.shared_settings import GroupProtocol, SharedSettings

# Every tenant has a topic of one partition: the default assignor (range) would give them all to one member.
_BALANCED_ASSIGNOR = "roundrobin"
_METADATA_REFRESH_MILLISECONDS = 2000
TRANSACTION_MILLISECONDS = 10_000
LINGER_MILLISECONDS = 5
# A waiting fetch is answered as soon as one byte is there, so an idle machine need not ask 200 times a second. One
# command in flight takes as long as with 5 ms (measured in turns).
FETCH_WAIT_MILLISECONDS = 100
# Whoever reads to an end learns of it by a fetch that finds nothing, once per partition.
_READER_FETCH_WAIT_MILLISECONDS = 5


def client_settings(settings: SharedSettings, *, client_id: str) -> dict[str, Any]:
    """What admin, producer and consumer share."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "client.id": client_id,
        "security.protocol": settings.kafka_security_protocol.value,
        "topic.metadata.refresh.interval.ms": _METADATA_REFRESH_MILLISECONDS,
        # librdkafka's default is true for producers and admins: one that outlives a topic would bring it back, with
        # the broker's number of partitions. Topics are made by `paybond-harbor topics apply` alone.
        "allow.auto.create.topics": False,
        # The log is ours: librdkafka's own lines on stderr are no structured log, and at level 3 each client writes
        # twenty a second while a broker is away. What matters comes as an error of a call or of `error_cb`.
        "log_level": 2,
    }
    if settings.kafka_sasl_username is not None and settings.kafka_sasl_password is not None:
        config |= {
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": settings.kafka_sasl_password.get_secret_value(),
        }
    return config


def consumer_settings(settings: SharedSettings, *, client_id: str, group: str) -> dict[str, Any]:
    """A group member that commits by hand, reads committed records, and never guesses where to begin."""
    config = client_settings(settings, client_id=client_id) | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": FETCH_WAIT_MILLISECONDS,
        "fetch.error.backoff.ms": 100,
    }
    if settings.kafka_group_protocol is GroupProtocol.CONSUMER:
        return config | {"group.protocol": "consumer"}
    return config | {
        "session.timeout.ms": settings.kafka_session_milliseconds,
        "heartbeat.interval.ms": settings.kafka_session_milliseconds // 3,
        "partition.assignment.strategy": _BALANCED_ASSIGNOR,
    }


def reader_settings(settings: SharedSettings, *, client_id: str) -> dict[str, Any]:
    """A consumer outside any group: assigned and positioned by hand; nothing is ever committed under its id."""
    return client_settings(settings, client_id=client_id) | {
        "group.id": f"{client_id}-unused",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": _READER_FETCH_WAIT_MILLISECONDS,
    }


def producer_settings(settings: SharedSettings, *, client_id: str) -> dict[str, Any]:
    """acks=all and idempotent: librdkafka's own retries neither lose, double nor reorder a record."""
    return client_settings(settings, client_id=client_id) | {
        "enable.idempotence": True,
        "linger.ms": LINGER_MILLISECONDS,
        "compression.type": "lz4",
        # librdkafka refuses records over 1 MB unless told what the topics take.
        "message.max.bytes": RECORD_BYTES_MAX,
    }


def transactional_settings(
    settings: SharedSettings, *, client_id: str, transactional_id: str
) -> dict[str, Any]:
    """The same id fences whoever used it before."""
    return producer_settings(settings, client_id=client_id) | {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": TRANSACTION_MILLISECONDS,
    }

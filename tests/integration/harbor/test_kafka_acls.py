"""The rights of `topics acls` on a broker that refuses: each program does its own work, and nobody else's.

What each may do is written down here once more, by hand: a table that is read from the code under test would agree
with any mistake in it.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from confluent_kafka.cimpl import NewTopic

from deploy.local.apache_kafka import ApacheKafka
from harbor.adapters.kafka_topics import binding_of
from harbor.engine.access import Grant, program_grants, tenant_grants
from schemas.ids import TenantId
from schemas.topics import LEDGER_PREFIX, TOPICS, Program
from tests.support.brokers import apache_libraries, temporary_directory
from tests.support.records import plain_producer

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

_SECONDS_MAX = 60.0
_ITERATIONS = 4096
_LEDGERS = (f"{LEDGER_PREFIX}acme", f"{LEDGER_PREFIX}acme-corp")
_ALL = frozenset({*(spec.name for spec in TOPICS), *_LEDGERS})
_DEAD = "paybond.dead-letters"
_DECIDED = frozenset(
    f"paybond.{name}"
    for name in ("evidence", "intents", "tips", "checkpoints", "positions", "outcomes", "effects")
)

WRITES: Mapping[Program, frozenset[str]] = {
    Program.HARBOR: _DECIDED | {*_LEDGERS, "paybond.commands", _DEAD},
    Program.RAILS: frozenset({"paybond.commands", _DEAD}),
    Program.STREAMS: frozenset({"paybond.commands", _DEAD}),
    Program.GATEWAY: frozenset(
        {"paybond.commands", "paybond.stripe.events", "paybond.gateway.rows", _DEAD}
    ),
    Program.CLI: frozenset({"paybond.commands", _DEAD}),
}
READS: Mapping[Program, frozenset[str]] = {
    Program.HARBOR: (_DECIDED - {"paybond.effects"}) | {*_LEDGERS, "paybond.commands"},
    Program.RAILS: frozenset({"paybond.effects", "paybond.intents"}),
    Program.STREAMS: frozenset(
        {
            "paybond.evidence",
            "paybond.checkpoints",
            "paybond.outcomes",
            # The tenants' rows of it: why a whole tenant waits.
            "paybond.intents",
            "paybond.stripe.events",
            *_LEDGERS,
        }
    ),
    Program.GATEWAY: frozenset({"paybond.outcomes", "paybond.gateway.rows"}),
    Program.CLI: _DECIDED | {*_LEDGERS, _DEAD},
}
# The group ids of the programs' own readers, as `reader_settings` and the gateway make them.
READER_GROUPS: Mapping[Program, str] = {
    Program.HARBOR: "paybond-harbor-1-reader-unused",
    Program.RAILS: "paybond-rails-states-unused",
    Program.STREAMS: "paybond-streams-status-unused",
    Program.GATEWAY: "paybond-gateway-outcomes",
    Program.CLI: "paybond-harbor-cli-reader-unused",
}
_ACME = "User:acme-data"
_TOO_WIDE = "User:acme-by-prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedBroker:
    """A broker with one record on every topic, and the rights granted."""

    server: ApacheKafka

    def client(self, principal: str) -> dict[str, Any]:
        user = principal.removeprefix("User:")
        return {
            "bootstrap.servers": self.server.sasl_bootstrap,
            "security.protocol": "sasl_plaintext",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": _password_of(user),
            "log_level": 0,
        }


def _password_of(user: str) -> str:
    return f"password-of-{user}"


def _principal(program: Program) -> str:
    return f"User:paybond-{program}"


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedBroker]:
    with temporary_directory("kafka") as directory:
        server = ApacheKafka(data_directory=directory, libraries=apache_libraries(), has_sasl=True)
        server.start()
        try:
            _prepare(server)
            yield GuardedBroker(server=server)
        finally:
            server.stop()


def _prepare(server: ApacheKafka) -> None:
    admin = AdminClient({"bootstrap.servers": server.bootstrap, "log_level": 0})
    names = [*map(_principal, Program), _ACME, _TOO_WIDE]
    users: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(
            user,
            ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS),
            _password_of(user).encode(),
        )
        for user in (name.removeprefix("User:") for name in names)
    ]
    grants: tuple[Grant, ...] = (
        *program_grants(),
        *tenant_grants(TenantId("acme"), principal=_ACME),
    )
    for asked in (
        admin.alter_user_scram_credentials(users),
        admin.create_topics([NewTopic(name, 1, 1) for name in sorted(_ALL)]),
        admin.create_acls([*map(binding_of, grants), _by_prefix()]),
    ):
        for future in asked.values():
            future.result(_SECONDS_MAX)
    producer = plain_producer(server.bootstrap)
    for name in sorted(_ALL):
        producer.produce(name, value=name.encode())
    assert producer.flush(_SECONDS_MAX) == 0


def _by_prefix() -> AclBinding:
    """The mistake that a tenant's grant must never be."""
    return AclBinding(
        ResourceType.TOPIC,
        _LEDGERS[0],
        ResourcePatternType.PREFIXED,
        _TOO_WIDE,
        "*",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )


def _error_of(message: Message) -> str | None:
    error = message.error()
    return None if error is None else error.name()


def _written(client: Mapping[str, Any]) -> dict[str, str | None]:
    """What the broker said to one record for each topic; None = taken."""
    said: dict[str, str | None] = {}

    def note(error: KafkaError | None, message: Message) -> None:
        said[str(message.topic())] = None if error is None else error.name()

    producer = Producer(dict(client))
    for name in sorted(_ALL):
        producer.produce(name, value=b"tried", partition=0, on_delivery=note)
    assert producer.flush(_SECONDS_MAX) == 0
    return said


def _read(client: Mapping[str, Any], topic: str, *, group: str | None) -> str | None:
    """None when the topic's first record came before any error, else the error's name."""
    consumer = Consumer(
        {
            **client,
            "group.id": group or "paybond-unknown",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    try:
        # A topic that it may not even describe is never fetched, and librdkafka's consumer says nothing about it.
        described = consumer.list_topics(topic, timeout=_SECONDS_MAX).topics[topic]
        if described.error is not None:
            return str(described.error.name())
        consumer.assign([TopicPartition(topic, 0, 0)])
        deadline = time.monotonic() + _SECONDS_MAX
        while time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = _error_of(message)
            # A stranger's group is its own affair where only the topic is asked about.
            if error == "GROUP_AUTHORIZATION_FAILED" and group is None:
                continue
            return error
    finally:
        consumer.close()
    raise AssertionError(f"{topic}: neither a record nor a refusal in {_SECONDS_MAX:g} s")


@pytest.mark.parametrize("program", Program)
def test_a_program_writes_its_own_topics_and_is_refused_the_others(
    guarded: GuardedBroker, program: Program
) -> None:
    said = _written(guarded.client(_principal(program)))

    assert {name for name, error in said.items() if error is None} == WRITES[program]
    refused = {error for error in said.values() if error is not None}
    assert refused == {"TOPIC_AUTHORIZATION_FAILED"}


@pytest.mark.parametrize("program", Program)
def test_a_program_reads_its_own_topics_and_is_refused_the_others(
    guarded: GuardedBroker, program: Program
) -> None:
    """As its own readers do: an error before the first record would be an outage to them."""
    client = guarded.client(_principal(program))

    said = {name: _read(client, name, group=READER_GROUPS[program]) for name in sorted(_ALL)}

    assert {name for name, error in said.items() if error is None} == READS[program]
    refused = {error for error in said.values() if error is not None}
    assert refused == {"TOPIC_AUTHORIZATION_FAILED"}


def test_a_tenant_reads_its_own_ledger_and_not_one_whose_name_begins_alike(
    guarded: GuardedBroker,
) -> None:
    client = guarded.client(_ACME)

    assert _read(client, _LEDGERS[0], group=None) is None
    assert _read(client, _LEDGERS[1], group=None) == "TOPIC_AUTHORIZATION_FAILED"
    assert set(_written(client).values()) == {"TOPIC_AUTHORIZATION_FAILED"}


def test_a_grant_by_prefix_would_show_the_other_ledger(guarded: GuardedBroker) -> None:
    """The test above can fail: with the wrong kind of grant the same read succeeds."""
    assert _read(guarded.client(_TOO_WIDE), _LEDGERS[1], group=None) is None


@pytest.mark.parametrize(
    ("program", "transactional_id", "refused"),
    [
        (Program.HARBOR, "paybond-harbor-1", None),
        (Program.GATEWAY, "paybond-gateway-relay", None),
        (Program.GATEWAY, "paybond-harbor-1", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
        (Program.STREAMS, "paybond-harbor-1", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
        (Program.RAILS, "paybond-harbor-1", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
        (Program.CLI, "paybond-harbor-1", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
    ],
)
def test_nobody_but_harbor_can_fence_harbor(
    guarded: GuardedBroker, program: Program, transactional_id: str, refused: str | None
) -> None:
    producer = Producer(
        {**guarded.client(_principal(program)), "transactional.id": transactional_id}
    )
    said = None

    try:
        producer.init_transactions(_SECONDS_MAX)
    except KafkaException as exception:
        error = exception.args[0]
        assert isinstance(error, KafkaError)
        said = error.name()

    assert said == refused


@pytest.mark.parametrize("program", [p for p in Program if p is not Program.HARBOR])
def test_nobody_but_harbor_moves_harbors_offsets(guarded: GuardedBroker, program: Program) -> None:
    admin = AdminClient(guarded.client(_principal(program)))
    wanted = ConsumerGroupTopicPartitions(
        "paybond-harbor", [TopicPartition("paybond.commands", 0, 1)]
    )
    [asked] = admin.alter_consumer_group_offsets([wanted]).values()

    with pytest.raises(KafkaException) as caught:
        asked.result(_SECONDS_MAX)

    assert caught.value.args[0].name() == "GROUP_AUTHORIZATION_FAILED"


@pytest.mark.parametrize("program", Program)
def test_no_program_can_change_the_rights(guarded: GuardedBroker, program: Program) -> None:
    admin = AdminClient(guarded.client(_principal(program)))

    [asked] = admin.create_acls([_by_prefix()]).values()

    with pytest.raises(KafkaException) as caught:
        asked.result(_SECONDS_MAX)

    assert caught.value.args[0].name() == "CLUSTER_AUTHORIZATION_FAILED"

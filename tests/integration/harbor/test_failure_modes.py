"""What goes wrong around a Harbor that runs, on Apache Kafka: each case has its section in `failure-modes.md`."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from deploy.local.server_process import free_port
from harbor.engine.cluster_layout import SINGLE_NODE, ledger_layout
from schemas.ids import TenantId
from schemas.messages.avro_codec import decode_as
from schemas.messages.command_sealing import seal
from schemas.messages.commands import Issuer
from schemas.messages.operations import DeadLetter
from schemas.partitioner import partition_of
from schemas.replacing import replace
from schemas.topics import COMMANDS, DEAD_LETTERS, GROUP_HARBOR, OUTCOMES, TIPS, ledger_topic
from streams.runtime.clock import SystemClock
from tests.integration.harbor.programs import PARTITIONS, SECONDS_MAX, Site, program_command
from tests.support.builders import TENANT, a_command, create_intent
from tests.support.records import plain_producer
from tests.support.stopped_process import stopped

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

_A_DAY = timedelta(days=1)
# What the broker gives a transaction of a dead process, in these tests.
_HANGING_MILLISECONDS = 8_000


def create(site: Site, tenant: str, *options: str) -> int:
    """The exit status of `tenants create`."""
    return site.call("tenants", "create", tenant, "--environment", "sandbox", *options).status


def values_on(site: Site, topic: str) -> list[bytes]:
    """All committed values of a topic, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": site.bootstrap,
            "group.id": "reads-everything",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "log_level": 0,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=SECONDS_MAX).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        values, at_end = [], 0
        while at_end < len(partitions):
            message = consumer.poll(SECONDS_MAX)
            assert message is not None, f"{topic} says nothing"
            if message.error() is not None:
                at_end += 1
                continue
            values.append(message.value() or b"")
        return values
    finally:
        consumer.close()


def entries(site: Site, *tenants: str) -> dict[str, int]:
    return {name: len(values_on(site, ledger_topic(TenantId(name)))) for name in tenants}


def admin(site: Site) -> AdminClient:
    """To be kept by name: a client that is collected gives up what it was asked."""
    return AdminClient({"bootstrap.servers": site.bootstrap, "log_level": 0})


def delete_all_of(site: Site, topic: str) -> None:
    """What retention does once it has passed: the beginning moves to the end."""
    ends = [TopicPartition(topic, number, -1) for number in range(PARTITIONS)]
    asked = admin(site)
    for deleted in asked.delete_records(ends).values():
        deleted.result(SECONDS_MAX)


def test_a_process_that_was_stopped_past_its_session_decides_nothing_when_it_wakes(
    site: Site,
) -> None:
    with site.harbor() as sleeper:
        sleeper.wait_for("partition_started", PARTITIONS)
        assert create(site, "before") == 0
        with site.harbor(slot=1) as other:
            other.wait_for("partition_started")
            with stopped(sleeper.process.pid):
                # More starts than partitions would mean that it had been given some twice.
                other.wait_for("partition_started", PARTITIONS)
                answered = [create(site, name) for name in ("alpha", "bravo", "charlie", "delta")]
            sleeper.wait_for("partition_revoked")
            after = [create(site, name) for name in ("echo", "foxtrot", "before")]

    assert answered == [0, 0, 0, 0]
    assert after == [0, 0, 0]
    names = ("before", "alpha", "bravo", "charlie", "delta", "echo", "foxtrot")
    assert entries(site, *names) == dict.fromkeys(names, 1)


@pytest.mark.parametrize("harm", ["reset to earliest", "lost"])
def test_a_group_whose_offsets_were_moved_back_decides_nothing_twice(site: Site, harm: str) -> None:
    with site.harbor() as first:
        assert create(site, "acme") == 0
        assert first.stop() == 0
    partition, outcomes = partition_of("acme", PARTITIONS), len(values_on(site, OUTCOMES))
    if harm == "lost":
        asked = admin(site)
        asked.delete_consumer_groups([GROUP_HARBOR])[GROUP_HARBOR].result(SECONDS_MAX)
    else:
        group = Consumer({"bootstrap.servers": site.bootstrap, "group.id": GROUP_HARBOR})
        group.commit(offsets=[TopicPartition(COMMANDS, partition, 0)], asynchronous=False)
        group.close()

    with site.harbor() as second:
        second.wait_for("partition_started", PARTITIONS)
        ignored = [e for e in second.events("group_offset_ignored") if e["partition"] == partition]
        assert create(site, "bravo") == 0

    assert [event["start"] for event in ignored] == [1]
    assert entries(site, "acme", "bravo") == {"acme": 1, "bravo": 1}
    assert len(values_on(site, OUTCOMES)) == outcomes + 1


def test_commands_that_were_deleted_before_they_were_decided_stop_harbor(site: Site) -> None:
    with site.harbor() as first:
        assert create(site, "acme") == 0
        assert first.stop() == 0
    # Nobody decides it.
    undecided = site.call("tenants", "create", "acme", "--environment", "live", "--wait", "1")
    delete_all_of(site, COMMANDS)

    ended = site.call("run")

    assert undecided.status == 3
    assert ended.status == 2
    partition = partition_of("acme", PARTITIONS)
    assert f"partition {partition} of {COMMANDS}" in ended.talk
    assert "commands were deleted before they were decided" in ended.talk


def test_answers_that_were_deleted_are_given_anew_and_no_tenant_begins_twice(site: Site) -> None:
    with site.harbor() as first:
        assert create(site, "acme") == 0
        assert first.stop() == 0
    delete_all_of(site, OUTCOMES)

    with site.harbor(slot=1) as cold:
        cold.wait_for("partition_started", PARTITIONS)
        again = create(site, "acme")

    assert again == 0
    assert entries(site, "acme") == {"acme": 1}


def test_a_command_in_a_partition_that_is_not_its_tenants_is_a_dead_letter_and_alarms(
    site: Site,
) -> None:
    with site.harbor() as harbor:
        assert create(site, "acme") == 0
        (command,) = values_on(site, COMMANDS)
        producer = plain_producer(site.bootstrap)
        wrong = (partition_of("acme", PARTITIONS) + 1) % PARTITIONS
        producer.produce(COMMANDS, key=b"acme", value=command, partition=wrong)
        assert producer.flush(SECONDS_MAX) == 0
        alarm = harbor.wait_for("command_refused_to_dead_letters")
        assert create(site, "bravo") == 0

    assert [event["reason"] for event in alarm] == ["wrong_partition"]
    assert len(values_on(site, DEAD_LETTERS)) == 1
    assert entries(site, "acme", "bravo") == {"acme": 1, "bravo": 1}


def test_a_command_of_a_type_that_its_issuer_may_not_send_is_a_dead_letter_and_alarms(
    site: Site,
) -> None:
    """A stolen key of the rail worker, under its own name and under the gateway's: neither creates an intent."""
    stolen = bytes(range(32))
    creation = a_command(create_intent(deadline=SystemClock().now() + _A_DAY), number=1)
    with site.harbor(PAYBOND_HARBOR_ISSUER_KEY_RAILS=stolen.hex()) as harbor:
        assert create(site, TENANT) == 0
        producer = plain_producer(site.bootstrap)
        for issuer in (Issuer.RAILS, Issuer.GATEWAY):
            producer.produce(
                COMMANDS,
                key=TENANT.encode(),
                value=seal(replace(creation, issuer=issuer), stolen),
                partition=partition_of(TENANT, PARTITIONS),
            )
            assert producer.flush(SECONDS_MAX) == 0
        harbor.wait_for("command_refused_to_dead_letters", 2)
        assert create(site, "bravo") == 0
        alarms = harbor.events("command_refused_to_dead_letters")

    letters = [decode_as(DeadLetter, value) for value in values_on(site, DEAD_LETTERS)]
    reasons = ["issuer_mac_wrong", "issuer_type_not_allowed"]
    assert sorted(event["reason"] for event in alarms) == reasons
    assert sorted(letter.reason for letter in letters) == [
        "issuer_mac_wrong: issuer gateway",
        "issuer_type_not_allowed: issuer rails",
    ]
    assert entries(site, TENANT, "bravo") == {TENANT: 1, "bravo": 1}


@pytest.mark.parametrize(
    ("topic", "name", "value"),
    [
        (TIPS, "cleanup.policy", "delete"),
        (OUTCOMES, "min.compaction.lag.ms", "0"),
        (ledger_topic(TENANT), "cleanup.policy", "delete"),
    ],
    ids=["cleanup policy", "compaction lag", "a ledger's cleanup policy"],
)
def test_a_topic_under_which_records_are_lost_is_refused_by_name_until_it_is_applied(
    site: Site, topic: str, name: str, value: str
) -> None:
    ledger = ledger_layout(TENANT, durability=SINGLE_NODE)
    new = NewTopic(ledger.name, num_partitions=1, replication_factor=1, config=dict(ledger.config))
    asked = admin(site)
    asked.create_topics([new])[ledger.name].result(SECONDS_MAX)
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for altered in asked.incremental_alter_configs([changed]).values():
        altered.result(SECONDS_MAX)

    ended = site.call("run")
    applied = site.call("topics", "apply")
    after = site.call("topics", "diff")

    assert ended.status == 2
    assert f"{topic}: {name} is {value}, not " in ended.talk
    assert (applied.status, after.status, after.out) == (0, 0, "")


def test_a_transaction_that_a_dead_process_left_is_waited_for_and_then_its_partition_starts(
    site: Site,
) -> None:
    dead = Producer(
        {
            "bootstrap.servers": site.bootstrap,
            "transactional.id": "dead",
            "transaction.timeout.ms": _HANGING_MILLISECONDS,
            "log_level": 0,
        }
    )
    dead.init_transactions(SECONDS_MAX)
    dead.begin_transaction()
    dead.produce(OUTCOMES, key=b"nobody/nothing", value=b"never committed", partition=0)
    assert dead.flush(SECONDS_MAX) == 0
    began = time.monotonic()

    with site.harbor() as harbor:
        harbor.wait_for("partition_started", PARTITIONS)
        waited = time.monotonic() - began
        in_partition_0 = next(n for n in map("t{}".format, range(10, 99)) if not partition_of(n, 4))
        answered = create(site, in_partition_0)
    dead.purge()

    # Any earlier would have been before the broker aborted it: it was read past an undecided record.
    assert waited > _HANGING_MILLISECONDS / 1000
    assert harbor.events("partition_started")[-1]["partition"] == 0
    assert answered == 0
    assert entries(site, in_partition_0) == {in_partition_0: 1}


def test_a_full_disk_under_the_local_state_stops_harbor_and_loses_nothing(site: Site) -> None:
    with _harbor_that_talks_into_a_pipe(site) as process:
        assert create(site, "acme") == 0
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        # From here on no file of that process grows, as on a disk without a free block.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, most))
        unanswered = create(site, "bravo", "--wait", "1")
        _, talk = process.communicate(timeout=SECONDS_MAX)
    with site.harbor() as successor:
        successor.wait_for("partition_started", PARTITIONS)
        answered = create(site, "bravo")

    assert unanswered == 3
    assert process.returncode == 3, talk
    assert b"can't be written" in talk
    assert answered == 0
    assert entries(site, "acme", "bravo") == {"acme": 1, "bravo": 1}


@contextmanager
def _harbor_that_talks_into_a_pipe(site: Site) -> Iterator["subprocess.Popen[bytes]"]:
    """A log file would be full as well."""
    process = subprocess.Popen(
        program_command("run"),
        env=site.environment(PAYBOND_HARBOR_PRIVATE_PORT=str(free_port())),
        cwd=site.folder,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()

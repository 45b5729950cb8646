"""Apache Kafka as a process, its tools, and the semantics the embedded broker lacks."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from deploy.local.apache_kafka import TOOLS, ApacheKafka, find_java
from deploy.local.kafka_fencing import dumper, wait_until_fenced
from tests.support.brokers import TestBroker, apache_libraries, temporary_directory
from tests.support.records import SECONDS_MAX, create_topic, produce, read_all

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

_TOOL_SECONDS_MAX = 60.0


def _tool(
    name: str, *arguments: str, bootstrap: str | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if key != "PAYBOND_KAFKA_BOOTSTRAP"
    }
    environment["PAYBOND_KAFKA_LIBRARIES"] = str(apache_libraries())
    if bootstrap is not None:
        environment["PAYBOND_KAFKA_BOOTSTRAP"] = bootstrap
    return subprocess.run(
        [str(TOOLS / name), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=_TOOL_SECONDS_MAX,
        env=environment,
        cwd=folder,
    )


@pytest.fixture
def own_broker() -> Iterator[ApacheKafka]:
    with temporary_directory("kafka") as directory:
        broker = ApacheKafka(data_directory=directory, libraries=apache_libraries())
        yield broker
        broker.stop()


def _start_and_keep_a_record(broker: ApacheKafka, topic: str) -> None:
    broker.start()
    create_topic(broker.bootstrap, topic)
    produce(broker.bootstrap, topic, [b"kept"])


def test_a_killed_broker_keeps_what_it_acknowledged(
    own_broker: ApacheKafka, unique_name: str
) -> None:
    _start_and_keep_a_record(own_broker, unique_name)

    own_broker.kill()
    was_running = own_broker.is_running
    own_broker.start()

    assert not was_running
    assert read_all(own_broker.bootstrap, unique_name, group=unique_name) == [b"kept"]


def test_a_broker_that_ends_in_order_gives_up_nothing_while_it_still_runs(
    own_broker: ApacheKafka, unique_name: str
) -> None:
    """Else its coordinator skips the markers of what is being committed: its partitions have no leader then."""
    _start_and_keep_a_record(own_broker, unique_name)

    own_broker.stop()
    dump = dumper((find_java(), "-cp", f"{own_broker.libraries}/*"))
    gave_up = wait_until_fenced(dump, own_broker.data_directory / "kafka", seconds=0)
    own_broker.start()

    assert not gave_up
    assert read_all(own_broker.bootstrap, unique_name, group=unique_name) == [b"kept"]


def test_a_second_producer_of_one_transactional_id_fences_the_first(
    kafka: str, unique_name: str
) -> None:
    create_topic(kafka, unique_name)
    settings = {"bootstrap.servers": kafka, "transactional.id": unique_name, "log_level": 0}
    first = Producer(settings)
    first.init_transactions(SECONDS_MAX)
    first.begin_transaction()
    first.produce(unique_name, value=b"of the first")
    first.flush(SECONDS_MAX)

    Producer(settings).init_transactions(SECONDS_MAX)

    with pytest.raises(KafkaException) as caught:
        first.commit_transaction(SECONDS_MAX)
    assert caught.value.args[0].fatal()


def test_a_kip_848_group_gets_its_assignment(kafka: str, unique_name: str) -> None:
    create_topic(kafka, unique_name)
    produce(kafka, unique_name, [b"one"])
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": unique_name,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
        }
    )

    consumer.subscribe([unique_name])
    message = consumer.poll(SECONDS_MAX)
    assignment = consumer.assignment()
    consumer.close()

    assert message is not None
    assert message.value() == b"one"
    assert [(part.topic, part.partition) for part in assignment] == [(unique_name, 0)]


def test_kafka_topics_lists_what_was_created(kafka: str, unique_name: str) -> None:
    created = _tool("kafka-topics", "--create", "--topic", unique_name, bootstrap=kafka)

    listed = _tool("kafka-topics", "--list", bootstrap=kafka)

    assert created.returncode == 0, created.stderr
    assert unique_name in listed.stdout.splitlines()


def test_the_console_tools_write_and_read_a_record(kafka: str, unique_name: str) -> None:
    create_topic(kafka, unique_name)
    produced = subprocess.run(
        [str(TOOLS / "kafka-console-producer"), "--topic", unique_name],
        check=False,
        input="by hand\n",
        capture_output=True,
        text=True,
        timeout=_TOOL_SECONDS_MAX,
        env={
            **os.environ,
            "PAYBOND_KAFKA_BOOTSTRAP": kafka,
            "PAYBOND_KAFKA_LIBRARIES": str(apache_libraries()),
        },
    )

    consumed = _tool(
        "kafka-console-consumer",
        "--topic",
        unique_name,
        "--from-beginning",
        "--isolation-level",
        "read_committed",
        "--max-messages",
        "1",
        bootstrap=kafka,
    )

    assert produced.returncode == 0, produced.stderr
    assert consumed.stdout == "by hand\n"


def test_kafka_consumer_groups_shows_a_committed_offset(kafka: str, unique_name: str) -> None:
    create_topic(kafka, unique_name)
    produce(kafka, unique_name, [b"one", b"two"])
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": unique_name})
    consumer.commit(offsets=[TopicPartition(unique_name, 0, 1)], asynchronous=False)
    consumer.close()

    shown = _tool("kafka-consumer-groups", "--describe", "--group", unique_name, bootstrap=kafka)

    row = next(line for line in shown.stdout.splitlines() if line.startswith(unique_name))
    # GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
    assert row.split()[3:6] == ["1", "2", "1"]


def test_kafka_acls_grants_one_topic(kafka: str, unique_name: str) -> None:
    granted = _tool(
        "kafka-acls",
        "--add",
        "--allow-principal",
        "User:acme",
        "--operation",
        "Read",
        "--topic",
        unique_name,
        bootstrap=kafka,
    )

    listed = _tool("kafka-acls", "--list", "--topic", unique_name, bootstrap=kafka)

    assert granted.returncode == 0, granted.stderr
    assert "patternType=LITERAL" in listed.stdout
    assert "principal=User:acme" in listed.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("kafka-configs", ["--describe", "--entity-type", "brokers", "--entity-name", "1"], "1"),
        ("kafka-transactions", ["list"], "TransactionalId"),
    ],
)
def test_the_other_tools_answer(kafka: str, name: str, arguments: list[str], expected: str) -> None:
    answered = _tool(name, *arguments, bootstrap=kafka)

    assert answered.returncode == 0, answered.stderr
    assert expected in answered.stdout


def test_a_tool_finds_the_cluster_of_local_json(kafka_broker: TestBroker, tmp_path: Path) -> None:
    (tmp_path / ".paybond").mkdir()
    local = {"base_url": "unused", "kafka_bootstrap": kafka_broker.bootstrap, "tenant_id": "t"}
    (tmp_path / ".paybond" / "local.json").write_text(json.dumps(local))

    answered = _tool("kafka-topics", "--list", folder=tmp_path)

    assert answered.returncode == 0, answered.stderr


def test_a_tool_that_knows_no_cluster_says_how_to_name_one(tmp_path: Path) -> None:
    answered = _tool("kafka-topics", "--list", folder=tmp_path)

    assert answered.returncode == 2
    assert "PAYBOND_KAFKA_BOOTSTRAP" in answered.stderr

"""The embedded broker as a process: what it keeps, what it does when somebody kills it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.embedded_kafka import EmbeddedKafka
from deploy.local.server_process import LocalServerError
from tests.support.brokers import temporary_directory
from tests.support.records import create_topic, produce, read_all

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]


@pytest.fixture
def directory() -> Iterator[Path]:
    with temporary_directory("kafka") as directory:
        yield directory


@pytest.fixture
def broker(directory: Path) -> Iterator[EmbeddedKafka]:
    broker = EmbeddedKafka(data_directory=directory)
    yield broker
    broker.stop()


def test_a_record_that_goes_in_comes_out(broker: EmbeddedKafka, unique_name: str) -> None:
    broker.start()
    create_topic(broker.bootstrap, unique_name)

    produce(broker.bootstrap, unique_name, [b"one", b"two"])

    assert read_all(broker.bootstrap, unique_name, group=unique_name) == [b"one", b"two"]


def test_a_restart_keeps_records_and_address(broker: EmbeddedKafka, unique_name: str) -> None:
    broker.start()
    address = broker.bootstrap
    create_topic(address, unique_name)
    produce(address, unique_name, [b"kept"])

    broker.stop()
    was_running = broker.is_running
    broker.start()

    assert not was_running
    assert broker.bootstrap == address
    assert read_all(address, unique_name, group=unique_name) == [b"kept"]


def test_a_killed_broker_starts_again(broker: EmbeddedKafka) -> None:
    broker.start()
    first = broker.pid

    broker.kill()
    was_running = broker.is_running
    broker.start()

    assert not was_running
    assert broker.is_running
    assert broker.pid != first


def test_a_broker_killed_by_somebody_else_is_seen_as_not_running(broker: EmbeddedKafka) -> None:
    broker.start()
    assert broker.pid is not None

    os.kill(broker.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(broker.pid)] if broker.pid else [], timeout=5)

    assert not broker.is_running
    broker.start()
    assert broker.is_running


def test_a_second_start_of_a_running_broker_changes_nothing(broker: EmbeddedKafka) -> None:
    broker.start()
    first = broker.pid

    broker.start()

    assert broker.pid == first


def test_a_broker_left_over_from_a_killed_launcher_is_stopped_first(directory: Path) -> None:
    left_over = EmbeddedKafka(data_directory=directory)
    left_over.start()
    successor = EmbeddedKafka(data_directory=directory)

    successor.start()

    assert successor.is_running
    assert not left_over.is_running
    left_over.stop()
    successor.stop()


def test_a_port_that_a_stranger_holds_is_never_taken_for_ours(
    directory: Path, broker: EmbeddedKafka
) -> None:
    broker.start()
    rival = EmbeddedKafka(data_directory=directory / "second", port=broker.port)

    with pytest.raises(LocalServerError, match=f"port {broker.port} is taken"):
        rival.start()

    assert not rival.is_running
    assert broker.is_running


def test_a_broker_that_cannot_start_says_why_with_its_log(directory: Path) -> None:
    broker = EmbeddedKafka(data_directory=directory)
    # A folder where its data file should be.
    (directory / "kafka.json").mkdir()

    with pytest.raises(LocalServerError, match="ended with status") as caught:
        broker.start()

    assert str(broker.log_file) in str(caught.value)
    assert len(str(caught.value).splitlines()) > 1
    assert not broker.is_running


def test_only_the_owner_of_the_machine_is_served(broker: EmbeddedKafka) -> None:
    broker.start()

    listening = [
        connection.laddr.ip
        for connection in psutil.Process(broker.pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert set(listening) == {"127.0.0.1"}

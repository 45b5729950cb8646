"""The guards of the test run itself: each is seen to refuse what it is there for."""

import asyncio
import socket
import threading

import pytest

from tests.support.brokers import BrokerKind, chosen_broker, container_environment
from tests.support.guards import (
    SocketRefusedError,
    no_task_left_behind,
    no_thread_left_behind,
)


@pytest.mark.parametrize("address", [("192.0.2.1", 9), ("example.com", 80), ("0.0.0.0", 0)])  # noqa: S104
def test_a_socket_beyond_loopback_is_refused(address: tuple[str, int]) -> None:
    with socket.socket() as client:
        with pytest.raises(SocketRefusedError, match="loopback only"):
            client.connect(address)
        with pytest.raises(SocketRefusedError):
            client.connect_ex(address)
        with pytest.raises(SocketRefusedError):
            client.bind(address)


def test_a_socket_on_loopback_works() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()

        client.connect(server.getsockname())

        assert client.getpeername() == server.getsockname()


def test_a_thread_left_behind_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.guards.THREAD_SECONDS_MAX", 0.1)
    release = threading.Event()
    forgotten = threading.Thread(target=release.wait, name="forgotten", daemon=True)

    with pytest.raises(pytest.fail.Exception, match="forgotten"), no_thread_left_behind():
        forgotten.start()

    release.set()
    forgotten.join()


def test_a_thread_that_ends_in_time_is_no_fault() -> None:
    with no_thread_left_behind():
        thread = threading.Thread(target=lambda: None)
        thread.start()

    assert not thread.is_alive()


def test_a_task_left_behind_fails_the_test() -> None:
    left = []

    async def leave_a_task() -> None:
        left.append(asyncio.create_task(asyncio.sleep(60)))
        await asyncio.sleep(0)

    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(pytest.fail.Exception, match="sleep"),
        no_task_left_behind(patch),
    ):
        asyncio.run(leave_a_task())

    assert left[0].cancelled()


def test_a_task_that_was_awaited_is_no_fault() -> None:
    async def wait_for_a_task() -> int:
        return await asyncio.create_task(asyncio.sleep(0, result=7))

    with pytest.MonkeyPatch.context() as patch, no_task_left_behind(patch):
        assert asyncio.run(wait_for_a_task()) == 7


@pytest.mark.parametrize(
    ("text", "kind", "is_apache"),
    [
        ("", BrokerKind.EMBEDDED, False),
        ("embedded", BrokerKind.EMBEDDED, False),
        ("apache", BrokerKind.APACHE, True),
        ("container", BrokerKind.CONTAINER, True),
        ("127.0.0.1:9092", BrokerKind.ADDRESS, True),
    ],
)
def test_one_variable_chooses_the_broker(text: str, kind: BrokerKind, is_apache: bool) -> None:  # noqa: FBT001
    choice = chosen_broker(text)

    assert (choice.kind, choice.is_apache) == (kind, is_apache)


@pytest.mark.parametrize("text", ["address", "kafka", "localhost"])
def test_a_broker_nobody_knows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PAYBOND_TEST_KAFKA"):
        chosen_broker(text)


def test_a_container_gets_the_settings_of_the_local_broker() -> None:
    environment = container_environment(20_000)

    assert environment["KAFKA_ADVERTISED_LISTENERS"] == "BROKER://127.0.0.1:20000"
    assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == "1@127.0.0.1:20001"
    assert environment["KAFKA_LOG_INDEX_SIZE_MAX_BYTES"] == "65536"

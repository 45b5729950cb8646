"""Which Kafka the tests run on: `PAYBOND_TEST_KAFKA=embedded|apache|container|ADDRESS`.

Embedded is the default: a test run needs nothing but Python. An address is taken for a real
Apache Kafka. Topics are never shared between tests, so one broker serves a whole session.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import assert_never

from deploy.local.apache_kafka import DEFINITION, READY_SECONDS_MAX, VERSION, ApacheKafka
from deploy.local.embedded_kafka import EmbeddedKafka, answers_metadata
from deploy.local.server_process import free_port

VARIABLE = "PAYBOND_TEST_KAFKA"
LIBRARIES_VARIABLE = "PAYBOND_KAFKA_LIBRARIES"
ROOT = Path(__file__).resolve().parents[2]
_IMAGE = f"apache/kafka:{VERSION}"
_ENGINE_SOCKET = Path("/var/run/docker.sock")

EMBEDDED_REASON = "the embedded broker can't show this: see deploy/local/embedded_kafka.py"


class BrokerKind(StrEnum):
    EMBEDDED = "embedded"
    APACHE = "apache"
    CONTAINER = "container"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerChoice:
    kind: BrokerKind
    address: str | None = None

    @property
    def is_apache(self) -> bool:
        return self.kind is not BrokerKind.EMBEDDED


@dataclass(frozen=True, slots=True, kw_only=True)
class TestBroker:
    """A broker that runs; `server` is its handle where this session started it."""

    __test__ = False

    bootstrap: str
    is_apache: bool
    server: EmbeddedKafka | ApacheKafka | None


class ContainerUnavailableError(Exception):
    """No container engine answers; the message is the reason to skip with."""


def chosen_broker(text: str | None = None) -> BrokerChoice:
    """The choice of the environment, or of `text`."""
    value = os.environ.get(VARIABLE, "") if text is None else text
    if not value:
        return BrokerChoice(kind=BrokerKind.EMBEDDED)
    if ":" in value:
        return BrokerChoice(kind=BrokerKind.ADDRESS, address=value)
    # "address" by itself names no broker.
    if value not in {BrokerKind.EMBEDDED, BrokerKind.APACHE, BrokerKind.CONTAINER}:
        raise ValueError(f"{VARIABLE}={value!r}: embedded, apache, container or HOST:PORT")
    return BrokerChoice(kind=BrokerKind(value))


@contextmanager
def running_broker(choice: BrokerChoice) -> Iterator[TestBroker]:
    """Start the chosen broker on new data; stop it and drop its data at the end."""
    match choice.kind:
        case BrokerKind.EMBEDDED:
            with temporary_directory("kafka") as directory:
                embedded = EmbeddedKafka(data_directory=directory)
                yield from _while_running(embedded, is_apache=False)
        case BrokerKind.APACHE:
            with temporary_directory("kafka") as directory:
                apache = ApacheKafka(data_directory=directory, libraries=apache_libraries())
                yield from _while_running(apache, is_apache=True)
        case BrokerKind.CONTAINER:
            with _container() as bootstrap:
                yield TestBroker(bootstrap=bootstrap, is_apache=True, server=None)
        case BrokerKind.ADDRESS:
            assert choice.address is not None
            yield TestBroker(bootstrap=choice.address, is_apache=True, server=None)
        case _:
            assert_never(choice.kind)


def apache_libraries() -> Path:
    """Where `make kafka` put the jars."""
    return Path(os.environ.get(LIBRARIES_VARIABLE) or ROOT / ".paybond" / "kafka" / "libs")


@contextmanager
def temporary_directory(purpose: str) -> Iterator[Path]:
    """A folder right under the system's own: PostgreSQL's account must be able to reach it."""
    directory = Path(tempfile.mkdtemp(prefix=f"paybond-test-{purpose}-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _while_running(server: EmbeddedKafka | ApacheKafka, *, is_apache: bool) -> Iterator[TestBroker]:
    server.start()
    try:
        yield TestBroker(bootstrap=server.bootstrap, is_apache=is_apache, server=server)
    finally:
        server.stop()


@contextmanager
def _container() -> Iterator[str]:
    if not os.environ.get("DOCKER_HOST") and not _ENGINE_SOCKET.exists():
        raise ContainerUnavailableError(
            f"no container engine answers: DOCKER_HOST is not set and {_ENGINE_SOCKET} is missing"
        )
    # Imported here: it is slow to import, and only this choice needs it.
    from docker.errors import DockerException  # noqa: PLC0415
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415

    # The broker tells clients its port, so it must be the same inside and outside.
    port = free_port()
    container = DockerContainer(_IMAGE).with_bind_ports(port, port)
    for name, value in container_environment(port).items():
        container.with_env(name, value)
    try:
        container.start()
    except (DockerException, OSError) as error:
        raise ContainerUnavailableError(f"no container engine answers: {error}") from error
    try:
        bootstrap = f"127.0.0.1:{port}"
        _wait_for_metadata(bootstrap)
        yield bootstrap
    finally:
        container.stop()


def container_environment(port: int) -> dict[str, str]:
    """The settings of `server.properties` in the image's way of taking them."""
    template = Template((DEFINITION / "server.properties").read_text())
    text = template.substitute(
        broker_port=port,
        controller_port=port + 1,
        data_directory="/tmp/paybond",  # noqa: S108
    )
    settings = dict(
        line.split("=", 1) for line in text.splitlines() if "=" in line and line[0] != "#"
    )
    # Inside a container loopback is the container's own.
    settings["listeners"] = f"BROKER://0.0.0.0:{port},CONTROLLER://127.0.0.1:{port + 1}"
    settings["controller.quorum.voters"] = f"1@127.0.0.1:{port + 1}"
    del settings["controller.quorum.bootstrap.servers"]
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}


def _wait_for_metadata(bootstrap: str) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not answers_metadata(bootstrap):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{_IMAGE} is not ready after {READY_SECONDS_MAX:g} s")

"""The embedded Kafka-protocol broker (`noida-db`): one small binary out of a Python package.

It is for one machine and for tests. What it does not do, measured on 0.2.3:

- A consumer killed with SIGKILL blocks its group until the broker restarts.
- A stale generation is accepted.
- There can be one Harbor only.
- Stable offsets are not honoured.
- Topics `a.b` and `a_b` coexist.
- There is no KIP-848 group protocol.
- A fetch returns the whole partition, and librdkafka refuses more than 100 MB.
- A fetch never waits: an idle consumer asks thousands of times a second, an idle system takes most of one core.
- A broker killed with SIGKILL forgets what it acknowledged in its last moments.

It has no Python API, so its binary is run with `start --only kafka`.
"""

import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.server_process import (
    LOOPBACK,
    Launch,
    LocalSetupError,
    ServerProcess,
    free_port,
)

# librdkafka fails on a fetch over 100 MB and this broker answers a fetch with the whole partition.
PARTITION_BYTES_MAX = 80_000_000

# Measured: 0.05 s to the first metadata; the rest is for a loaded machine and a large data file.
READY_SECONDS_MAX = 20.0
STOP_SECONDS_MAX = 15.0
_METADATA_SECONDS_MAX = 2.0


class EmbeddedKafka:
    """A broker on a loopback port that keeps its data, and its port, over a restart."""

    def __init__(
        self, *, data_directory: Path, port: int | None = None, log_file: Path | None = None
    ) -> None:
        self.data_directory = data_directory.absolute()
        self.port = port or free_port()
        self._server = ServerProcess(
            name=f"embedded Kafka (noida-db {version('noida-db')})",
            data_directory=self.data_directory,
            log_file=log_file,
        )

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._server.is_running

    @property
    def pid(self) -> int | None:
        return self._server.pid

    @property
    def log_file(self) -> Path:
        return self._server.log_file

    def start(self) -> None:
        """Start and wait for metadata. Raises LocalServerError, LocalSetupError."""
        self.data_directory.mkdir(parents=True, exist_ok=True)
        self._server.start(
            Launch(
                command=(
                    str(_binary()),
                    "start",
                    "--only",
                    "kafka",
                    "--host",
                    LOOPBACK,
                    "--kafka-port",
                    str(self.port),
                    "--data-dir",
                    str(self.data_directory),
                ),
                port=self.port,
                is_ready=lambda: answers_metadata(self.bootstrap),
                ready_seconds_max=READY_SECONDS_MAX,
                stop_seconds_max=STOP_SECONDS_MAX,
                working_directory=self.data_directory,
            )
        )

    def stop(self) -> None:
        """SIGTERM: the broker writes its data first."""
        self._server.stop()

    def kill(self) -> None:
        self._server.kill()


def answers_metadata(bootstrap: str) -> bool:
    """Whether a broker there answers a metadata request with at least itself."""
    # Without a callback librdkafka prints each refused connection on stderr.
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=_METADATA_SECONDS_MAX).brokers)
    except KafkaException:
        return False


def _binary() -> Path:
    spec = find_spec("noida_db")
    if spec is None or spec.origin is None:
        raise LocalSetupError(
            "the package noida-db is not installed; run `make venv`, or point "
            "PAYBOND_KAFKA_BOOTSTRAP at a Kafka of your own"
        )
    name = "noida-db.exe" if sys.platform == "win32" else "noida-db"
    binary = Path(spec.origin).parent / name
    if not binary.is_file():
        raise LocalSetupError(
            f"{binary} is missing: this platform has no embedded broker; point "
            "PAYBOND_KAFKA_BOOTSTRAP at a Kafka of your own"
        )
    # Installers do not always keep the executable bit of a data file.
    if not binary.stat().st_mode & 0o100:
        binary.chmod(0o755)
    return binary

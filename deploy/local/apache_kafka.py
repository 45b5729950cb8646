"""Apache Kafka 4 on this machine without containers: jars by Maven, one node, KRaft combined mode.

`python -m deploy.local.apache_kafka` fetches the jars (`make kafka`); a stamp with the digest of
`pom.xml` makes a second run quick. It needs Java ≥ 17 and, for the fetch only, Maven.
"""

import base64
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from string import Template

from deploy.local.embedded_kafka import answers_metadata
from deploy.local.kafka_fencing import (
    controller_properties,
    dumper,
    has_lived,
    wait_until_fenced,
)
from deploy.local.kafka_sasl import with_sasl_listener
from deploy.local.server_process import (
    LOOPBACK,
    Launch,
    LocalServerError,
    LocalSetupError,
    ServerProcess,
    accepts_connections,
    free_port,
)

DEFINITION = Path(__file__).parent / "kafka"
TOOLS = DEFINITION / "bin"
LIBRARIES_DEFAULT = Path(".paybond/kafka/libs")
VERSION = "4.3.1"
JAVA_VERSION_MIN = 17

# Measured: metadata after 2-4 s on two idle cores; a loaded machine needs many times that.
READY_SECONDS_MAX = 90.0
# Measured: SIGTERM ends it in 0.5 s.
STOP_SECONDS_MAX = 30.0
_FETCH_SECONDS_MAX = 600.0
_FORMAT_SECONDS_MAX = 120.0
_JAVA_VERSION_SECONDS_MAX = 30.0
_HEAP = "1g"
# The optimising compiler takes more than it gives on a broker of one machine: without it, over the first thousands of
# transactions, Kafka takes half the processor time and Harbor answers in half the time (measured on two cores).
_QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
# For a JVM that prints something and ends.
_SHORT_LIVED = ("-XX:+UseSerialGC", _QUICK_COMPILER)


class ApacheKafka:
    """One broker on loopback that keeps its data, and its ports, over a restart."""

    def __init__(
        self,
        *,
        data_directory: Path,
        libraries: Path = LIBRARIES_DEFAULT,
        port: int | None = None,
        log_file: Path | None = None,
        has_sasl: bool = False,
    ) -> None:
        self.data_directory = data_directory.absolute()
        self.sasl_port = free_port() if has_sasl else None
        self.libraries = libraries.absolute()
        self.port = port or free_port()
        self._controller_port = free_port()
        self._server = ServerProcess(
            name=f"Apache Kafka {VERSION}", data_directory=self.data_directory, log_file=log_file
        )

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def sasl_bootstrap(self) -> str:
        """Where clients must say who they are; only of a broker made with `has_sasl`."""
        assert self.sasl_port is not None
        return f"{LOOPBACK}:{self.sasl_port}"

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
        """Format the data folder if it is new, start, and wait for metadata.

        Raises LocalServerError, LocalSetupError.
        """
        if self.is_running:
            return
        if not is_fetched(self.libraries):
            raise LocalSetupError(
                f"{self.libraries} has no Kafka {VERSION}: run `make kafka` first"
            )
        java = find_java()
        self.data_directory.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties()
        self._format(java, properties)
        if has_lived(self.data_directory / "kafka"):
            self._fence_former_broker(java, properties)
        self._server.start(
            self._launch(
                java,
                properties,
                port=self.port,
                is_ready=lambda: answers_metadata(self.bootstrap),
            )
        )

    def stop(self) -> None:
        """SIGTERM: logs are flushed and closed (the JVM then ends with status 143)."""
        self._server.stop()

    def kill(self) -> None:
        self._server.kill()

    def _launch(
        self, java: str, properties: Path, *, port: int, is_ready: Callable[[], bool]
    ) -> Launch:
        return Launch(
            command=(
                java,
                f"-Xmx{_HEAP}",
                _QUICK_COMPILER,
                f"-Dlog4j2.configurationFile={DEFINITION / 'log4j2.properties'}",
                "-cp",
                f"{self.libraries}/*",
                "kafka.Kafka",
                str(properties),
            ),
            port=port,
            is_ready=is_ready,
            ready_seconds_max=READY_SECONDS_MAX,
            stop_seconds_max=STOP_SECONDS_MAX,
            working_directory=self.data_directory,
        )

    def _fence_former_broker(self, java: str, properties: Path) -> None:
        """As a controller alone, until the former broker leads nothing (`kafka_fencing` says why)."""
        alone = self.data_directory / "controller.properties"
        alone.write_text(
            controller_properties(properties.read_text(), controller_port=self._controller_port)
        )
        self._server.start(
            self._launch(
                java,
                alone,
                port=self._controller_port,
                is_ready=lambda: accepts_connections(self._controller_port),
            )
        )
        try:
            dump = dumper((java, *_SHORT_LIVED, "-cp", f"{self.libraries}/*"))
            if not wait_until_fenced(
                dump, self.data_directory / "kafka", seconds=READY_SECONDS_MAX
            ):
                raise LocalServerError(
                    server=f"Apache Kafka {VERSION}",
                    reason=f"the former broker was not fenced in {READY_SECONDS_MAX:g} s",
                    log_file=self.log_file,
                )
        finally:
            self._server.stop()

    def _write_properties(self) -> Path:
        template = Template((DEFINITION / "server.properties").read_text())
        properties = self.data_directory / "server.properties"
        text = template.substitute(
            broker_port=self.port,
            controller_port=self._controller_port,
            data_directory=self.data_directory,
        )
        if self.sasl_port is not None:
            text = with_sasl_listener(text, port=self.sasl_port)
        properties.write_text(text)
        return properties

    def _format(self, java: str, properties: Path) -> None:
        # Without this check every restart would pay a second JVM to be told "already formatted".
        if (self.data_directory / "kafka" / "meta.properties").exists():
            return
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        with self.log_file.open("ab") as log:
            finished = subprocess.run(
                [
                    java,
                    f"-Dlog4j2.configurationFile={DEFINITION / 'log4j2.properties'}",
                    "-cp",
                    f"{self.libraries}/*",
                    "kafka.tools.StorageTool",
                    "format",
                    "--standalone",
                    "--ignore-formatted",
                    f"--cluster-id={cluster_id}",
                    "--config",
                    str(properties),
                ],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=_FORMAT_SECONDS_MAX,
            )
        if finished.returncode != 0:
            raise LocalServerError(
                server=f"Apache Kafka {VERSION}",
                reason=f"formatting ended with status {finished.returncode}",
                log_file=self.log_file,
            )


def is_fetched(libraries: Path) -> bool:
    """Whether the jars there are those of this `pom.xml`."""
    stamp = libraries / "paybond.stamp"
    return stamp.is_file() and stamp.read_text() == _definition_digest()


def fetch(libraries: Path) -> bool:
    """Fetch the jars by Maven unless they are there; True if they were fetched now."""
    if is_fetched(libraries):
        return False
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalSetupError(
            "Maven is needed to fetch Apache Kafka: install it with the system's package manager "
            "(Debian, Ubuntu: maven; Fedora: maven; macOS: brew install maven)"
        )
    # A half-fetched folder of another version must not be mixed into this one.
    shutil.rmtree(libraries, ignore_errors=True)
    libraries.mkdir(parents=True)
    subprocess.run(
        [
            maven,
            "--quiet",
            "--batch-mode",
            f"--file={DEFINITION / 'pom.xml'}",
            "dependency:copy-dependencies",
            f"-DoutputDirectory={libraries.absolute()}",
        ],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=_FETCH_SECONDS_MAX,
    )
    (libraries / "paybond.stamp").write_text(_definition_digest())
    return True


def find_java() -> str:
    """Path of a Java that is new enough; raises LocalSetupError."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise LocalSetupError(
            f"Java {JAVA_VERSION_MIN} or later is needed to run Apache Kafka: install a headless "
            "JRE with the system's package manager, or set JAVA_HOME"
        )
    answer = subprocess.run(
        [java, "-version"],
        check=False,
        capture_output=True,
        text=True,
        timeout=_JAVA_VERSION_SECONDS_MAX,
    )
    found = re.search(r'version "(\d+)', answer.stderr)
    if found is None or int(found.group(1)) < JAVA_VERSION_MIN:
        said = answer.stderr.strip().splitlines()[:1]
        raise LocalSetupError(f"Java {JAVA_VERSION_MIN} or later is needed; {java} says {said}")
    return java


def _definition_digest() -> str:
    return hashlib.sha256((DEFINITION / "pom.xml").read_bytes()).hexdigest()


def main() -> int:
    """Fetch, check Java, and say where things are."""
    try:
        java = find_java()
        fetched = fetch(LIBRARIES_DEFAULT)
    except LocalSetupError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except subprocess.SubprocessError as error:
        print(f"Maven could not fetch Apache Kafka: {error}", file=sys.stderr)
        return 3
    state = "fetched" if fetched else "already there"
    print(f"Apache Kafka {VERSION} {state}: {LIBRARIES_DEFAULT} (Java: {java}); tools: {TOOLS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`paybond-harbor` as people run it: a process with an environment, exit codes, stdout and log lines."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.server_process import free_port
from schemas.messages.commands import Issuer
from tests.support.log_search import Secret, search

PARTITIONS = 4
KEY = "22" * 32
SEED = "11" * 32
_SECRETS = (Secret.of("issuer key", KEY), Secret.of("ledger signing seed", SEED))
# A loaded machine starts Python in seconds.
SECONDS_MAX = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    status: int
    out: str
    talk: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class RunningHarbor:
    process: subprocess.Popen[bytes]
    log: Path

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def wait_for(self, name: str, times: int = 1) -> list[dict[str, Any]]:
        deadline = time.monotonic() + SECONDS_MAX
        while len(found := self.events(name)) < times:
            assert time.monotonic() < deadline, f"no {name}: {self.log.read_text()[-3000:]}"
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.05)
        return found

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(SECONDS_MAX)

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.terminate()
        return self.process.wait(SECONDS_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A cluster and a folder; programs differ by slot."""

    bootstrap: str
    folder: Path
    is_apache: bool
    more: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **own: str) -> dict[str, str]:
        keys = {f"PAYBOND_HARBOR_ISSUER_KEY_{issuer.upper()}": KEY for issuer in Issuer}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PAYBOND_")}
        return {
            **inherited,
            **keys,
            "PAYBOND_HARBOR_LEDGER_SIGNING_SEED": SEED,
            "PAYBOND_HARBOR_DATA": str(self.folder / "harbor"),
            "PAYBOND_HARBOR_SINGLE_NODE": "true",
            "PAYBOND_KAFKA_BOOTSTRAP": self.bootstrap,
            "PAYBOND_KAFKA_BROKER": "apache" if self.is_apache else "embedded",
            "PAYBOND_KAFKA_PARTITIONS": str(PARTITIONS),
            **self.more,
            **own,
        }

    def call(self, *arguments: str, **own: str) -> Ended:
        ended = subprocess.run(
            program_command(*arguments),
            check=False,
            env=self.environment(**own),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        assert search(ended.stderr.encode(), _SECRETS) == []
        return Ended(status=ended.returncode, out=ended.stdout, talk=ended.stderr)

    @contextmanager
    def harbor(self, *, slot: int = 0, **own: str) -> Iterator[RunningHarbor]:
        log = self.folder / f"run-{slot}-{time.monotonic_ns()}.log"
        environment = self.environment(
            PAYBOND_HARBOR_SLOT=str(slot), PAYBOND_HARBOR_PRIVATE_PORT=str(free_port()), **own
        )
        with log.open("wb") as stream:
            process = subprocess.Popen(
                program_command("run"), env=environment, cwd=self.folder, stderr=stream
            )
        harbor = RunningHarbor(process, log)
        try:
            yield harbor
        finally:
            if process.poll() is None:
                harbor.stop()
        assert search(log.read_bytes(), _SECRETS, source=log.name) == []


def program_command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from harbor.cli import main; main()", *arguments]

"""The whole system of one machine as a test has it: brought up by two words, in a directory of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import (
    LIBRARIES_VARIABLE,
    BrokerKind,
    apache_libraries,
    chosen_broker,
    temporary_directory,
)
from tests.support.depth import by_depth
from tests.support.log_search import Finding, Secret, search_files

BINARIES = Path(sys.executable).parent
# `fsck` of 800,000 entries takes minutes; everything else is a matter of seconds.
_CALL_SECONDS_MAX = by_depth(usual=300, deep=3_600)
READY_SECONDS_MAX = 120
_LAST_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    directory: Path

    def run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """What it says on stderr is kept with the logs: it is searched with them."""
        ended = run_in(self.directory, program, *arguments)
        log = self.directory / ".paybond" / "logs" / "called.log"
        if log.parent.is_dir():
            with log.open("a") as file:
                file.write(ended.stderr)
        return ended

    def local_file(self) -> dict[str, Any]:
        document = json.loads((self.directory / ".paybond" / "local.json").read_text())
        assert isinstance(document, dict)
        return document

    def status(self) -> dict[str, Any]:
        document = json.loads(self.run("paybond-local", "status", "--json").stdout)
        assert isinstance(document, dict)
        return document

    def supervision(self) -> dict[str, Any]:
        """What the supervisor last wrote of itself; cheaper than asking for `status`."""
        document = json.loads((self.directory / ".paybond" / "supervisor.json").read_text())
        assert isinstance(document, dict)
        return document

    def found_in_logs(self, *planted: Secret) -> list[Finding]:
        """What no log may hold: this machine's secrets, whatever looks like one, and what a test has planted."""
        home = self.directory / ".paybond"
        logs = sorted((home / "logs").glob("*.log"))
        assert logs, f"{home} has no logs to search"
        return search_files(logs, [*_secrets_of(home), *planted])

    def said(self) -> str:
        return (self.directory / ".paybond" / "logs" / "supervisor.log").read_text()

    def last_words(self) -> str:
        """Of the supervisor all, of its programs the last that was no routine: for the report of a failure."""
        logs = self.directory / ".paybond" / "logs"
        parts = [self.said()]
        for program in self.supervision()["programs"]:
            lines = [line for line in _lines_of(logs / f"{program}.log") if not _is_routine(line)]
            parts.append("\n".join([f"-- {program}:", *lines[-_LAST_LINES:]]))
        return "\n".join(parts)

    def end(self, program: str, with_signal: signal.Signals) -> None:
        """End one program from outside and wait until all of them are ready again."""
        before = self.status()["programs"][program]
        os.kill(before["pid"], with_signal)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            programs = self.status()["programs"]
            is_new = programs[program]["restarts"] > before["restarts"]
            if is_new and all(entry["is_ready"] for entry in programs.values()):
                return
            assert time.monotonic() < deadline, (programs, self.last_words())
            time.sleep(0.5)


@contextmanager
def running_stack(*options: str, kafka: str | None = None) -> Iterator[LocalStack]:
    """Brought up on the broker of this session's kind unless `kafka` says which, taken down at the end."""
    with temporary_directory("e2e") as directory:
        stack = LocalStack(directory=directory)
        started = stack.run(
            "paybond-local", "up", "--detach", "--kafka", kafka or kafka_option(), *options
        )
        assert started.returncode == 0, started.stderr
        try:
            yield stack
        finally:
            stopped = stack.run("paybond-local", "down")
        assert stopped.returncode == 0, stopped.stderr
        assert stack.found_in_logs() == []


def _lines_of(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def _is_routine(line: str) -> bool:
    # Harbor's start and end name its slot: they part its lives.
    return '"level": "info"' in line and not line.startswith('{"slot"')


def _secrets_of(home: Path) -> list[Secret]:
    """Every key, password and bearer that was made for this machine."""
    files = [*(home / "keys").iterdir(), *home.glob("postgres/*.password")]
    return [Secret.of(file.name, file.read_text()) for file in sorted(files)]


def kafka_option() -> str:
    choice = chosen_broker()
    match choice.kind:
        case BrokerKind.EMBEDDED | BrokerKind.APACHE:
            # One of its own: group and topic names are the real ones.
            return choice.kind.value
        case _:
            if choice.address is None:
                pytest.skip("the supervisor does not start containers; the other brokers show this")
            return choice.address


def run_in(directory: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """With nothing of this session's environment but what a shell has."""
    return subprocess.run(
        [BINARIES / program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=directory,
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            LIBRARIES_VARIABLE: str(apache_libraries()),
        },
        timeout=_CALL_SECONDS_MAX,
    )

"""One server process of this machine: started, waited for, stopped, killed, found again.

Every server keeps a pid file beside its data: a launcher that was SIGKILLed leaves its servers
running on that data, so the next start stops the one it finds before it starts its own.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from schemas.errors import OutageError

LOOPBACK = "127.0.0.1"

# Below Linux's ephemeral range (32768), so that no outgoing connection can take a chosen port
# in the seconds between the choice and the server's bind.
_PORT_FIRST = 20_000
_PORT_LAST = 32_000
_PORT_TRIES_MAX = 200

PID_FILE = "server.pid"

_READY_POLL_SECONDS = 0.05
_CONNECT_SECONDS_MAX = 0.5
_LOG_TAIL_LINES = 30
# Read from the end only: a broker that failed after a long life has a long log.
_LOG_TAIL_BYTES = 64 * 1024
_LOG_BYTES_MAX = 32 * 1024 * 1024


class LocalServerError(OutageError):
    """A server of this machine did not do what it was asked; the message ends with its log."""

    def __init__(self, *, server: str, reason: str, log_file: Path) -> None:
        super().__init__(f"{server}: {reason}. Log: {log_file}\n{log_tail(log_file)}")
        self.server = server
        self.log_file = log_file


class LocalSetupError(OutageError):
    """Something this machine must have for a server is not there; the message says what to do."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The operating system's account a server runs as, if it is not the caller's own."""

    user_id: int
    group_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one server is started and ended; seconds are upper limits, not waits."""

    command: Sequence[str]
    port: int
    is_ready: Callable[[], bool]
    ready_seconds_max: float
    stop_seconds_max: float
    working_directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM


class ServerProcess:
    """A handle on one process; not safe for use from several threads."""

    def __init__(self, *, name: str, data_directory: Path, log_file: Path | None = None) -> None:
        self.name = name
        self.log_file = log_file or data_directory / "server.log"
        self._pid_file = data_directory / PID_FILE
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_seconds_max = 0.0
        self._stop_signal = signal.SIGTERM

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def exit_status(self) -> int | None:
        """How it ended by itself, as subprocess says it (a signal is negative); None while it runs or was stopped."""
        return self._process.poll() if self._process is not None else None

    def start(self, launch: Launch) -> None:
        """Start and wait until ready; running already: nothing. Raises LocalServerError."""
        if self.is_running:
            return
        self.begin(launch)
        try:
            self._wait_until_ready(launch)
        except BaseException:
            # Also on Ctrl-C: nobody else would know of this process.
            self.kill()
            raise

    def begin(self, launch: Launch) -> None:
        """Start and do not wait: for whoever watches several. Raises LocalServerError."""
        assert not self.is_running
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        self.stop_left_over(launch)
        if accepts_connections(launch.port):
            # Else the stranger there would pass for our server when it answers.
            raise self._error(f"port {launch.port} is taken by another process")
        self._process = self._spawn(launch)
        self._stop_seconds_max = launch.stop_seconds_max
        self._stop_signal = launch.stop_signal
        self._pid_file.write_text(
            json.dumps({"pid": self._process.pid, "started_at": _started_at(self._process.pid)})
        )

    def stop(self) -> None:
        """End it in order; one that does not end in time is killed. Not running: nothing."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            try:
                self._process.wait(self._stop_seconds_max)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL, as a crash of the machine would end it. Not running: nothing."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        self._process.kill()
        # A server's workers see its death within moments; until then they hold its data.
        psutil.wait_procs(children, timeout=self._stop_seconds_max)
        self._forget()

    def stop_left_over(self, launch: Launch) -> None:
        """Stop the server that an earlier, killed launcher left running on the same data."""
        stop_recorded(
            self._pid_file, with_signal=launch.stop_signal, seconds=launch.stop_seconds_max
        )

    def _spawn(self, launch: Launch) -> subprocess.Popen[bytes]:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_BYTES_MAX:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        account = launch.account
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                launch.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=launch.working_directory,
                env={**os.environ, **launch.environment},
                # Ctrl-C goes to the launcher alone, which then stops servers in its own order.
                start_new_session=True,
                user=account.user_id if account else None,
                group=account.group_id if account else None,
                extra_groups=[] if account else None,
            )

    def _wait_until_ready(self, launch: Launch) -> None:
        deadline = time.monotonic() + launch.ready_seconds_max
        while True:
            if not self.is_running:
                assert self._process is not None
                raise self._error(f"ended with status {self._process.returncode} while starting")
            if accepts_connections(launch.port) and launch.is_ready():
                return
            if time.monotonic() > deadline:
                raise self._error(f"not ready after {launch.ready_seconds_max:g} s")
            time.sleep(_READY_POLL_SECONDS)

    def _error(self, reason: str) -> LocalServerError:
        return LocalServerError(server=self.name, reason=reason, log_file=self.log_file)

    def _forget(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._process = None
        self._pid_file.unlink(missing_ok=True)


def free_port() -> int:
    """A loopback port nobody listens on now, outside the ephemeral range."""
    for _ in range(_PORT_TRIES_MAX):
        port = _PORT_FIRST + secrets.randbelow(_PORT_LAST - _PORT_FIRST)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise LocalSetupError(f"no free port on {LOOPBACK} between {_PORT_FIRST} and {_PORT_LAST}")


def accepts_connections(port: int) -> bool:
    """Whether something listens on this loopback port; cheap enough to poll."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_CONNECT_SECONDS_MAX):
            return True
    except OSError:
        return False


def log_tail(log_file: Path) -> str:
    """The last lines of a log, for an error message; empty if there is none."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - _LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LOG_TAIL_LINES:])


def stop_recorded(pid_file: Path, *, with_signal: signal.Signals, seconds: float) -> bool:
    """Stop the process that a pid file speaks of, if it still is that one; the file is gone then. True if it ran."""
    try:
        record = json.loads(pid_file.read_text())
        process = psutil.Process(int(record["pid"]))
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return False
    # A pid is used again; a pid together with the time its process began is not.
    is_it = bool(abs(process.create_time() - float(record["started_at"])) < 1)
    if is_it:
        stop_foreign(process, with_signal=with_signal, seconds=seconds)
    pid_file.unlink(missing_ok=True)
    return is_it


def stop_foreign(process: psutil.Process, *, with_signal: signal.Signals, seconds: float) -> None:
    """End a process that is not our child, and wait until its workers are gone as well."""
    children = _children(process.pid)
    try:
        process.send_signal(with_signal)
        process.wait(seconds)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(seconds)
    except psutil.NoSuchProcess:
        pass
    psutil.wait_procs(children, timeout=seconds)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _started_at(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0

"""Runs the programs of one machine as processes of its own: starts, watches, restarts and stops them.

One thread, no timers: `step` looks at every process once, and everything that happens is said in one line.
A stop request is seen between two looks only, so that no process is ever started and forgotten.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from signal import Signals
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

import httpx

from deploy.local.programs import Port, Program, ProgramName, Task
from deploy.local.restart_policy import FIRST_DELAY, must_restart_broker, next_restart
from deploy.local.server_process import (
    Launch,
    LocalServerError,
    ServerProcess,
)

# Python's start, a group join and a restore, on a busy machine.
READY_SECONDS_MAX = 120.0
# A batch in flight is finished and committed first.
STOP_SECONDS_MAX = 20.0
TASK_SECONDS_MAX = 120.0
LOOK_EVERY_SECONDS = 0.1
_PROBE_SECONDS_MAX = 2.0
# A program that can't even start three times has a fault that a fourth start does not mend.
_CRASHES_AT_START_MAX = 3
# Usage or configuration; the same settings give the same refusal.
_EXIT_USAGE = 2

Say = Callable[[str], None]


class StopRequestedError(Exception):
    """SIGINT or SIGTERM came; raised at points where stopping is safe."""


class Server(Protocol):
    """A broker or a database that this machine runs itself."""

    @property
    def is_running(self) -> bool: ...

    @property
    def pid(self) -> int | None: ...

    def start(self) -> None:
        """Return when it answers. Raises LocalServerError, LocalSetupError."""

    def stop(self) -> None: ...


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting to restart"
    STOPPED = "stopped"


@dataclass(slots=True, kw_only=True)
class Watched:
    """A program, its process, and how it fares."""

    program: Program
    launch: Launch
    process: ServerProcess
    state: State = State.STOPPED
    crashes: int = 0
    restarts: int = 0
    begun_at: float = 0.0
    due_at: float = 0.0

    def document(self) -> dict[str, Any]:
        return {
            "state": self.state.value,
            "pid": self.process.pid,
            "restarts": self.restarts,
            "port": self.launch.port,
            "log": str(self.process.log_file),
        }


@dataclass(slots=True, kw_only=True)
class _WatchedServer:
    server: Server
    crashes: int = 0
    begun_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunningTask:
    task: Task
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    log_file: Path

    def printed(self) -> str:
        """Raises LocalServerError unless it ended well."""
        status = self.process.poll()
        if status != 0:
            reason = "is not done in time" if status is None else _how(status)
            raise LocalServerError(server=self.task.name, reason=reason, log_file=self.log_file)
        self.output.seek(0)
        return self.output.read().decode()


class Supervisor:
    """`servers` by name in start order; `broker` names the one to restart after a killed group member, if any."""

    def __init__(
        self,
        *,
        directory: Path,
        servers: Mapping[str, Server],
        embedded_broker: str | None,
        say: Say,
        is_stop_requested: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._servers = {name: _WatchedServer(server=server) for name, server in servers.items()}
        self._embedded_broker = embedded_broker
        self._say = say
        self._is_stop_requested = is_stop_requested
        self._on_change = on_change
        self._watched: dict[ProgramName, Watched] = {}

    @property
    def watched(self) -> Sequence[Watched]:
        return tuple(self._watched.values())

    def document(self) -> dict[str, Any]:
        """What `paybond-local status` shows."""
        return {
            "servers": {
                name: {"pid": entry.server.pid, "is_running": entry.server.is_running}
                for name, entry in self._servers.items()
            },
            "programs": {name.value: entry.document() for name, entry in self._watched.items()},
        }

    def start_servers(self) -> None:
        """Raises LocalServerError, LocalSetupError, StopRequestedError."""
        for entry in self._servers.values():
            self._check()
            entry.server.start()
            entry.begun_at = time.monotonic()
        self._on_change()

    def run_tasks(self, tasks: Sequence[Task]) -> list[str]:
        """Run commands side by side to their end; what each printed on stdout.

        Raises LocalServerError for the first that fails, StopRequestedError.
        """
        with ExitStack() as stack:
            running = [self._begin_task(task, stack) for task in tasks]
            deadline = time.monotonic() + TASK_SECONDS_MAX
            while any(entry.process.poll() is None for entry in running):
                self._check()
                if time.monotonic() > deadline:
                    break
                time.sleep(LOOK_EVERY_SECONDS)
            return [entry.printed() for entry in running]

    def start_programs(self, programs: Sequence[Program], *, ports: Mapping[Port, int]) -> None:
        """Start these side by side, after those before them, and return when all are ready.

        Raises LocalServerError, StopRequestedError.
        """
        mine = [self._watch(program, ports[program.port]) for program in programs]
        for entry in mine:
            self._begin(entry)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not all(entry.state is State.READY for entry in mine):
            self.step()
            for entry in mine:
                if entry.crashes >= _CRASHES_AT_START_MAX:
                    raise self._failed(entry, f"crashed {entry.crashes} times while starting")
                if entry.process.exit_status == _EXIT_USAGE:
                    raise self._failed(entry, "refused to start")
                if time.monotonic() > deadline and entry.state is not State.READY:
                    raise self._failed(entry, f"is not ready after {READY_SECONDS_MAX:g} s")
            time.sleep(LOOK_EVERY_SECONDS)

    def watch(self) -> None:
        """Until a stop is requested."""
        while not self._is_stop_requested():
            self.step()
            time.sleep(LOOK_EVERY_SECONDS)

    def step(self) -> None:
        """Look once at every server and program. Raises StopRequestedError."""
        self._check()
        for name, server in self._servers.items():
            if not server.server.is_running:
                self._restart_server(name, server)
        for entry in self.watched:
            match entry.state:
                case State.STARTING | State.READY if not entry.process.is_running:
                    self._crashed(entry)
                case State.STARTING if is_ready(entry.launch.port):
                    self._set(entry, State.READY)
                    if entry.restarts:
                        self._say(f"{entry.program.name} is ready again.")
                case State.WAITING if time.monotonic() >= entry.due_at:
                    entry.restarts += 1
                    self._begin(entry)
                case _:
                    pass

    def stop(self) -> None:
        """Programs in reverse start order, then servers in reverse."""
        for entry in reversed(self.watched):
            entry.process.stop()
            self._set(entry, State.STOPPED)
        for name, server in reversed(self._servers.items()):
            if server.server.is_running:
                self._say(f"Stopping {name}.")
            server.server.stop()
        self._on_change()

    def _watch(self, program: Program, port: int) -> Watched:
        environment = {
            name: value for name, value in program.defaults.items() if name not in os.environ
        }
        entry = Watched(
            program=program,
            process=ServerProcess(
                name=program.name,
                data_directory=self._directory / "run" / program.name,
                log_file=self._directory / "logs" / f"{program.name}.log",
            ),
            launch=Launch(
                command=program.command,
                port=port,
                is_ready=lambda: is_ready(port),
                ready_seconds_max=READY_SECONDS_MAX,
                stop_seconds_max=STOP_SECONDS_MAX,
                working_directory=Path.cwd(),
                environment={**environment, **program.environment},
            ),
        )
        self._watched[program.name] = entry
        return entry

    def _begin(self, entry: Watched) -> None:
        entry.process.begin(entry.launch)
        entry.begun_at = time.monotonic()
        self._set(entry, State.STARTING)

    def _crashed(self, entry: Watched) -> None:
        status = entry.process.exit_status
        assert status is not None
        restart = next_restart(
            crashes_before=entry.crashes,
            lived=timedelta(seconds=time.monotonic() - entry.begun_at),
            first_delay=entry.program.first_delay,
        )
        entry.crashes = restart.crashes
        seconds = restart.delay.total_seconds()
        self._say(
            f"{entry.program.name} {_how(status)}; it is started again in {seconds:g} s. "
            f"Log: {entry.process.log_file}"
        )
        if self._embedded_broker and must_restart_broker(
            is_embedded=True,
            is_group_member=entry.program.is_group_member,
            exit_status=status,
        ):
            self._say(
                f"Restarting {self._embedded_broker}: it would wait for the killed "
                f"{entry.program.name} for ever."
            )
            server = self._servers[self._embedded_broker]
            server.server.stop()
            server.server.start()
            server.begun_at = time.monotonic()
        entry.due_at = time.monotonic() + seconds
        self._set(entry, State.WAITING)

    def _restart_server(self, name: str, entry: _WatchedServer) -> None:
        # Everything waits for a server, so its pause blocks this loop; a second signal still gets through.
        restart = next_restart(
            crashes_before=entry.crashes,
            lived=timedelta(seconds=time.monotonic() - entry.begun_at),
            first_delay=FIRST_DELAY,
        )
        entry.crashes = restart.crashes
        seconds = restart.delay.total_seconds()
        self._say(f"{name} ended unasked; it is started again in {seconds:g} s.")
        due_at = time.monotonic() + seconds
        while time.monotonic() < due_at:
            self._check()
            time.sleep(LOOK_EVERY_SECONDS)
        try:
            entry.server.start()
        except LocalServerError as error:
            self._say(str(error))
        entry.begun_at = time.monotonic()
        self._on_change()

    def _begin_task(self, task: Task, stack: ExitStack) -> _RunningTask:
        log_file = self._directory / "logs" / f"{task.name.replace(' ', '-')}.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        # A file without a name: what a task prints may be a secret.
        output = stack.enter_context(TemporaryFile())  # noqa: SIM115 – the stack closes it
        log = stack.enter_context(log_file.open("ab"))
        process = stack.enter_context(
            subprocess.Popen(
                task.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env={**os.environ, **task.environment},
                start_new_session=True,
            )
        )
        # Run before Popen's own exit, which would wait for ever.
        stack.callback(_end, process)
        return _RunningTask(task=task, process=process, output=output, log_file=log_file)

    def _set(self, entry: Watched, state: State) -> None:
        entry.state = state
        self._on_change()

    def _failed(self, entry: Watched, reason: str) -> LocalServerError:
        return LocalServerError(
            server=entry.program.name, reason=reason, log_file=entry.process.log_file
        )

    def _check(self) -> None:
        if self._is_stop_requested():
            raise StopRequestedError


def is_ready(port: int) -> bool:
    """Whether the program behind this private port does its work now."""
    try:
        answer = httpx.get(
            f"http://127.0.0.1:{port}/readyz", timeout=_PROBE_SECONDS_MAX, trust_env=False
        )
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()


def _how(status: int) -> str:
    if status < 0:
        try:
            return f"was ended by {Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with status {status}"

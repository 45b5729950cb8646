"""`paybond-local`: the whole system on one machine, brought up, shown and taken down.

Results on stdout, talk on stderr; exit 0 done, 1 refused or failed, 2 usage, 3 outage.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deploy.local.local_file import LOCAL_FILE
from deploy.local.programs import ProgramName
from deploy.local.running_lock import (
    AlreadyRunningError,
    held_lock,
    is_held,
    last_state,
    read_state,
    wait_until_free,
)
from deploy.local.server_process import LocalServerError, log_tail
from deploy.local.stack import EMBEDDED, Options, Stack, stop_left_overs
from deploy.local.supervision import StopRequestedError, is_ready
from schemas.errors import PaybondError

app = typer.Typer(
    help="Paybond on one machine: real programs, embedded servers.", no_args_is_help=True
)
_talk = Console(stderr=True)
_out = Console()

HOME = LOCAL_FILE.parent
# The longest honest way down: four programs of 20 s each, then a database of 30 s.
_DOWN_SECONDS_MAX = 120.0
# Python, initdb and a broker on a cold machine.
_UP_SECONDS_MAX = 300.0
_POLL_SECONDS = 0.2
_LOG_LINES = 200

DataOption = Annotated[
    Path, typer.Option("--data", help="Folder of all data; local.json stays in ./.paybond.")
]
KafkaOption = Annotated[
    str,
    typer.Option(
        "--kafka", envvar="PAYBOND_KAFKA_BOOTSTRAP", help="embedded, apache or HOST:PORT."
    ),
]
PostgresOption = Annotated[
    str,
    typer.Option(
        "--postgres",
        envvar="PAYBOND_POSTGRES_DSN",
        help="embedded, or the DSN of a role that may create roles in its database.",
    ),
]
RailFaultsOption = Annotated[
    bool,
    typer.Option(
        "--rail-faults/--no-rail-faults",
        help="Let the simulated rail decline, lose and duplicate some answers.",
    ),
]


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready.")] = False,
    data: DataOption = HOME,
    kafka: KafkaOption = EMBEDDED,
    postgres: PostgresOption = EMBEDDED,
    rail_faults: RailFaultsOption = False,
) -> None:
    """Start everything; Ctrl-C or `down` stops it. Already running: says so, exit 0."""
    options = Options(
        data=data,
        local_file=LOCAL_FILE,
        kafka=kafka,
        postgres=postgres,
        has_rail_faults=rail_faults,
    )
    if detach:
        bring_up_detached(options)
        return
    try:
        _run_here(options)
    except AlreadyRunningError as error:
        _say(str(error))


@app.command()
def down() -> None:
    """Stop what `up` started here, in reverse order. Not running: says so, exit 0."""
    state = read_state(HOME)
    if state is None:
        # A supervisor that was SIGKILLed gave its lock back, but its programs live on.
        data = Path((last_state(HOME) or {}).get("data", HOME))
        left_over = [] if is_held(HOME) else stop_left_overs(data)
        if left_over:
            _say(f"The supervisor was gone; stopped what it had left: {', '.join(left_over)}.")
        else:
            _say("Nothing runs here.")
        return
    os.kill(int(state["pid"]), signal.SIGTERM)
    if not wait_until_free(HOME, seconds_max=_DOWN_SECONDS_MAX):
        _say(f"Process {state['pid']} is still stopping after {_DOWN_SECONDS_MAX:g} s.")
        raise typer.Exit(3)
    _say("Everything is stopped; the data stays.")


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """What runs, and whether it is ready now; exit 1 unless all of it is."""
    state = read_state(HOME)
    if state is None:
        if as_json:
            print(json.dumps({"phase": "stopped"}))
        else:
            _say("Nothing runs here; `paybond-local up` starts it.")
        raise typer.Exit(1)
    ready = {name: is_ready(entry["port"]) for name, entry in state["programs"].items()}
    if as_json:
        programs = {
            name: {**entry, "is_ready": ready[name]} for name, entry in state["programs"].items()
        }
        print(json.dumps({**state, "programs": programs}, indent=2))
    else:
        _out.print(_status_table(state, ready))
    if state["phase"] != "ready" or not all(ready.values()) or len(ready) < len(ProgramName):
        raise typer.Exit(1)


@app.command()
def logs(
    program: Annotated[
        str | None,
        typer.Argument(help="harbor, rails, views, gateway, kafka, postgres; all by default."),
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Print the last lines of the logs."""
    folder = Path((read_state(HOME) or {}).get("data", HOME)) / "logs"
    files = sorted(folder.glob(f"{program or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        _say(f"No log {program or ''} in {folder} (there are: {known}).")
        raise typer.Exit(2)
    command = ["tail", "-n", str(_LOG_LINES if len(files) == 1 else _LOG_LINES // 10)]
    try:
        subprocess.run([*command, *(["-F"] if follow else []), *map(str, files)], check=False)
    except KeyboardInterrupt:
        return


@app.command()
def demo(
    *,
    bring_up: Annotated[bool, typer.Option("--up", help="Start everything first.")] = False,
    intents: Annotated[int, typer.Option(min=1, max=10_000, help="How many random ones.")] = 200,
    seed: Annotated[int | None, typer.Option(help="The same seed plans the same run.")] = None,
    local_file: Annotated[Path, typer.Option(help="Addresses and keys.")] = LOCAL_FILE,
) -> None:
    """Show what Paybond does: 200 intents over HTTP, their ledger, and a proof checked offline."""
    # Imported here: `down` and `status` need none of it.
    from deploy.local.demo import run_demo  # noqa: PLC0415

    if bring_up:
        bring_up_detached(Options(data=HOME, local_file=LOCAL_FILE, has_rail_faults=True))
    if not run_demo(local_file=local_file, intents=intents, seed=seed, console=_out):
        raise typer.Exit(1)


def bring_up_detached(options: Options) -> None:
    """Start a supervisor of its own session and wait until all is ready. Raises LocalServerError."""
    if read_state(HOME) is not None:
        _say(str(AlreadyRunningError(HOME)))
        _wait_until_ready(None, log_file=HOME / "logs" / "supervisor.log")
        return
    log_file = options.data / "logs" / "supervisor.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "deploy.local.cli", "up"),
        *("--data", str(options.data), "--kafka", options.kafka, "--postgres", options.postgres),
        *(["--rail-faults"] if options.has_rail_faults else []),
    ]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _wait_until_ready(process, log_file=log_file)


def _run_here(options: Options) -> None:
    requests: list[int] = []

    def request_stop(number: int, _frame: object) -> None:
        requests.append(number)

    with ExitStack() as stack:
        for directory in dict.fromkeys((HOME.absolute(), options.data.absolute())):
            stack.enter_context(held_lock(directory))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, request_stop)
        with suppress(StopRequestedError):
            Stack(options, say=_say, is_stop_requested=lambda: bool(requests)).run(_print_ready)
        _say("Everything is stopped; the data stays.")


def _wait_until_ready(process: "subprocess.Popen[bytes] | None", *, log_file: Path) -> None:
    deadline = time.monotonic() + _UP_SECONDS_MAX
    said = 0
    while True:
        state = read_state(HOME)
        is_mine = process is None or (state is not None and state["pid"] == process.pid)
        if state is not None and is_mine and state["phase"] == "ready":
            _say(f"Ready: {state['base_url']} (addresses and keys: {LOCAL_FILE})")
            return
        if process is not None:
            said = _repeat(log_file, said)
            if process.poll() is not None:
                _repeat(log_file, said)
                raise typer.Exit(process.returncode or 1)
        elif state is None:
            raise LocalServerError(
                server="paybond-local up", reason="stopped meanwhile", log_file=log_file
            )
        if time.monotonic() > deadline:
            raise LocalServerError(
                server="paybond-local up",
                reason=f"not ready after {_UP_SECONDS_MAX:g} s",
                log_file=log_file,
            )
        time.sleep(_POLL_SECONDS)


def _repeat(log_file: Path, said: int) -> int:
    """What the supervisor has said since, so that a slow start is not a silent one."""
    lines = log_tail(log_file).splitlines()
    for line in lines[said:]:
        _say(line)
    return max(said, len(lines))


def _print_ready(document: Mapping[str, Any]) -> None:
    _say("Ready. Ctrl-C stops everything.")
    print(f"{document['base_url']}  (addresses and keys: {LOCAL_FILE})", flush=True)


def _status_table(state: Mapping[str, Any], ready: Mapping[str, bool]) -> Table:
    table = Table("part", "state", "pid", "restarts", title=f"{state['base_url']} {state['phase']}")
    for name, entry in state["servers"].items():
        is_running = "running" if entry["is_running"] else "stopped"
        table.add_row(name, is_running, str(entry["pid"] or "–"), "")
    for name, entry in state["programs"].items():
        now = "ready" if ready[name] else entry["state"].replace("ready", "not ready")
        table.add_row(name, now, str(entry["pid"] or "–"), str(entry["restarts"]))
    return table


def _say(text: str) -> None:
    _talk.print(text, markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Exit 0 done, 1 refused or failed check, 2 usage, 3 outage."""
    try:
        app()
    except PaybondError as error:
        _say(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

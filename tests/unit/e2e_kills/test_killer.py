"""When a killed process counts as back, and what is printed of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.kills.acknowledgements import Acknowledgements, Told
from tests.e2e.kills.killer import Kill, is_ready_again, recovery_table, runs

ME = os.getpid()
DEAD = 2**22 + 1


def a_state(pid: int | None, *, state: str = "ready", server_pid: int = ME) -> dict[str, object]:
    """As the supervisor writes it."""
    programs = {"harbor": {"state": state, "pid": pid}}
    return {"servers": {"Kafka": {"pid": server_pid}}, "programs": programs}


def test_a_dead_process_that_nobody_waited_for_runs_no_more() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    ran = runs(process.pid)
    process.wait()

    assert not ran
    assert not runs(process.pid)
    assert runs(ME)


@pytest.mark.parametrize(
    ("killed", "state", "is_so"),
    [
        (ME, a_state(ME), False),
        (DEAD, a_state(None, state="waiting to restart"), False),
        (DEAD, a_state(ME, state="starting"), False),
        (ME, a_state(DEAD), False),
        (DEAD, a_state(ME), True),
    ],
    ids=["before-the-supervisor-looked", "waiting", "starting", "dead-again", "ready"],
)
def test_a_killed_program_is_ready_again_in_another_process_that_runs(
    killed: int, state: dict[str, object], *, is_so: bool
) -> None:
    assert is_ready_again(state, Kill(target="harbor", pid=killed, at=0.0)) is is_so


def test_a_killed_server_is_ready_again_once_it_has_another_pid() -> None:
    kill = Kill(target="Kafka", pid=DEAD, at=0.0)

    assert not is_ready_again(a_state(ME, server_pid=DEAD), kill)
    assert is_ready_again(a_state(ME, server_pid=ME), kill)


def test_the_table_tells_readiness_from_the_next_answer(tmp_path: Path) -> None:
    answer = Told(
        tenant_id="acme",
        command_id="c",
        purpose="create",
        intent_id="i",
        status=201,
        sent_at=11.0,
        acknowledged_at=14.0,
    )
    told = Acknowledgements(path=tmp_path / "none", told=[answer])
    kills = [
        Kill(target="harbor", pid=1, at=9.0),
        Kill(target="harbor", pid=2, at=10.0, ready_at=12.5),
    ]

    assert recovery_table(kills, told) == (
        "harbor         2 kills   ready again after 2.5 s at best, 2.5 s in the middle, 2.5 s at worst;"
        " next answer after 4.0 s at best, 4.5 s in the middle, 5.0 s at worst"
    )

"""Every process is SIGKILLed again and again while clients work: nothing that was acknowledged is lost or doubled."""

import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.audited import audited, entries_of_whole
from tests.e2e.kills.acknowledgements import Acknowledgements
from tests.e2e.kills.clients import clients
from tests.e2e.kills.killer import TARGETS, Killer, recovery_table
from tests.e2e.kills.ledger_check import faults_of_all, ledgers_of
from tests.e2e.kills.rebuilt import live_and_rebuilt
from tests.e2e.local_stack import running_stack
from tests.support.depth import by_depth

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

# Every process twice in each run of the gate; `make test-deep` has hours.
KILLS = by_depth(usual=12, long=30, deep=300)
COMMANDS = by_depth(usual=4_000, long=20_000, deep=300_000)
# Half of it for each of two tenants; the gateway takes 64 in flight of each.
_SIDE_BY_SIDE = 96
# A wall against a hang, not a measure: 20,000 commands take minutes on a machine that does nothing else.
_LOAD_SECONDS_MAX = by_depth(usual=1_200, long=3_600, deep=36_000)
_LOOK_SECONDS = 0.5


def test_what_was_acknowledged_is_there_once_whoever_is_killed(
    tmp_path: Path, show_at_end: Callable[[str], None]
) -> None:
    seed = secrets.randbelow(10**9)
    told = Acknowledgements(path=tmp_path / "acknowledged.jsonl")
    with running_stack() as stack:
        began = time.monotonic()
        with clients(stack, told, seed=seed, side_by_side=_SIDE_BY_SIDE):
            kills = Killer(stack, told, draw=random.Random(seed)).kill(KILLS)
            _wait_for_commands(told, began)
        seconds = time.monotonic() - began
        told.read()
        audit_began = time.monotonic()
        checked = audited(stack)
        audit_seconds = time.monotonic() - audit_began
        ledgers = ledgers_of(stack.local_file()["kafka_bootstrap"])
        live, rebuilt = live_and_rebuilt(stack)

    entries = sum(map(len, ledgers.values()))
    show_at_end(
        f"kills: seed {seed}, {len(kills)} kills, {len(told.decided)} commands acknowledged"
        f" ({len(told.decided) / seconds:.0f}/s), {entries} entries, {seconds:.0f} s,"
        f" caught up and audited in {audit_seconds:.0f} s;"
        f" asked again: {dict(told.retried)}\n{recovery_table(kills, told)}"
    )
    assert {kill.target for kill in kills} == set(TARGETS)
    assert len(told.decided) >= COMMANDS
    assert faults_of_all(ledgers, told.told) == []
    assert entries_of_whole(checked) == {tenant: len(ledgers[tenant]) for tenant in ledgers}
    assert live.rows["ledger_entries"] == sum(map(len, ledgers.values()))
    assert rebuilt == live
    assert "500" not in told.retried


def _wait_for_commands(told: Acknowledgements, began: float) -> None:
    while len(told.decided) < COMMANDS:
        assert time.monotonic() < began + _LOAD_SECONDS_MAX, f"only {len(told.decided)} commands"
        time.sleep(_LOOK_SECONDS)
        told.read()

"""Seeds of the simulator: whatever goes wrong in them, every rule of the auditor holds after each step."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.simulation.faults import Fault
from tests.simulation.mutants.catalogue import CATALOGUE
from tests.simulation.run import Run, run_many, run_seed
from tests.support.depth import by_depth

pytestmark = pytest.mark.simulation
_HISTORIES = by_depth(usual=10, deep=200)
# Behind the thousand of `make test`: three of the product's bugs, and what the simulator itself had wrong.
_FOUND_SOMETHING = (1456, 2018, 5380, 6484, 20488, 20706, 23157, 37353)
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """All seeds, and how long they took, the start of the processes included."""

    runs: Sequence[Run]
    seconds: float


@pytest.fixture(scope="module")
def walk() -> Walk:
    began = time.monotonic()
    runs = tuple(run_many(range(by_depth(usual=1_000, deep=50_000))))
    return Walk(runs=runs, seconds=time.monotonic() - began)


def test_no_seed_breaks_a_rule(walk: Walk, show_at_end: Callable[[str], None]) -> None:
    found = [run.finding for run in walk.runs if run.finding is not None]

    show_at_end(
        f"simulator: {len(walk.runs)} seeds, {walk.seconds:.0f} s,"
        f" {len(walk.runs) / walk.seconds:.0f} seeds/s"
    )
    reports = [finding.report() for finding in found[:3]]
    assert not found, "\n\n".join([f"seeds {[finding.seed for finding in found]}", *reports])


@pytest.mark.parametrize("seed", _FOUND_SOMETHING)
def test_a_seed_that_once_broke_a_rule_does_not_any_more(seed: int) -> None:
    finding = run_seed(seed)

    assert finding is None, finding.report()


def test_every_kind_of_trouble_comes_up(walk: Walk) -> None:
    counts: Counter[Fault] = Counter()
    for run in walk.runs:
        counts.update(run.faults)
    print("".join(f"\n{counts[fault]:8d}  {fault.value}" for fault in Fault))  # noqa: T201

    assert [fault for fault in Fault if not counts[fault]] == []


def test_a_seed_is_the_same_run_whatever_python_hashes_with() -> None:
    first, second = (_told(hash_seed) for hash_seed in ("1", "4242"))

    assert first.count("digest") == _HISTORIES
    assert first == second


def test_a_finding_says_how_to_see_it_again() -> None:
    mutant = CATALOGUE["repeat-not-published-again"]
    finding = next(found for seed in range(20) if (found := run_seed(seed, mutant)) is not None)

    assert (
        f"python -m tests.simulation --seed {finding.seed} --mutant {mutant.name}"
        in finding.report()
    )
    assert run_seed(finding.seed, mutant) == finding
    assert finding.history


def _told(hash_seed: str) -> str:
    """All that some runs print: their histories, and the digests of their every step."""
    ran = subprocess.run(
        [
            sys.executable,
            *("-m", "tests.simulation", "--seed", "0", "--seeds", str(_HISTORIES), "--histories"),
        ],
        env={"PYTHONHASHSEED": hash_seed},
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout

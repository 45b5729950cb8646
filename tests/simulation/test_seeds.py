"""Seeds of the simulator: whatever goes wrong in them, every rule of the auditor holds after each step."""

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.simulation.faults import Fault
from tests.simulation.mutants.catalogue import CATALOGUE
from tests.simulation.run import Run, run_many
from tests.support.depth import by_depth

pytestmark = pytest.mark.simulation
_AROUND = 20


@pytest.fixture(scope="module")
def runs() -> Sequence[Run]:
    return tuple(run_many(range(by_depth(usual=200, deep=50_000))))


def test_no_seed_breaks_a_rule(runs: Sequence[Run]) -> None:
    found = [run.finding.report() for run in runs if run.finding is not None]

    assert not found, "\n\n".join(found[:3])


def test_every_kind_of_trouble_comes_up(runs: Sequence[Run]) -> None:
    counts: Counter[Fault] = Counter()
    for run in runs:
        counts.update(run.faults)
    print("".join(f"\n{counts[fault]:8d}  {fault.value}" for fault in Fault))  # noqa: T201

    assert [fault for fault in Fault if not counts[fault]] == []


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_mutant_is_found_by_a_rule_near_its_seed(name: str) -> None:
    mutant = CATALOGUE[name]
    seeds = range(max(mutant.seed - _AROUND, 0), mutant.seed + _AROUND + 1)

    found = next(
        (run.finding for run in run_many(seeds, mutant=name) if run.finding is not None), None
    )

    assert found is not None, f"{name} was not found at {seeds}"
    assert found.rule in mutant.rules, found.report()
    assert found.committed > 0

"""The mutants: rules taken out of the code, which the simulator must miss."""

import pytest

from schemas import ids
from tests.simulation.audit.rules import Finding
from tests.simulation.mutants import document
from tests.simulation.mutants.catalogue import CATALOGUE
from tests.simulation.mutants.mutation import Mutant, MutantOutdatedError, Replacement
from tests.simulation.run import run_seed
from tests.support.depth import by_depth

pytestmark = pytest.mark.simulation
_AROUND = by_depth(usual=20, deep=1_000)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_mutant_is_found_by_one_of_its_rules_near_its_seed(name: str) -> None:
    mutant = CATALOGUE[name]
    # Its own seed first: usually that is all.
    near = sorted(
        range(max(mutant.seed - _AROUND, 0), mutant.seed + _AROUND + 1),
        key=lambda seed: abs(seed - mutant.seed),
    )

    found = next((seed for seed in near if _is_found(run_seed(seed, mutant), mutant)), None)

    assert found is not None, f"{name} was not found near seed {mutant.seed} by one of its rules"


def _is_found(finding: Finding | None, mutant: Mutant) -> bool:
    """By a rule that is about what it breaks, and not before anything was decided."""
    return finding is not None and finding.rule in mutant.rules and finding.committed > 0


def test_a_mutant_whose_text_is_gone_says_so() -> None:
    gone = Mutant(
        name="gone",
        breaks="nothing",
        replacements=(
            Replacement(target="schemas.ids:is_tenant_id", texts=(("no such line", ""),)),
        ),
        rules=frozenset(),
        seed=0,
    )

    with pytest.raises(MutantOutdatedError, match="no such line"), gone.applied():
        pass
    assert ids.is_tenant_id("acme")


def test_the_page_about_testing_lists_the_mutants() -> None:
    page = document.PAGE.read_text()

    assert document.page_with_table(page) == page, "python -m tests.simulation --document"

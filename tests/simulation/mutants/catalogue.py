"""The mutants that the simulation must find. Each with the rules that may find it, and a seed at which they do."""

from collections.abc import Mapping

from tests.simulation.mutants import (
    assignment_mutants,
    decision_mutants,
    loop_mutants,
    neighbour_mutants,
)
from tests.simulation.mutants.mutation import Mutant

CATALOGUE: Mapping[str, Mutant] = {
    mutant.name: mutant
    for group in (
        loop_mutants.MUTANTS,
        assignment_mutants.MUTANTS,
        decision_mutants.MUTANTS,
        neighbour_mutants.MUTANTS,
    )
    for mutant in group
}

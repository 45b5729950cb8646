"""The mutants that the simulation must find. Each with the rules that may find it, and a seed at which they do."""

from collections.abc import Mapping

from tests.simulation.audit.rules import Rule
from tests.simulation.mutants.mutation import Mutant, Replacement

_MUTANTS = (
    Mutant(
        name="no-seek-after-abort",
        breaks="after an abort the consumer steps back to the batch's first offset",
        replacements=(
            Replacement(
                target="harbor.engine.loop:HarborLoop.turn",
                texts=(("await self._parts.consumer.seek(_first_offsets(remaining))", "pass"),),
            ),
        ),
        rules=frozenset({Rule.OUTCOME_AS_PREDICTED, Rule.COMMAND_ONCE, Rule.ENTRIES_AS_PREDICTED}),
        seed=5,
    ),
    Mutant(
        name="store-before-commit",
        breaks="the local store is written only after the commit",
        replacements=(
            Replacement(
                target="harbor.engine.loop:HarborLoop._written",
                texts=(
                    (
                        "await transactions.begin()",
                        """await self._parts.preparation.store.write(result.writes)
    await transactions.begin()""",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.OUTCOME_AS_PREDICTED, Rule.COMMAND_ONCE, Rule.STATE, Rule.CHAIN}),
        seed=8,
    ),
    Mutant(
        name="repeat-not-published-again",
        breaks="a repeat has its first answer published again: its waiter may be new",
        replacements=(
            Replacement(
                target="harbor.engine.batch:_Deciding.command",
                texts=(
                    (
                        "self.result.republished += 1",
                        "self.result.republished += 1\n            self.result.output.pop()",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.ANSWERED_AGAIN, Rule.OUTCOME_AS_PREDICTED}),
        seed=1,
    ),
)

CATALOGUE: Mapping[str, Mutant] = {mutant.name: mutant for mutant in _MUTANTS}

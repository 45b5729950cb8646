"""Of the assignment protocol: from where a new owner goes on, and with what in its store."""

from tests.simulation.audit.rules import Rule
from tests.simulation.mutants.mutation import Mutant, Replacement

MUTANTS = (
    Mutant(
        name="restore-before-stable-offsets",
        breaks="changelogs are read only once nothing below their ends is undecided",
        replacements=(
            Replacement(
                target="harbor.engine.assignment:KafkaAssigner._frame",
                texts=(("await self._wait_until_stable(place, end=end)", "pass"),),
            ),
        ),
        rules=frozenset(
            {
                Rule.POSITION,
                Rule.STORE,
                Rule.LEDGER_KEY_ONCE,
                Rule.OUTCOME_AS_PREDICTED,
                Rule.ANSWERED_AGAIN,
                Rule.COMMAND_ONCE,
                Rule.STATE,
                Rule.CHAIN,
                Rule.TIP,
            }
        ),
        seed=407,
    ),
    Mutant(
        name="stable-offsets-ignored",
        breaks=("what a predecessor's open transaction holds is waited for, offsets and records"),
        replacements=(
            Replacement(
                target="harbor.adapters.memory.ports:MemoryLogReader.committed_offset",
                texts=(("group.is_pending((COMMANDS, partition))", "False"),),
            ),
            Replacement(
                target="harbor.adapters.memory.ports:MemoryLogReader.stable_offset",
                texts=(("last_stable_offset", "high_watermark"),),
            ),
        ),
        rules=frozenset(
            {
                Rule.POSITION,
                Rule.LEDGER_KEY_ONCE,
                Rule.STORE,
                Rule.OUTCOME_AS_PREDICTED,
                Rule.COMMAND_ONCE,
            }
        ),
        seed=14,
    ),
    Mutant(
        name="group-offset-trusted",
        breaks=("a new owner goes on at the transactions' own position, whatever the group says"),
        replacements=(
            Replacement(
                target="harbor.engine.assignment:KafkaAssigner._fixed",
                texts=(
                    (
                        "return next_offset, frame",
                        "return await self._reader.committed_offset(partition) or 0, frame",
                    ),
                ),
            ),
        ),
        rules=frozenset(
            {
                Rule.POSITION,
                Rule.COMMAND_ONCE,
                Rule.LEDGER_KEY_ONCE,
                Rule.OUTCOME_AS_PREDICTED,
                Rule.ANSWERED_AGAIN,
            }
        ),
        seed=101,
    ),
    Mutant(
        name="store-position-trusted",
        breaks="a new owner goes on at the topic's position, not at its own store's",
        replacements=(
            Replacement(
                target="harbor.engine.assignment:KafkaAssigner.restore",
                texts=(
                    ("next_offset=next_offset,", "next_offset=warmth.standing or next_offset,"),
                ),
            ),
        ),
        rules=frozenset({Rule.POSITION, Rule.OUTCOME_AS_PREDICTED, Rule.ANSWERED_AGAIN}),
        seed=3,
    ),
    Mutant(
        name="store-assumed-current",
        breaks="a store that stands behind the topics is read on",
        replacements=(
            Replacement(
                target="harbor.engine.assignment:KafkaAssigner._restore",
                texts=(
                    (
                        "warmth.is_whole and warmth.standing == next_offset",
                        "warmth.standing is not None",
                    ),
                ),
            ),
        ),
        rules=frozenset(
            {
                Rule.STORE,
                Rule.LEDGER_KEY_ONCE,
                Rule.OUTCOME_AS_PREDICTED,
                Rule.ANSWERED_AGAIN,
                Rule.COMMAND_ONCE,
                Rule.STATE,
                Rule.CHAIN,
            }
        ),
        seed=3,
    ),
    Mutant(
        name="noted-before-restored",
        breaks="a store vouches for what it has read, never for what it is about to read",
        replacements=(
            Replacement(
                target="harbor.engine.assignment:KafkaAssigner.restore",
                texts=(
                    (
                        "await self._restore(frame, next_offset, warmth, states)",
                        """await self._note(frame, next_offset, warmth, {})
    await self._restore(frame, next_offset, warmth, states)""",
                    ),
                ),
            ),
        ),
        rules=frozenset(
            {
                Rule.STORE,
                Rule.LEDGER_KEY_ONCE,
                Rule.OUTCOME_AS_PREDICTED,
                Rule.ANSWERED_AGAIN,
                Rule.COMMAND_ONCE,
                Rule.STATE,
                Rule.CHAIN,
            }
        ),
        seed=3,
    ),
    Mutant(
        name="forgotten-within-the-window",
        breaks="an answer that may still be asked for stays in the store",
        replacements=(
            Replacement(
                target="harbor.engine.forgetting:Forgetting.turn",
                texts=(("before=now - FORGET_AFTER", "before=now"),),
            ),
        ),
        rules=frozenset(
            {Rule.STORE, Rule.OUTCOME_AS_PREDICTED, Rule.ANSWERED_AGAIN, Rule.COMMAND_ONCE}
        ),
        seed=32,
    ),
    Mutant(
        name="nonces-not-restored",
        breaks="a restored store knows the nonces that were spent",
        replacements=(
            Replacement(
                target="harbor.engine.local_state:writes_of",
                texts=(("**nonce_writes_of(outcome), recorded", "recorded"),),
            ),
        ),
        rules=frozenset({Rule.STORE, Rule.OUTCOME_AS_PREDICTED}),
        seed=3,
    ),
    Mutant(
        name="due-index-not-restored",
        breaks="a restored store knows what time brings",
        replacements=(
            Replacement(
                target="harbor.engine.local_state:writes_of",
                texts=(('plain if due is None else {**plain, due: b""}', "plain"),),
            ),
        ),
        rules=frozenset({Rule.STORE, Rule.COMES_TO_REST}),
        seed=7,
    ),
)

"""Of the loop: what one transaction carries, what follows its commit, and who may commit at all."""

from tests.simulation.audit.rules import Rule
from tests.simulation.mutants.mutation import Mutant, Replacement

# How commands that are never decided show.
_COMMANDS_LOST = frozenset(
    {
        Rule.OUTCOME_AS_PREDICTED,
        Rule.COMMAND_ONCE,
        Rule.ENTRIES_AS_PREDICTED,
        Rule.ANSWERED_AGAIN,
    }
)
# Else the loop ends before a command that was passed over is lost.
_HOLES_NOT_NOTICED = Replacement(
    target="harbor.engine.loop:HarborLoop._check_positions",
    texts=(("await self._check_hole(record, expected)", "pass"),),
)
MUTANTS = (
    Mutant(
        name="commit-before-produce",
        breaks=("offsets and positions are committed with what the commands made, never before it"),
        replacements=(
            Replacement(
                target="harbor.engine.loop:HarborLoop._written",
                texts=(
                    (
                        "await transactions.produce(result.output)",
                        (
                            "await transactions.produce([r for r in result.output if r.topic == "
                            '"paybond.positions"])'
                        ),
                    ),
                    (
                        "await self._commit()",
                        """await self._commit()
    await transactions.begin()
    await transactions.produce([r for r in result.output if r.topic != "paybond.positions"])
    await self._commit()""",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.COMMAND_ONCE, Rule.OUTCOME_AS_PREDICTED}),
        seed=2,
    ),
    Mutant(
        name="no-seek-after-abort",
        breaks="after an abort the consumer steps back to the batch's first offset",
        replacements=(
            Replacement(
                target="harbor.engine.loop:HarborLoop.turn",
                texts=(("await self._parts.consumer.seek(_first_offsets(remaining))", "pass"),),
            ),
            _HOLES_NOT_NOTICED,
        ),
        rules=_COMMANDS_LOST,
        seed=8,
    ),
    Mutant(
        name="seek-too-far",
        breaks=("after an abort the consumer steps back to the first offset, not to the last"),
        replacements=(
            Replacement(
                target="harbor.engine.loop:_first_offsets",
                texts=(
                    (
                        "first.setdefault(record.partition, record.offset)",
                        "first[record.partition] = record.offset",
                    ),
                ),
            ),
            _HOLES_NOT_NOTICED,
        ),
        rules=_COMMANDS_LOST,
        seed=14,
    ),
    Mutant(
        name="hole-not-noticed",
        breaks="the next record of a partition is the one at its position, whatever the client read",
        replacements=(
            Replacement(
                target="harbor.adapters.memory.ports:MemoryCommandConsumer.start",
                texts=(
                    (
                        "{p: offset for p, offset in offsets.items() if p in owned}",
                        "{p: self._kafka.partition(COMMANDS, p).high_watermark for p in owned & {*offsets}}",
                    ),
                ),
            ),
            _HOLES_NOT_NOTICED,
        ),
        rules=_COMMANDS_LOST,
        seed=0,
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
        seed=13,
    ),
    Mutant(
        name="store-misses-the-batch",
        breaks="what was committed is in the store before the next batch is decided",
        replacements=(
            Replacement(
                target="harbor.engine.loop:HarborLoop._commit_locally",
                texts=(("**result.writes[partition], **marks[partition]", "**marks[partition]"),),
            ),
        ),
        rules=frozenset(
            {
                Rule.LEDGER_KEY_ONCE,
                Rule.OUTCOME_AS_PREDICTED,
                Rule.COMMAND_ONCE,
                Rule.ANSWERED_AGAIN,
                Rule.STATE,
                Rule.CHAIN,
            }
        ),
        seed=2,
    ),
    Mutant(
        name="signed-before-the-commit",
        breaks="a checkpoint is signed after the commit, over committed entries only",
        replacements=(
            Replacement(
                target="harbor.engine.loop:HarborLoop._written",
                texts=(
                    (
                        "await self._commit()",
                        """self._parts.signer.add(result.tips)
    await self._commit()""",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.CHECKPOINT_ROOT}),
        seed=9,
    ),
    Mutant(
        name="signer-drops-newer-tip",
        breaks=("a tip that comes while another is published waits for the next publication"),
        replacements=(
            Replacement(
                target="harbor.engine.checkpoint_signing:CheckpointSigner.publish_pending",
                texts=(
                    ("if self._pending.get(tenant_id) is tip:", "if tenant_id in self._pending:"),
                ),
            ),
        ),
        rules=frozenset({Rule.CHECKPOINT_LAST}),
        seed=15,
    ),
    Mutant(
        name="new-owner-does-not-sign",
        breaks=("a new owner signs its tenants' tips again: its predecessor may have died before"),
        replacements=(
            Replacement(
                target="harbor.engine.loop:HarborLoop._start_restored",
                texts=(
                    (
                        (
                            "tip for tip in restored.tips if tip.tenant_id not in "
                            "restored.quarantined"
                        ),
                        "()",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.CHECKPOINT_LAST}),
        seed=119,
    ),
    Mutant(
        name="revoked-partition-kept",
        breaks="a partition that was taken away is no longer looked after",
        replacements=(
            Replacement(
                target="harbor.engine.loop:HarborLoop._change_ownership",
                texts=(("self._next.pop(partition, None)", "pass"),),
            ),
        ),
        rules=frozenset({Rule.STORE}),
        seed=2,
    ),
    Mutant(
        name="suspects-off",
        breaks=("a command that crashed its process twice is decided alone, and at last given up"),
        replacements=(
            Replacement(
                target="harbor.engine.suspects:Suspects.load",
                texts=(("if _MARK in found:", "if found is None:"),),
            ),
        ),
        rules=frozenset({Rule.COMES_TO_REST}),
        seed=68,
    ),
    Mutant(
        name="fence-dropped",
        breaks=("one transactional id per slot, and a commit is checked by the group's generation"),
        replacements=(
            Replacement(
                target="harbor.adapters.memory.ports:MemoryTransactions.initialize",
                texts=(
                    (
                        "self._kafka.init_transactions(self._transactional_id)",
                        (
                            ""
                            'self._kafka.init_transactions(f"{self._transactional_id}/{self._process}")'
                        ),
                    ),
                ),
            ),
            Replacement(
                target="harbor.adapters.memory.group:ConsumerGroup.check",
                texts=(
                    ("epoch.generation != self.generation", "False"),
                    ("epoch.member not in self._members", "False"),
                ),
            ),
        ),
        rules=frozenset({Rule.POSITION, Rule.LEDGER_KEY_ONCE, Rule.COMMAND_ONCE}),
        seed=26,
    ),
    Mutant(
        name="stale-member-commits",
        breaks=(
            "a commit is checked by the group's generation: others may have the partitions by now"
        ),
        replacements=(
            Replacement(
                target="harbor.adapters.memory.group:ConsumerGroup.check",
                texts=(
                    ("epoch.generation != self.generation", "False"),
                    ("epoch.member not in self._members", "False"),
                ),
            ),
        ),
        rules=frozenset({Rule.POSITION, Rule.LEDGER_KEY_ONCE, Rule.COMMAND_ONCE}),
        seed=38,
    ),
)

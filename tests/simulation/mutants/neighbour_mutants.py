"""Of those around Harbor: gateway, rail worker, tick, and the indexer with its tables."""

from tests.simulation.audit.rules import Rule
from tests.simulation.mutants.mutation import Mutant, Replacement

MUTANTS = (
    Mutant(
        name="body-not-hashed",
        breaks="a key stands for one body: the input hash is over method, path and body",
        replacements=(
            Replacement(
                target="gateway.commands.identity:identity_of",
                texts=(
                    ("input_hash_of(method, path, raw_body)", 'input_hash_of(method, path, b"")'),
                ),
            ),
        ),
        rules=frozenset({Rule.COMMAND_SAYS}),
        seed=2,
    ),
    Mutant(
        name="proof-not-passed-on",
        breaks="a command names the nonce of the proof that it was sent with",
        replacements=(
            Replacement(
                target="gateway.commands.submit:CommandPath._command",
                texts=(("None if proof is None else _spent(proof)", "None"),),
            ),
        ),
        rules=frozenset({Rule.COMMAND_SAYS}),
        seed=2,
    ),
    Mutant(
        name="outcome-to-anybody",
        breaks="an outcome goes to those who wait for that command of that tenant",
        replacements=(
            Replacement(
                target="gateway.commands.outcome_waiter:OutcomeWaiters.deliver",
                texts=(
                    (
                        "in tuple(waiters)",
                        "in [one for some in self._waiters.values() for one in some]",
                    ),
                ),
            ),
            Replacement(
                target="gateway.commands.attempt:Attempt.is_answered_by",
                texts=(("not other.body.startswith(self.body)", "outcome is None"),),
            ),
        ),
        rules=frozenset({Rule.TENANT, Rule.ACKNOWLEDGED}),
        seed=5,
    ),
    Mutant(
        name="outcome-of-another-body",
        breaks=("who asked with one body never gets the answer to another under the same key"),
        replacements=(
            Replacement(
                target="gateway.commands.attempt:Attempt.is_answered_by",
                texts=(("not other.body.startswith(self.body)", "outcome is None"),),
            ),
        ),
        rules=frozenset({Rule.ACKNOWLEDGED}),
        seed=401,
    ),
    Mutant(
        name="rail-commits-past-unanswered",
        breaks="the worker's offsets stop at the first effect without an answer",
        replacements=(
            Replacement(
                target="harbor.rails.worker:_Partition.committable",
                texts=(("min(self.waiting, default=self.next_offset)", "self.next_offset"),),
            ),
        ),
        rules=frozenset({Rule.RAIL_POSITION}),
        seed=4,
    ),
    Mutant(
        name="rail-ignores-states",
        breaks="an effect that is over is not asked again",
        replacements=(
            Replacement(
                target="harbor.rails.worker:RailWorker._is_over",
                texts=(("return self._is_shown(effect) and", "return False and"),),
            ),
        ),
        rules=frozenset({Rule.RAIL_ASKED}),
        seed=18,
    ),
    Mutant(
        name="hidden-effect-is-over",
        breaks="an effect whose own state is not shown yet is not over",
        replacements=(
            Replacement(
                target="harbor.rails.worker:RailWorker._is_over",
                texts=(("return self._is_shown(effect) and present", "return present"),),
            ),
        ),
        rules=frozenset({Rule.RAIL_POSITION}),
        seed=93,
    ),
    Mutant(
        name="hidden-effect-is-asked",
        breaks="an effect is asked only when the states show it outstanding",
        replacements=(
            Replacement(
                target="harbor.rails.worker:RailWorker._holds_back",
                texts=(("if not self._is_shown(effect):", "if False:"),),
            ),
        ),
        rules=frozenset({Rule.RAIL_ASKED}),
        seed=51,
    ),
    Mutant(
        name="rail-looks-past-its-tenant",
        breaks="which effect is outstanding is asked by tenant and intent",
        replacements=(
            Replacement(
                target="harbor.rails.outstanding_effects:OutstandingEffects.effect_of",
                texts=(
                    (
                        "next((s[intent] for s in self._effects.values() if intent in s), None)",
                        (
                            "next((e for s in self._effects.values() for (_, i), e in s.items() "
                            "if i == intent_id), None)"
                        ),
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.RAIL_POSITION, Rule.RAIL_ASKED}),
        seed=17,
    ),
    Mutant(
        name="rail-answer-not-sent",
        breaks="what the rail answered becomes a command",
        replacements=(
            Replacement(
                target="harbor.rails.worker:RailWorker._execute",
                texts=(("await self._commands.send(answer_command(effect, answer))", "pass"),),
            ),
        ),
        rules=frozenset({Rule.RAIL_POSITION, Rule.COMES_TO_REST}),
        seed=2,
    ),
    Mutant(
        name="tick-off",
        breaks="what time brings is found and asked for",
        replacements=(
            Replacement(
                target="harbor.recovery.tick:RecoveryTick.turn",
                texts=(("sorted(self._owned())", "sorted(self._owned())[:0]"),),
            ),
        ),
        rules=frozenset({Rule.COMES_TO_REST}),
        seed=14,
    ),
    Mutant(
        name="due-index-not-kept",
        breaks="the index by due time moves with the state",
        replacements=(
            Replacement(
                target="harbor.engine.batch_result:ResultBuilder.index_due",
                texts=(('writes[new] = b""', "pass"),),
            ),
        ),
        rules=frozenset({Rule.STORE, Rule.COMES_TO_REST}),
        seed=3,
    ),
    Mutant(
        name="checkpoint-in-another-transaction",
        breaks="rows and their checkpoint are one transaction",
        replacements=(
            Replacement(
                target="streams.views.ledger_view:LedgerView._write",
                texts=(
                    (
                        (
                            "result = await self._tables.store_entries([one.write for one in "
                            "prepared])"
                        ),
                        """moves = [one.write.advance for one in prepared]
        await self._tables.store_bodies(moves, [])
        result = await self._tables.store_entries(
            [
                replace(one.write, advance=Advance(before=move.after, after=move.after))
                for one, move in zip(prepared, moves, strict=True)
            ]
        )""",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.TABLES, Rule.COMES_TO_REST}),
        seed=21,
    ),
    Mutant(
        name="counted-below-the-checkpoint",
        breaks="counters move only with a new row, above the intent's last entry",
        replacements=(
            Replacement(
                target="schemas.tables.fold:TableFold._fold_intent",
                texts=(
                    (
                        "        return\n",
                        """\
        self._changes.extend(totals_changes(None, before, seq=entry.seq))
        return
""",
                    ),
                ),
            ),
            Replacement(
                target="streams.views.memory:MemoryViews.store_entries",
                texts=(("if change.seq in inserted:", "if change.seq:"),),
            ),
        ),
        rules=frozenset({Rule.TABLES}),
        seed=65,
    ),
    Mutant(
        name="entry-folded-again",
        breaks="an entry that the state has already is not folded again",
        replacements=(
            Replacement(
                target="schemas.tables.fold:TableFold._fold_intent",
                texts=(("entry.seq <= before.last_seq", "entry.seq <= 0"),),
            ),
        ),
        rules=frozenset({Rule.TABLES}),
        seed=65,
    ),
    Mutant(
        name="reread-as-new",
        breaks="what lies below the checkpoint is read again, not appended",
        replacements=(
            Replacement(
                target="streams.views.ledger_view:_check",
                texts=(("record.offset < part.position.next_offset", "record.offset < 0"),),
            ),
        ),
        rules=frozenset({Rule.TABLES}),
        seed=97,
    ),
    Mutant(
        name="counted-up-only",
        breaks="a counter that an intent leaves goes down",
        replacements=(
            Replacement(
                target="schemas.tables.rows:totals_changes",
                texts=(
                    (
                        "return (*removed, _totals(after, seq=seq, sign=1))",
                        "return (_totals(after, seq=seq, sign=1),)",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.TABLES}),
        seed=2,
    ),
    Mutant(
        name="older-answer-wins",
        breaks="the newest answer of an operation is the one that is shown",
        replacements=(
            Replacement(
                target="streams.views.operations_view:replaces",
                texts=(
                    (
                        "return newer.decided_at > older.decided_at",
                        "return newer.decided_at < older.decided_at",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.TABLES}),
        seed=2,
    ),
    Mutant(
        name="fence-of-the-tables-dropped",
        breaks="who moves a checkpoint proves that it still owns it",
        replacements=(
            Replacement(
                target="streams.runtime.memory.stores:MemoryCheckpoints.advance",
                texts=(
                    (
                        """(found.epoch, found.next_offset) != (
            before.epoch,
            before.next_offset,
        )""",
                        "False",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.CHECKPOINT_GROWS, Rule.TABLES, Rule.COMES_TO_REST}),
        seed=100,
    ),
    Mutant(
        name="projection-not-forgotten",
        breaks="states of a partition that was another's meanwhile are loaded anew",
        replacements=(
            Replacement(
                target="streams.runtime.batch_loop:BatchLoop.assigned",
                texts=(("serving[at].forget([at])", "pass"),),
            ),
            Replacement(
                target="streams.runtime.batch_loop:BatchLoop.revoked",
                texts=(("owned.projection.forget([at])", "pass"),),
            ),
        ),
        rules=frozenset({Rule.TABLES}),
        seed=97,
    ),
)

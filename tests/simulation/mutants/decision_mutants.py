"""Of the decision: look-ups, what a command writes, chain and tree, money."""

from tests.simulation.audit.rules import Rule
from tests.simulation.mutants.mutation import Mutant, Replacement

MUTANTS = (
    Mutant(
        name="outcome-without-entry",
        breaks="an outcome comes in the transaction of its entries",
        replacements=(
            Replacement(
                target="harbor.engine.batch:_Deciding._keep",
                texts=(
                    (
                        "self.result.output.extend(draft.records)",
                        """self.result.output.extend(
            record for record in draft.records if not record.topic.startswith("paybond.ledger.")
        )""",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.COMMAND_ONCE}),
        seed=2,
    ),
    Mutant(
        name="look-up-without-overlay",
        breaks="a repeat in the same batch finds the answer that was just made",
        replacements=(
            Replacement(
                target="harbor.engine.batch_lookup:View.put",
                texts=(
                    (
                        "self._values[partition, key] = value",
                        """if key[0] != OUTCOMES:
        self._values[partition, key] = value""",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.ANSWERED_AGAIN, Rule.COMMAND_ONCE, Rule.OUTCOME_AS_PREDICTED}),
        seed=5,
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
                        """self.result.republished += 1
            self.result.output.pop()""",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.ANSWERED_AGAIN, Rule.OUTCOME_AS_PREDICTED}),
        seed=2,
    ),
    Mutant(
        name="refusal-decided-again",
        breaks=("a refusal answers a repeat with the same proof; a fresh one is decided anew"),
        replacements=(
            Replacement(
                target="harbor.domain.idempotency:_is_decided_anew",
                texts=(
                    (
                        (
                            "return (stored.spent.key_id, stored.spent.nonce) != "
                            "(command.spent.key_id, command.spent.nonce)"
                        ),
                        "return True",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.ANSWERED_AGAIN, Rule.COMMAND_ONCE, Rule.OUTCOME_AS_PREDICTED}),
        seed=8,
    ),
    Mutant(
        name="mismatch-over-first-answer",
        breaks="a reused key is refused beside the first answer, never over it",
        replacements=(
            Replacement(
                target="harbor.engine.batch_output:outcome_record_key",
                texts=(
                    (
                        "is_mismatch or outcome.status is OutcomeStatus.RETRY",
                        "outcome.status is OutcomeStatus.RETRY",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.OUTCOME_AS_PREDICTED, Rule.ANSWERED_AGAIN}),
        seed=20,
    ),
    Mutant(
        name="nonce-not-spent",
        breaks="a proof's nonce is spent by the command that was decided with it",
        replacements=(
            Replacement(
                target="harbor.engine.batch:_Deciding._publish",
                texts=(("self._view.put(partition, key, spender)", "pass"),),
            ),
        ),
        rules=frozenset({Rule.STORE, Rule.OUTCOME_AS_PREDICTED, Rule.COMMAND_ONCE}),
        seed=2,
    ),
    Mutant(
        name="nonce-not-looked-up",
        breaks="a nonce that another command has spent refuses this one",
        replacements=(
            Replacement(
                target="harbor.domain.idempotency:look_up",
                texts=(("nonce_owner is not None and nonce_owner != command.command_id", "False"),),
            ),
        ),
        rules=frozenset({Rule.OUTCOME_AS_PREDICTED, Rule.COMMAND_ONCE}),
        seed=3,
    ),
    Mutant(
        name="tenants-share-nonces",
        breaks="a nonce is spent for its tenant alone",
        replacements=(
            Replacement(
                target="harbor.engine.batch_lookup:nonce_key", texts=(("{tenant_id}/", ""),)
            ),
        ),
        rules=frozenset({Rule.OUTCOME_AS_PREDICTED, Rule.COMMAND_ONCE, Rule.ANSWERED_AGAIN}),
        seed=51,
    ),
    Mutant(
        name="tenants-share-pins",
        breaks="a party's key is pinned for its tenant alone",
        replacements=(
            Replacement(target="schemas.topics:party_key", texts=(("{tenant_id}/party", "party"),)),
        ),
        rules=frozenset({Rule.STATE, Rule.COMMAND_ONCE}),
        seed=2,
    ),
    Mutant(
        name="pins-not-kept",
        breaks="a party's key is pinned with the entry that first shows it",
        replacements=(
            Replacement(
                target="harbor.engine.batch:_Deciding._keep",
                texts=(("for pin in draft.pins:", "for pin in draft.pins[:0]:"),),
            ),
        ),
        rules=frozenset({Rule.STATE}),
        seed=2,
    ),
    Mutant(
        name="tip-not-extended",
        breaks="each touched tenant has one tip in the transaction",
        replacements=(
            Replacement(
                target="harbor.engine.batch_result:ResultBuilder.extend_ledger",
                texts=(
                    ("view.put(partition, (TIPS, tip_key(TenantId(tip.tenant_id))), tip)", "pass"),
                ),
            ),
        ),
        rules=frozenset({Rule.TIP}),
        seed=2,
    ),
    Mutant(
        name="previous-hash-wrong",
        breaks="each entry holds the hash of the one before it",
        replacements=(
            Replacement(
                target="harbor.engine.batch_output:Chain.draft",
                texts=(("prev_hash = leaf_hash(value)", "pass"),),
            ),
            Replacement(
                target="harbor.engine.batch_output:Chain.append",
                texts=(("assert draft.entry.prev_hash == self.last_leaf_hash", "pass"),),
            ),
        ),
        rules=frozenset({Rule.CHAIN}),
        seed=5,
    ),
    Mutant(
        name="frontier-merged-wrongly",
        breaks="subtrees are joined from left to right (RFC 6962)",
        replacements=(
            Replacement(
                target="schemas.ledger.merkle_tree:Appender.append",
                texts=(
                    (
                        "hash_children(self._hashes.pop(), completed[-1])",
                        "hash_children(completed[-1], self._hashes.pop())",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.TIP}),
        seed=2,
    ),
    Mutant(
        name="time-goes-back",
        breaks=(
            "an entry is never dated before the one before it, whatever the broker's clock does"
        ),
        replacements=(
            Replacement(
                target="harbor.engine.batch_output:Chain.draft",
                texts=(("now if self.recorded_at is None else max(now, self.recorded_at)", "now"),),
            ),
        ),
        rules=frozenset({Rule.ENTRIES_AS_PREDICTED}),
        seed=4,
    ),
    Mutant(
        name="second-request-outstanding",
        breaks="the rail is asked for one thing at a time",
        replacements=(
            Replacement(
                target="harbor.domain.intent:confirm",
                texts=(("return settlement_in_progress(intent)", "pass"),),
            ),
            Replacement(
                target="schemas.intent_fold:_requested",
                texts=(("if hold.is_outstanding:", "if hold.is_outstanding and not hold:"),),
            ),
        ),
        rules=frozenset({Rule.COMMAND_ONCE}),
        seed=8,
    ),
    Mutant(
        name="settled-not-told",
        breaks="the rail's answer is the answer of the command that asked",
        replacements=(
            Replacement(
                target="harbor.engine.batch:_Deciding._keep",
                texts=(("self._publish(partition, draft.settled)", "pass"),),
            ),
        ),
        rules=frozenset({Rule.OUTCOME_AS_PREDICTED}),
        seed=2,
    ),
    Mutant(
        name="more-released-than-held",
        breaks="what is released was held",
        replacements=(
            Replacement(
                target="harbor.domain.settlement:_final_event",
                texts=(
                    (
                        "return Released(amount_minor=held,",
                        "return Released(amount_minor=held + 1,",
                    ),
                ),
            ),
            Replacement(
                target="schemas.intent_fold:evolve",
                texts=(("if not after.is_conserved:", "if after is None:"),),
            ),
        ),
        rules=frozenset({Rule.ENTRIES_AS_PREDICTED, Rule.CONSERVATION}),
        seed=8,
    ),
    Mutant(
        name="effect-reissued-too-early",
        breaks=("an effect is issued again only when it has waited long enough for an answer"),
        replacements=(
            Replacement(
                target="harbor.domain.expiry:reissue",
                texts=(("due.at > facts.now", "due is None"),),
            ),
        ),
        rules=frozenset({Rule.OUTCOME_AS_PREDICTED, Rule.EFFECT}),
        seed=21,
    ),
    Mutant(
        name="effect-reissued-under-new-id",
        breaks="an effect is issued again under the id it had",
        replacements=(
            Replacement(
                target="harbor.domain.expiry:reissue",
                texts=(
                    (
                        "    return Decision(reissued=effect_of(",
                        """\
    again = effect_of(intent, facts.tenant, issue=min(body.issue, due.issue))
    import dataclasses
    return Decision(reissued=dataclasses.replace(again, effect_id=f"{command.command_id}-1"))
    return Decision(reissued=effect_of(""",
                    ),
                ),
            ),
        ),
        rules=frozenset({Rule.EFFECT}),
        seed=14,
    ),
    Mutant(
        name="forged-command-decided",
        breaks="a command is decided only if its issuer sealed it",
        replacements=(
            Replacement(
                target="harbor.engine.intake:_misfit",
                texts=(("return RejectReason.ISSUER_MAC_WRONG", "return None"),),
            ),
        ),
        rules=frozenset(
            {Rule.OUTCOME_AS_PREDICTED, Rule.ANSWERED_AGAIN, Rule.COMMAND_ONCE, Rule.DEAD_LETTER}
        ),
        seed=17,
    ),
    Mutant(
        name="misplaced-command-decided",
        breaks="a command in another tenant's partition is a dead letter",
        replacements=(
            Replacement(
                target="harbor.engine.intake:_misfit",
                texts=(
                    ("partition_of(command.tenant_id, partitions) != record.partition", "False"),
                ),
            ),
        ),
        rules=frozenset(
            {
                Rule.OUTCOME_AS_PREDICTED,
                Rule.ANSWERED_AGAIN,
                Rule.COMMAND_ONCE,
                Rule.LEDGER_KEY_ONCE,
                Rule.DEAD_LETTER,
            }
        ),
        seed=26,
    ),
    Mutant(
        name="dead-letter-dropped",
        breaks="what is no command is kept as a dead letter",
        replacements=(
            Replacement(
                target="harbor.engine.batch_result:ResultBuilder.reject",
                texts=(("self.output.append(letter)", "pass"),),
            ),
        ),
        rules=frozenset({Rule.DEAD_LETTER}),
        seed=5,
    ),
)

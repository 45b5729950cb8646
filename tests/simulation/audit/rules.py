"""The rules that a run is held to. Their names are stable: a mutant counts as found only by one of them."""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """What must hold after each step or, where it says so, once everything has come to rest."""

    COMMAND_ONCE = "every command has its entries once, and no entry is without a command"
    OUTCOME_AS_PREDICTED = "each decided command has the outcome that the model predicts"
    ENTRIES_AS_PREDICTED = "each decided command has the entries that the model predicts"
    ANSWERED_AGAIN = "a repeat has its first answer published again, byte for byte"
    CONSERVATION = "placed = held + released + refunded + custody, per intent and currency"
    STATE = "states are those of the entries"
    BODIES = "bodies are there with the entries that hold their digests"
    CHAIN = "entries are dense, and each holds the hash of the one before"
    LEDGER_KEY_ONCE = "a ledger key is never published twice"
    TIP = "the tip is the ledger's end, with its root"
    CHECKPOINT_SIGNED = "a checkpoint is signed by the ledger's key"
    CHECKPOINT_ROOT = (
        "a checkpoint has the root of the committed entries, and is never ahead of them"
    )
    CHECKPOINT_SAME = "no two checkpoints of one size differ"
    CHECKPOINT_LAST = "at rest the last tip is signed"
    POSITION = "positions are the group's committed offsets, and only grow"
    EFFECT = "effects are those that the entries ask for, under ids that never change"
    RAIL_ASKED = "the rail is asked for what the states that were read have outstanding, and for nothing else"
    RAIL_POSITION = (
        "the rail worker's offsets never pass an effect that is outstanding and has no answer"
    )
    ONE_HOLD = "the rail holds an intent's money once"
    RAIL_BOOK = "at rest the rail's book is the ledger"
    DEAD_LETTER = "what is no command is a dead letter, and nothing else is"
    TENANT = "no tenant sees or touches another's"
    COMMAND_SAYS = "a gateway's command says what its client asked: tenant, intent, body, proof"
    ACKNOWLEDGED = "what a client was answered is what was committed"
    ALL_ANSWERED = "at rest everything that was sent has an answer"
    STORE = "at rest the local store is what the topics say"
    CHECKPOINT_GROWS = "the tables' checkpoints only go up, but where an operator lowers them"
    TABLES = "at rest the tables are the fold of the ledger"
    COMES_TO_REST = "a run comes to rest"
    NO_DEFECT = "no process ends by an error that no fault explains"


class ViolationError(Exception):
    """A rule does not hold."""

    def __init__(self, rule: Rule, detail: str) -> None:
        super().__init__(f"{rule.name}: {rule.value}: {detail}")
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a run found. `committed` = how many commands had been decided by then."""

    seed: int
    mutant: str | None
    rule: Rule
    detail: str
    committed: int
    steps: int
    history: tuple[str, ...]

    def report(self) -> str:
        again = f"python -m tests.simulation --seed {self.seed}"
        if self.mutant is not None:
            again += f" --mutant {self.mutant}"
        lines = [
            f"{self.rule.name} ({self.rule.value})",
            f"  {self.detail}",
            f"  after {self.committed} commands and {self.steps} steps; again: {again}",
            *(f"    {line}" for line in self.history),
        ]
        return "\n".join(lines)

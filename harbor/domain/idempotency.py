"""Has this command been decided before? The rule over the stored outcome and the owner of the nonce.

no outcome, or one of status `retry`   → decide, unless the nonce was spent by another command
another input hash                     → mismatch: refused beside the first answer, never over it
a refusal that depends on state        → the same answer to the same nonce; a fresh proof is decided anew
anything else                          → the stored outcome, published again (its waiter may be new)
"""

from dataclasses import dataclass
from typing import TypeAlias

from schemas.messages.commands import Command
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.refusals import Keeping, rule_of


@dataclass(frozen=True, slots=True)
class Replay:
    """Publish this outcome again."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key was used with another body."""


@dataclass(frozen=True, slots=True)
class NonceReplayed:
    """The proof's nonce was spent by another command."""


@dataclass(frozen=True, slots=True)
class DecideAnew:
    """Nothing stands in the way."""


Lookup: TypeAlias = Replay | Mismatch | NonceReplayed | DecideAnew


def look_up(stored: Outcome | None, command: Command, nonce_owner: str | None) -> Lookup:
    """`nonce_owner` = the command that spent this command's nonce before, if any."""
    if stored is not None and stored.status is not OutcomeStatus.RETRY:
        if stored.input_hash != command.input_hash:
            return Mismatch()
        if not _is_decided_anew(stored, command):
            return Replay(stored)
    if nonce_owner is not None and nonce_owner != command.command_id:
        return NonceReplayed()
    return DecideAnew()


def _is_decided_anew(stored: Outcome, command: Command) -> bool:
    """Whether a kept refusal depends on a state that may have changed, and the proof is a fresh one."""
    if stored.status is not OutcomeStatus.REFUSED or stored.refusal is None:
        return False
    if rule_of(stored.refusal.code).keeping is not Keeping.SAME_NONCE:
        return False
    # Without a proof (operator routes) nothing tells a repeat from a new wish.
    if stored.spent is None or command.spent is None:
        return True
    return (stored.spent.key_id, stored.spent.nonce) != (command.spent.key_id, command.spent.nonce)

"""One request among those that share a command id: the same key, and perhaps the same body, at different times."""

import hashlib
from dataclasses import dataclass

from schemas.messages.commands import Command
from schemas.messages.outcomes import Outcome, Refusal
from schemas.messages.refusals import REFUSALS, Keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """`body` is the input hash, `sender` a hash of the proof's nonce or else of the request id, None for nobody's.

    Both may be cut to their first bytes where they travel in an operation id.
    """

    body: bytes
    sender: bytes | None

    def is_answered_by(self, outcome: Outcome) -> bool:
        """Whether Harbor would say this to it too, and not only to another attempt that came before or beside it."""
        other = attempt_of(outcome)
        # Another body under the same key: its refusal lies under its own record key.
        if not other.body.startswith(self.body):
            return False
        # What was done, or is malformed whoever asks, is said to every repeat; any other refusal is decided anew for
        # one with a fresh proof, or without any (`harbor.domain.idempotency`).
        if outcome.refusal is None or _is_kept_always(outcome.refusal):
            return True
        # A command that could not be read is answered without a sender.
        if self.sender is None or other.sender is None:
            return True
        return other.sender.startswith(self.sender)


def attempt_of(said: Command | Outcome) -> Attempt:
    """Of a command, or the one that an outcome was decided for."""
    if said.spent is not None:
        sender = _hash("nonce", said.spent.key_id, said.spent.nonce)
    elif said.request_id is not None:
        sender = _hash("request", said.request_id)
    else:
        sender = None
    return Attempt(body=said.input_hash, sender=sender)


def _hash(*parts: str) -> bytes:
    whole = b"".join(len(part).to_bytes(4, "big") + part.encode() for part in parts)
    return hashlib.sha256(whole).digest()


def _is_kept_always(refusal: Refusal) -> bool:
    """A code that only a newer Harbor knows is taken for one: its answer must not be lost."""
    rule = REFUSALS.get(refusal.code)
    return rule is None or rule.keeping is Keeping.ALWAYS

"""Who waits for which command's outcome.

Every gateway reads all outcomes, so most records are nobody's here: a record is decoded only if its key names a
command that somebody waits for.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.commands.ports import Timer
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import SpentNonce
from schemas.messages.outcomes import Outcome, OutcomeStatus, Refusal
from schemas.messages.refusals import REFUSALS, Keeping


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request among those that share a command id: same key, and perhaps the same body."""

    input_hash: bytes
    spent: SpentNonce | None
    request_id: str | None

    def is_answered_by(self, outcome: Outcome) -> bool:
        """Whether Harbor would say this to it too, and not only to another attempt that came before or beside it."""
        # Another body under the same key: its refusal lies under its own record key.
        if outcome.input_hash != self.input_hash:
            return False
        # What was done, or is malformed whoever asks, is said to every repeat; any other refusal is decided anew for
        # one with a fresh proof, or without any (`harbor.domain.idempotency`).
        if outcome.refusal is None or _is_kept_always(outcome.refusal):
            return True
        if self.spent is not None and outcome.spent is not None:
            mine = self.spent.key_id, self.spent.nonce
            return (outcome.spent.key_id, outcome.spent.nonce) == mine
        # A command that could not be read is answered without either.
        return outcome.request_id in {None, self.request_id}


def _is_kept_always(refusal: Refusal) -> bool:
    """A code that only a newer Harbor knows is taken for one: its answer must not be lost."""
    rule = REFUSALS.get(refusal.code)
    return rule is None or rule.keeping is Keeping.ALWAYS


class Waiter:
    """One request's wait. `accepted` outcomes are kept, but the wait goes on for the rail's answer."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def deliver(self, outcome: Outcome) -> None:
        if not self._attempt.is_answered_by(outcome):
            return
        if not self._decided.done():
            self._decided.set_result(outcome)
        if outcome.status is not OutcomeStatus.ACCEPTED and not self._ended.done():
            self._ended.set_result(outcome)

    async def outcome(
        self, timer: Timer, *, decision_seconds: float, rail_seconds: float
    ) -> Outcome | None:
        """The outcome, waiting `rail_seconds` more while a rail works; None = not known in time."""
        decided = await timer.wait(self._decided, decision_seconds)
        if decided is None or decided.status is not OutcomeStatus.ACCEPTED:
            return decided
        return await timer.wait(self._ended, rail_seconds) or decided


class OutcomeWaiters:
    """All waits of this process, by (tenant, command id)."""

    def __init__(self) -> None:
        self._waiters: dict[bytes, list[Waiter]] = {}

    @contextmanager
    def waiting(self, *, tenant_id: str, command_id: str, attempt: Attempt) -> Iterator[Waiter]:
        """Register before the command is produced: its outcome can be faster than `publish` returns."""
        key = f"{tenant_id}/{command_id}".encode()
        waiter = Waiter(attempt)
        self._waiters.setdefault(key, []).append(waiter)
        try:
            yield waiter
        finally:
            waiters = self._waiters[key]
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[key]

    def deliver(self, *, key: bytes | None, value: bytes | None) -> bool:
        """A record of `paybond.outcomes`; whether somebody waited for it. Raises CodecError."""
        if key is None or value is None:
            return False
        # `<tenant>/<command>` or, for a reused key, `<tenant>/<command>/<input hash>`.
        waiters = self._waiters.get(b"/".join(key.split(b"/", 2)[:2]))
        if not waiters:
            return False
        outcome = decode_as(Outcome, value)
        for waiter in tuple(waiters):
            waiter.deliver(outcome)
        return True

    @property
    def count(self) -> int:
        return sum(map(len, self._waiters.values()))

"""Who waits for which command's outcome.

Every gateway reads all outcomes, so most records are nobody's here: a record is decoded only if its key names a
command that somebody waits for.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.commands.attempt import Attempt
from gateway.commands.ports import Timer
from schemas.messages.avro_codec import decode_as
from schemas.messages.outcomes import Outcome, OutcomeStatus


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

"""Old answers leave the local store, so that a slot's disk holds two days of them and not its whole life.

Look-ups go by the idempotency window (`is_kept`), so nothing that is decided depends on when this runs. The margin
over the window is for clocks: after a broker's clock stepped back, every answer that may be asked for is still there.
"""

from collections.abc import Iterable
from contextlib import aclosing
from datetime import datetime, timedelta

from harbor.engine.batch_lookup import IDEMPOTENCY_WINDOW, StoreKey, nonce_writes_of
from harbor.engine.ports import StateStore
from schemas.instants import from_micros, to_micros
from schemas.messages.avro_codec import decode_as
from schemas.messages.outcomes import Outcome
from schemas.topics import OUTCOMES

# Of the store alone: (when it was recorded, its key) of each stored outcome, oldest first.
RECORDED = "recorded"
FORGET_AFTER = 2 * IDEMPOTENCY_WINDOW
_EVERY = timedelta(hours=1)
# One write's worth; the rest is taken at the next turn.
ROWS_MAX = 2_000
_INSTANT_BYTES = 8


def recorded_key_of(outcome: Outcome, key: bytes) -> StoreKey:
    """The index row of the outcome that lies under `key`."""
    return RECORDED, to_micros(outcome.recorded_at).to_bytes(_INSTANT_BYTES, "big") + key


class Forgetting:
    """One per process; every hour it goes through each partition that it owns."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._due: dict[int, datetime] = {}

    async def turn(self, partitions: Iterable[int], *, now: datetime) -> None:
        """Those that are due, at most `ROWS_MAX` rows of each. Raises what the store raises."""
        for partition in partitions:
            if now >= self._due.setdefault(partition, now + _EVERY):
                taken = await self._forget(partition, before=now - FORGET_AFTER)
                self._due[partition] = now if taken == ROWS_MAX else now + _EVERY

    async def _forget(self, partition: int, *, before: datetime) -> int:
        old: dict[bytes, bytes] = {}
        async with aclosing(self._store.scan(partition, RECORDED, b"")) as rows:
            async for row, _ in rows:
                if _instant_of(row) >= before or len(old) == ROWS_MAX:
                    break
                old[row] = row[_INSTANT_BYTES:]
        if not old:
            return 0
        outcomes = await self._outcomes(partition, old.values(), before=before)
        spenders = {
            key: by for one in outcomes.values() for key, by in nonce_writes_of(one).items()
        }
        spent = await self._store.get_many(partition, spenders)
        writes: dict[StoreKey, bytes | None] = {(RECORDED, row): None for row in old}
        writes |= dict.fromkeys((OUTCOMES, key) for key in outcomes)
        # A younger refusal may have spent the nonce once more.
        writes |= dict.fromkeys(key for key, by in spent.items() if by == spenders[key])
        await self._store.write({partition: writes})
        return len(old)

    async def _outcomes(
        self, partition: int, keys: Iterable[bytes], *, before: datetime
    ) -> dict[bytes, Outcome]:
        """Those that are as old as their rows: a key may be used anew after the window, and has a later row then."""
        found = await self._store.get_many(partition, [(OUTCOMES, key) for key in keys])
        outcomes = {key: decode_as(Outcome, value) for (_, key), value in found.items()}
        return {key: one for key, one in outcomes.items() if one.recorded_at < before}


def _instant_of(row: bytes) -> datetime:
    return from_micros(int.from_bytes(row[:_INSTANT_BYTES], "big"))

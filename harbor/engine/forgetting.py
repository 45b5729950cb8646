"""Old answers leave the local store, so that a slot's disk holds two days of them and not its whole life.

Look-ups go by the idempotency window (`is_kept`), so nothing that is decided depends on when this runs. The margin
over the window is for clocks: after a broker's clock stepped back, every answer that may be asked for is still there.
"""

from collections.abc import Iterable
from contextlib import aclosing
from datetime import datetime, timedelta

from harbor.engine.batch_lookup import IDEMPOTENCY_WINDOW, NONCE, StoreKey, nonce_writes_of
from harbor.engine.ports import StateStore
from schemas.instants import from_micros, to_micros
from schemas.messages.avro_codec import decode_as
from schemas.messages.outcomes import Outcome
from schemas.topics import OUTCOMES

# Of the store alone: (when it was recorded, its key) of each stored outcome, oldest first → the nonce that it spent.
# One that was decided anew has taken the place of another, whose nonce nothing else would lead to.
RECORDED = "recorded"
FORGET_AFTER = 2 * IDEMPOTENCY_WINDOW
_EVERY = timedelta(hours=1)
# One write's worth; the rest is taken at the next turn.
ROWS_MAX = 2_000
_INSTANT_BYTES = 8


def recorded_row_of(outcome: Outcome, key: bytes) -> tuple[StoreKey, bytes]:
    """The index row of the outcome that lies under `key`; its value is empty where no nonce was spent."""
    instant = to_micros(outcome.recorded_at).to_bytes(_INSTANT_BYTES, "big")
    nonce = next((nonce for _, nonce in nonce_writes_of(outcome)), b"")
    return (RECORDED, instant + key), nonce


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
            async for row, nonce in rows:
                if _instant_of(row) >= before or len(old) == ROWS_MAX:
                    break
                old[row] = nonce
        if not old:
            return 0
        keys = {row: row[_INSTANT_BYTES:] for row in old}
        outcomes = await self._outcomes(partition, keys.values())
        # A key may be used anew after the window, and has a later row then.
        over = {key: one for key, one in outcomes.items() if one.recorded_at < before}
        spenders = {
            (NONCE, nonce): _command_id_of(keys[row]) for row, nonce in old.items() if nonce
        }
        # Rows of a release before this one name no nonce.
        for one in over.values():
            spenders |= nonce_writes_of(one)
        spent = await self._store.get_many(partition, spenders)
        writes: dict[StoreKey, bytes | None] = {(RECORDED, row): None for row in old}
        writes |= dict.fromkeys((OUTCOMES, key) for key in over)
        # A younger answer may have spent the nonce once more: another command's, or this one's.
        kept: set[StoreKey] = set()
        for key in outcomes.keys() - over.keys():
            kept |= nonce_writes_of(outcomes[key]).keys()
        writes |= dict.fromkeys(
            nonce for nonce, by in spent.items() if by == spenders[nonce] and nonce not in kept
        )
        await self._store.write({partition: writes})
        return len(old)

    async def _outcomes(self, partition: int, keys: Iterable[bytes]) -> dict[bytes, Outcome]:
        found = await self._store.get_many(partition, [(OUTCOMES, key) for key in keys])
        return {key: decode_as(Outcome, value) for (_, key), value in found.items()}


def _command_id_of(key: bytes) -> bytes:
    """Of an outcome's key: `<tenant>/<command id>`, or a mismatch's, which goes on."""
    return key.split(b"/")[1]


def _instant_of(row: bytes) -> datetime:
    return from_micros(int.from_bytes(row[:_INSTANT_BYTES], "big"))

"""The recovery tick: looks at the index by due time, in bounded slices, and sends what is due as commands.

    1. per owned partition, the index up to now; at most a slice of it
    2. the states behind the keys: what they say is due, not what the key once said
    3. one command each, unless it was sent within its back-off
    4. keys of intents whose state no longer says anything there are deleted: they were outdated

It runs beside the loop and decides nothing. Lost commands are sent again after their back-off; one sent twice is
decided once, because its id follows from the state and the due time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from harbor.engine.due_index import DUE, due_key_of
from harbor.engine.ports import Clock, StateStore
from harbor.rails.ports import CommandSender
from harbor.recovery.due_commands import due_command
from schemas.due import REISSUE_FIRST, next_due
from schemas.ids import IntentId, TenantId
from schemas.instants import to_micros
from schemas.intent_fold import IntentState
from schemas.messages.avro_codec import decode_as
from schemas.topics import INTENTS, intent_key

_log = structlog.get_logger("harbor")
SLICE_MAX = 500
INTERVAL = timedelta(seconds=1)
BACK_OFF_FIRST = timedelta(seconds=10)
BACK_OFF_MAX = timedelta(minutes=15)
# What is remembered of sent commands; past it the oldest are forgotten, and at worst sent once more.
_REMEMBERED_MAX = 50_000


@dataclass(slots=True)
class _Sent:
    again_at: datetime
    back_off: timedelta


class RecoveryTick:
    """`run` beside the loop, or `turn` by hand. `partitions` tells which are owned and restored now."""

    def __init__(
        self,
        *,
        store: StateStore,
        sender: CommandSender,
        clock: Clock,
        partitions: Callable[[], Iterable[int]],
        reissue_first: timedelta = REISSUE_FIRST,
    ) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._partitions = partitions
        self._reissue_first = reissue_first
        # Keys stand at the usual first re-issue; a shorter one has to look that much ahead.
        self._ahead = max(timedelta(), REISSUE_FIRST - reissue_first)
        self._sent: dict[str, _Sent] = {}

    async def run(self) -> None:
        """Until cancelled. Raises BrokerUnavailableError: an outage ends the process."""
        while True:
            await self.turn()
            await self._clock.sleep(INTERVAL)

    async def turn(self) -> int:
        """One look at every owned partition; how many commands were sent."""
        now = self._clock.now()
        return sum([await self._partition(number, now) for number in sorted(self._partitions())])

    async def _partition(self, partition: int, now: datetime) -> int:
        keys = await self._due_keys(partition, now + self._ahead)  # 1
        intents = await self._states(partition, keys)  # 2
        sent = 0
        outdated: dict[tuple[str, bytes], bytes | None] = {}
        for key in keys:
            intent = intents.get(_intent_of(key))
            if intent is None or due_key_of(intent) != (DUE, key):
                outdated[DUE, key] = None  # 4
                continue
            sent += await self._send_due(intent, now)  # 3
        if outdated:
            await self._store.write({partition: outdated})
        return sent

    async def _due_keys(self, partition: int, until: datetime) -> list[bytes]:
        end = f"{to_micros(until):020d}".encode()
        keys: list[bytes] = []
        async for key, _ in self._store.scan(partition, DUE, b""):
            if key[:20] > end or len(keys) >= SLICE_MAX:
                break
            keys.append(key)
        return keys

    async def _states(
        self, partition: int, keys: list[bytes]
    ) -> dict[tuple[TenantId, IntentId], IntentState]:
        wanted = {(INTENTS, intent_key(*_intent_of(key))) for key in keys}
        found = await self._store.get_many(partition, sorted(wanted))
        states = [decode_as(IntentState, value) for value in found.values()]
        return {(TenantId(one.tenant_id), IntentId(one.intent_id)): one for one in states}

    async def _send_due(self, intent: IntentState, now: datetime) -> int:
        due = next_due(intent, now=now, reissue_first=self._reissue_first)
        if due is None or due.at > now:
            return 0
        command = due_command(intent, due)
        if not self._is_to_be_sent(command.command_id, now):
            return 0
        await self._sender.send(command)
        _log.info(
            "due_work_sent",
            tenant_id=intent.tenant_id,
            intent_id=intent.intent_id,
            kind=due.kind.value,
        )
        return 1

    def _is_to_be_sent(self, command_id: str, now: datetime) -> bool:
        sent = self._sent.get(command_id)
        # A clock that stepped back must not silence a command for as long as it stepped.
        if sent is not None and sent.again_at - sent.back_off <= now < sent.again_at:
            return False
        back_off = min(sent.back_off * 2, BACK_OFF_MAX) if sent else BACK_OFF_FIRST
        self._sent.pop(command_id, None)
        self._sent[command_id] = _Sent(again_at=now + back_off, back_off=back_off)
        if len(self._sent) > _REMEMBERED_MAX:
            del self._sent[next(iter(self._sent))]
        return True


def _intent_of(key: bytes) -> tuple[TenantId, IntentId]:
    _, tenant_id, intent_id = key.decode().split("/", 2)
    return TenantId(tenant_id), IntentId(intent_id)

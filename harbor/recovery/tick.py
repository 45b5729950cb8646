"""The tick: what time brings to an intent, found in the index by due time, goes to Harbor as an ordinary command.

    1. per owned partition a slice of the index, in the order of due times
    2. the states behind it, and their tenants: a key that a newer state has outdated says nothing, a quarantined
       tenant is left alone
    3. the command that is due, with an id that follows from what is due, unless it was sent of late
    4. send; Harbor judges it again, by its own state and the log's time

Nothing here is lost or done twice by a crash: whoever owns the partition next finds the same keys and sends the same
ids. The one thing it writes is to remove index keys of intents that time brings nothing to any more.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from harbor.engine.due_index import DUE, due_key_of
from harbor.engine.ports import Clock, StateStore
from harbor.rails.ports import CommandSender
from harbor.recovery.due_commands import due_command
from harbor.recovery.sent_commands import SentCommands
from schemas.due import REISSUE_FIRST, next_due
from schemas.ids import CommandId, IntentId, TenantId
from schemas.instants import to_micros
from schemas.intent_fold import IntentState, TenantState
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import Command
from schemas.topics import INTENTS, intent_key, tenant_key

_log = structlog.get_logger("recovery")
INTERVAL = timedelta(seconds=1)
# Keys looked at per partition and turn; at 12 partitions that is about what the loop decides in a second.
SLICE_KEYS_MAX = 500
# Awaited acknowledgements at a time: one after the other would cost a linger each.
CONCURRENT_MAX = 64


@dataclass(slots=True)
class _Partition:
    """`after` = the last key of the slice before; None begins a new pass."""

    sent: SentCommands = field(default_factory=SentCommands)
    after: bytes | None = None


class RecoveryTick:
    """`run` beside the loop; or `turn` by hand, where every step is somebody's choice.

    `partitions` = owned and restored now. `quarantined` = tenants found in doubt at assignment; those that a command
    stopped say so in their own row.
    """

    def __init__(
        self,
        *,
        store: StateStore,
        sender: CommandSender,
        clock: Clock,
        partitions: Callable[[], Iterable[int]],
        quarantined: Callable[[], Mapping[TenantId, str]],
        reissue_first: timedelta = REISSUE_FIRST,
    ) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._owned = partitions
        self._quarantined = quarantined
        self._reissue_first = reissue_first
        # The index knows the usual schedule; one that begins earlier is looked for that much earlier.
        self._ahead = max(REISSUE_FIRST - reissue_first, timedelta())
        self._partitions: dict[int, _Partition] = {}
        self._turn = 0
        self.sent = 0

    async def run(self) -> None:
        """Until cancelled. Raises BrokerUnavailableError: the process stops, its successor goes on."""
        while True:
            await self.turn()
            await self._clock.sleep(INTERVAL)

    async def turn(self) -> int:
        """A slice of each owned partition; how many commands were sent. Raises BrokerUnavailableError."""
        self._turn += 1
        owned = sorted(self._owned())
        for partition in self._partitions.keys() - set(owned):
            del self._partitions[partition]
        count = 0
        for partition in owned:
            count += await self._slice(partition)
        self.sent += count
        return count

    async def _slice(self, partition: int) -> int:
        now = self._clock.now()
        place = self._partitions.setdefault(partition, _Partition())
        keys = await self._keys(partition, place, now)  # 1
        intents = await self._states(partition, keys)  # 2
        commands = []
        for intent in intents:
            due = next_due(intent, now=now, reissue_first=self._reissue_first)
            if due is None or due.at > now:
                continue
            command = due_command(intent, due)  # 3
            if place.sent.is_wanted(CommandId(command.command_id), turn=self._turn):
                commands.append(command)
        await self._send(place, commands)  # 4
        if place.after is None:
            place.sent.end_pass()
        return len(commands)

    async def _keys(self, partition: int, place: _Partition, now: datetime) -> list[bytes]:
        """The next keys that are due, from where the last slice ended; at the end the next pass begins."""
        horizon = f"{to_micros(now + self._ahead) + 1:020d}".encode()
        keys: list[bytes] = []
        # From where the last slice ended: skipping what was looked at would cost the square of a long index.
        async with aclosing(self._store.scan(partition, DUE, b"", after=place.after)) as rows:
            async for key, _ in rows:
                if key >= horizon:
                    break
                keys.append(key)
                if len(keys) == SLICE_KEYS_MAX:
                    place.after = key
                    return keys
        place.after = None
        return keys

    async def _states(self, partition: int, keys: Sequence[bytes]) -> list[IntentState]:
        """Those of which the key is still the newest state's, of tenants that are not stopped."""
        named = [(key, *_named_by(key)) for key in keys]
        rows = {(INTENTS, intent_key(tenant, intent)) for _, tenant, intent in named}
        rows |= {(INTENTS, tenant_key(tenant)) for _, tenant, _ in named}
        found = await self._store.get_many(partition, sorted(rows))
        current: list[IntentState] = []
        outdated: list[bytes] = []
        for key, tenant_id, intent_id in named:
            tenant = found.get((INTENTS, tenant_key(tenant_id)))
            value = found.get((INTENTS, intent_key(tenant_id, intent_id)))
            if tenant is None or value is None or self._is_stopped(tenant_id, tenant):
                continue
            intent = decode_as(IntentState, value)
            due_key = due_key_of(intent)
            if due_key == (DUE, key):
                # Issued again, what a pause holds back would only wait twice.
                if not (intent.hold.is_outstanding and _is_paused(tenant)):
                    current.append(intent)
            elif intent.is_final and due_key is None:
                outdated.append(key)
        if outdated:
            # While this waits the loop may write a newer state. Of a live intent that could bring this very key back
            # (a dispute withdrawn), and removing it then would lose it; a final one never gets an old key again.
            await self._store.write({partition: {(DUE, key): None for key in outdated}})
        return current

    def _is_stopped(self, tenant_id: TenantId, row: bytes) -> bool:
        if tenant_id in self._quarantined():
            return True
        return decode_as(TenantState, row).quarantine is not None

    async def _send(self, place: _Partition, commands: Sequence[Command]) -> None:
        for at in range(0, len(commands), CONCURRENT_MAX):
            some = commands[at : at + CONCURRENT_MAX]
            await asyncio.gather(*(self._sender.send(command) for command in some))
            for command in some:
                place.sent.note(CommandId(command.command_id), turn=self._turn)
                _log.info(
                    "due_work_sent",
                    kind=type(command.body).__name__,
                    tenant_id=command.tenant_id,
                    intent_id=command.intent_id,
                    command_id=command.command_id,
                )


def _is_paused(row: bytes) -> bool:
    return decode_as(TenantState, row).rails_pause is not None


def _named_by(key: bytes) -> tuple[TenantId, IntentId]:
    _, tenant_id, intent_id = key.decode().split("/", 2)
    return TenantId(tenant_id), IntentId(intent_id)

"""The rail worker's ports over a `MemoryKafka`, with the same hooks as the engine's: no crash point is out of reach."""

from collections.abc import Mapping

from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import Hook, HookedPort, let_others_run
from harbor.rails.outstanding_effects import OutstandingEffects
from harbor.rails.ports import EffectBatch, EffectRecord
from schemas.errors import IntegrityError
from schemas.messages.avro_codec import decode_as
from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command
from schemas.messages.effects import Effect
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, DEAD_LETTERS, EFFECTS, GROUP_RAILS, INTENTS, dead_letter_key


class MemoryEffectLog(HookedPort):
    """A member of `paybond-rails`; `process` is its member id. It joins at its first `consume`."""

    def __init__(
        self,
        kafka: MemoryKafka,
        *,
        process: str,
        hook: Hook = let_others_run,
        records_max: int = 100,
    ) -> None:
        super().__init__(kafka, process=process, hook=hook)
        self._group = kafka.group(GROUP_RAILS)
        self._records_max = records_max
        self._positions: dict[int, int] = {}
        self._has_joined = False

    async def consume(self) -> EffectBatch:
        await self._before("effects.consume")
        revoked: tuple[int, ...] = ()
        if not self._group.is_member(self._process):
            revoked = tuple(sorted(self._positions)) if self._has_joined else ()
            self._positions.clear()
            self._group.join(self._process, EFFECTS)
            self._has_joined = True
        change = self._group.poll(self._process, self._kafka.partitions_of(EFFECTS))
        for partition in change.revoked:
            self._positions.pop(partition, None)
        for partition in change.assigned:
            self._positions[partition] = self._group.committed((EFFECTS, partition)) or 0
        batch = EffectBatch(
            records=tuple(self._fetch()),
            assigned=change.assigned,
            revoked=revoked + change.revoked,
        )
        await self._after("effects.consume")
        return batch

    async def commit(self, offsets: Mapping[int, int]) -> None:
        await self._before("effects.commit")
        # As an asynchronous commit: what a stale member sends is dropped without a word.
        owned = self._group.owned_by(self._process)
        self._group.commit({(EFFECTS, p): offset for p, offset in offsets.items() if p in owned})
        await self._after("effects.commit")

    async def close(self) -> None:
        await self._before("effects.close")
        self._group.remove(self._process)
        self._positions.clear()
        await self._after("effects.close")

    def _fetch(self) -> list[EffectRecord]:
        fetched: list[EffectRecord] = []
        for partition in sorted(self._positions):
            log = self._kafka.partition(EFFECTS, partition)
            start, end = self._positions[partition], log.last_stable_offset
            for record in log.committed(start=start, end=end):
                if len(fetched) == self._records_max:
                    return fetched
                fetched.append(
                    EffectRecord(
                        partition=partition,
                        offset=record.offset,
                        key=record.key,
                        value=record.value,
                        effect=_effect_of(record.value),
                    )
                )
                self._positions[partition] = record.offset + 1
        return fetched


class MemoryOutstanding(HookedPort):
    """Outstanding effects by intent, read from `paybond.intents`."""

    def __init__(self, kafka: MemoryKafka, *, process: str, hook: Hook = let_others_run) -> None:
        super().__init__(kafka, process=process, hook=hook)
        self._next: dict[int, int] = {}
        self._states = OutstandingEffects()

    async def catch_up(self, partition: int) -> None:
        await self._before("outstanding.catch_up")
        log = self._kafka.partition(INTENTS, partition)
        end = log.last_stable_offset
        for record in log.committed(start=self._next.get(partition, 0), end=end):
            if record.key is not None and record.value is not None:
                self._states.take(partition, key=record.key, value=record.value)
        self._next[partition] = end

    def effect_of(self, *, tenant_id: str, intent_id: str) -> str | None:
        return self._states.effect_of(tenant_id=tenant_id, intent_id=intent_id)

    def has_shown(self, *, tenant_id: str, ledger_seq: int) -> bool:
        return self._states.has_shown(tenant_id=tenant_id, ledger_seq=ledger_seq)

    def is_paused(self, tenant_id: str) -> bool:
        return self._states.is_paused(tenant_id)

    def unreadable(self, tenant_id: str) -> str | None:
        return self._states.unreadable(tenant_id)

    def forget(self, partition: int) -> None:
        self._states.forget(partition)
        self._next.pop(partition, None)


class MemoryCommandSender(HookedPort):
    """Seals with one program's key and produces, acknowledged: of rails, tick and CLI."""

    def __init__(
        self,
        kafka: MemoryKafka,
        *,
        process: str,
        issuer_key: bytes,
        partitions: int,
        hook: Hook = let_others_run,
    ) -> None:
        super().__init__(kafka, process=process, hook=hook)
        self._issuer_key = issuer_key
        self._partitions = partitions

    async def send(self, command: Command) -> None:
        await self._before("sender.send")
        self._kafka.append(
            COMMANDS,
            partition_of(command.tenant_id, self._partitions),
            key=command.tenant_id.encode(),
            value=seal(command, self._issuer_key),
            headers=command_headers(command),
        )
        await self._after("sender.send")


class MemoryRailDeadLetters(HookedPort):
    """Keeps where the record lay and why it was buried; the letter itself is the real adapter's."""

    async def bury(self, record: EffectRecord, reason: str) -> None:
        await self._before("dead_letters.bury")
        key = dead_letter_key(GROUP_RAILS, EFFECTS, record.partition, record.offset)
        partition = partition_of(key, self._kafka.partitions_of(DEAD_LETTERS))
        self._kafka.append(DEAD_LETTERS, partition, key=key, value=reason.encode())


def _effect_of(value: bytes | None) -> Effect | None:
    try:
        return None if value is None else decode_as(Effect, value)
    except IntegrityError:
        return None

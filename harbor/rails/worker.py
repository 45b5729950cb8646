"""Effects → rail → result commands, at least once.

    1. consume effects of the partitions owned
    2. read the states up to their last stable offset: an effect that none has outstanding is over, skip it; one whose
       own state is not shown yet (its transaction's marker, or an older open transaction, is still on its way) waits
    3. ask the rail, several effects at a time; one intent has at most one outstanding, so none overtakes another;
       while a tenant's rails are paused its effects are held back, and asked when a state says that they go on; one
       that had to wait for others to end is looked at once more: a pause may have been decided meanwhile
    4. send each answer as a command, and wait until it is acknowledged
    5. commit offsets up to the first effect without an answer; the tick re-issues what stays without one

A crash between 3 and 4 asks again with the same effect id: the rail makes it once.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from harbor.rails.answers import answer_command
from harbor.rails.ports import (
    CommandSender,
    DeadLetters,
    EffectBatch,
    EffectLog,
    EffectRecord,
    Outstanding,
    Rail,
    RailUnavailableError,
)
from schemas.messages.effects import Effect
from schemas.messages.shared import SettlementMode

_log = structlog.get_logger("rails")
# What one process asks of a rail at a time; Stripe's default limit is 100 requests a second.
CONCURRENT_MAX = 64


@dataclass(slots=True)
class _Partition:
    """Offsets in log order; an unanswered one holds the commit back, and nothing else."""

    next_offset: int = 0
    committed: int = 0
    waiting: dict[int, Effect] = field(default_factory=dict)
    # Ids of those that a pause or a missing state holds back: one that was issued twice is asked once when it ends.
    held_back: set[str] = field(default_factory=set)

    def committable(self) -> int:
        return min(self.waiting, default=self.next_offset)


class RailWorker:
    """One member of group `paybond-rails`."""

    def __init__(
        self,
        *,
        log: EffectLog,
        outstanding: Outstanding,
        rails: Mapping[SettlementMode, Rail],
        commands: CommandSender,
        dead_letters: DeadLetters,
        on_answered: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._outstanding = outstanding
        self._rails = rails
        self._commands = commands
        self._dead_letters = dead_letters
        self._on_answered = on_answered
        self._partitions: dict[int, _Partition] = {}
        self._running: dict[asyncio.Task[None], tuple[int, int]] = {}
        self._is_stopping = False
        self._is_started = False
        self.answered = 0

    async def run(self) -> None:
        """Until `stop`. Ends by raising what the broker raises: an outage ends the process."""
        try:
            while not self._is_stopping:
                await self.step()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self._log.close()

    def stop(self) -> None:
        self._is_stopping = True

    @property
    def not_ready(self) -> str | None:
        """Why not, until the first round was done; a member without partitions is ready too."""
        return None if self._is_started else "has not read from the broker yet"

    async def step(self) -> None:
        """One round of 1–5."""
        batch = await self._log.consume()  # 1
        self._own(batch)
        await self._look_at_states(batch)  # 2
        for record in batch.records:
            await self._take(record)
        self._raise_failures()
        await self._commit()  # 5
        self._is_started = True

    def _own(self, batch: EffectBatch) -> None:
        for partition in batch.revoked:
            self._partitions.pop(partition, None)
            self._outstanding.forget(partition)
        for partition in batch.assigned:
            self._partitions[partition] = _Partition()

    async def _look_at_states(self, batch: EffectBatch) -> None:
        touched = {record.partition for record in batch.records}
        touched |= {number for number, owned in self._partitions.items() if owned.waiting}
        for partition in sorted(touched & self._partitions.keys()):
            await self._outstanding.catch_up(partition)
            owned = self._partitions[partition]
            for offset, effect in tuple(owned.waiting.items()):
                if (partition, offset) in self._running.values():
                    continue
                if self._is_over(effect):
                    del owned.waiting[offset]
                    owned.held_back.discard(effect.effect_id)
                elif effect.effect_id in owned.held_back and self._holds_back(effect) is None:
                    await self._ask(partition, offset, effect)

    def _is_over(self, effect: Effect) -> bool:
        """What the states don't show yet is not over: skipped, it would be asked only when the tick issues it again."""
        if self._outstanding.unreadable(effect.tenant_id) is not None:
            return False
        present = self._outstanding.effect_of(
            tenant_id=effect.tenant_id, intent_id=effect.intent_id
        )
        return self._is_shown(effect) and present != effect.effect_id

    def _is_shown(self, effect: Effect) -> bool:
        return self._outstanding.has_shown(tenant_id=effect.tenant_id, ledger_seq=effect.ledger_seq)

    def _holds_back(self, effect: Effect) -> str | None:
        """Why the rail can't be asked now. A pause may lie behind what is not shown, or can't be read."""
        unreadable = self._outstanding.unreadable(effect.tenant_id)
        if unreadable is not None:
            return unreadable
        if not self._is_shown(effect):
            return "its state is not shown yet"
        return "rails paused" if self._outstanding.is_paused(effect.tenant_id) else None

    async def _take(self, record: EffectRecord) -> None:
        owned = self._partitions.get(record.partition)
        if owned is None:
            return
        if not owned.next_offset:
            owned.committed = record.offset
        owned.next_offset = record.offset + 1
        if record.effect is None:
            await self._dead_letters.bury(record, "not an effect")
            return
        if self._is_over(record.effect):
            return
        owned.waiting[record.offset] = record.effect
        await self._ask(record.partition, record.offset, record.effect)

    async def _ask(self, partition: int, offset: int, effect: Effect) -> None:
        """Start it, unless the states, as of now, say otherwise."""
        owned = self._partitions[partition]
        while len(self._running) >= CONCURRENT_MAX:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failures()
            await self._outstanding.catch_up(partition)
        if self._is_over(effect):
            del owned.waiting[offset]
            owned.held_back.discard(effect.effect_id)
            return
        why = self._holds_back(effect)
        if why is not None:
            owned.held_back.add(effect.effect_id)
            _log.info("effect_held_back", effect_id=effect.effect_id, why=why)
            return
        owned.held_back.discard(effect.effect_id)
        task = asyncio.create_task(self._execute(partition, offset, effect))
        self._running[task] = (partition, offset)

    async def _execute(self, partition: int, offset: int, effect: Effect) -> None:
        try:
            answers = await self._rails[effect.settlement_mode].execute(effect)  # 3
        except RailUnavailableError as error:
            # It stays unanswered: its offset is not committed, and the tick will issue it again.
            _log.warning("effect_unanswered", effect_id=effect.effect_id, error=str(error))
            return
        for answer in answers:
            await self._commands.send(answer_command(effect, answer))  # 4
        self.answered += 1
        self._on_answered()
        owned = self._partitions.get(partition)
        if owned is not None:
            owned.waiting.pop(offset, None)

    def _raise_failures(self) -> None:
        """Tasks that ended are taken out; one that failed ends the worker with its error."""
        for task in [task for task in self._running if task.done()]:
            del self._running[task]
            task.result()

    async def _commit(self) -> None:
        offsets = {
            number: owned.committable()
            for number, owned in self._partitions.items()
            if owned.committable() > owned.committed
        }
        if offsets:
            await self._log.commit(offsets)
            for number, offset in offsets.items():
                self._partitions[number].committed = offset

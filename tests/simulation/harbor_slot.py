"""A slot of Harbor and its supervisor: one process after the other, on a store that outlives them, or loses writes.

The loop, the tick, the signer and the assignment protocol run as they are; only ports, clock and hooks are ours.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from harbor.adapters.memory.ports import (
    MemoryCheckpoints,
    MemoryCommandConsumer,
    MemoryLogReader,
    MemoryStateStore,
    MemoryTransactions,
    StoreKey,
)
from harbor.adapters.memory.rails import MemoryCommandSender
from harbor.adapters.memory.signature_pool import MemorySignaturePool
from harbor.adapters.noted_store import NotedStore
from harbor.domain.decision import RailPolicy
from harbor.engine.assignment import KafkaAssigner
from harbor.engine.batch import BatchRules
from harbor.engine.batch_result import BatchResult
from harbor.engine.checkpoint_signing import CheckpointSigner, LedgerKey
from harbor.engine.intake import Rejected
from harbor.engine.loop import HarborLoop, LoopParts
from harbor.engine.observation import SilentObserver
from harbor.engine.ports import FencedError, OutputRecord
from harbor.engine.preparation import Preparation
from harbor.recovery.tick import RecoveryTick
from schemas.errors import BrokerUnavailableError, OwnershipLostError
from schemas.messages.commands import Issuer
from schemas.topics import COMMANDS, GROUP_HARBOR
from tests.simulation.broker import SESSION, TRANSACTION_TIMEOUT
from tests.simulation.curse import CursedError
from tests.simulation.faults import Fault
from tests.simulation.process import Process
from tests.simulation.scheduler import Stopped
from tests.support.harbor_world import DEPLOYMENT, ISSUER_KEYS, LEDGER_SEED

if TYPE_CHECKING:
    from tests.simulation.world import World

Rows = dict[int, dict[StoreKey, bytes]]
_RESTART_SECONDS_MAX = 12
_FETCH_WAIT = timedelta(seconds=20)
_HANG_SECONDS_MAX = 40
_SNAPSHOT_IN_PERCENT = 15
_PUBLICATION = timedelta(seconds=1)
# What a process may end by without anybody's mistake: a fence, an outage, or death.
_EXPLAINED = (Stopped, OwnershipLostError, FencedError, BrokerUnavailableError, CursedError)


class HarborProcess(Process):
    """One incarnation. `slot` decides what comes after it."""

    def __init__(self, world: "World", slot: "HarborSlot", name: str, rows: Rows) -> None:
        super().__init__(world, name)
        self.slot = slot
        self.skew = slot.skew
        kafka, partitions = world.kafka, world.partitions
        self.store = MemoryStateStore(process=name, hook=self.hook)
        self.store.go_back_to(rows)
        reader = MemoryLogReader(kafka, process=name, hook=self.hook)
        transactions = MemoryTransactions(
            kafka,
            process=name,
            transactional_id=f"paybond-harbor-{slot.number}",
            hook=self.hook,
        )
        store = NotedStore(self.store, take_committed=transactions.take_committed, clock=self)
        self.signer = CheckpointSigner(
            _SlowCheckpoints(self),
            key=LedgerKey(deployment=DEPLOYMENT, seed=LEDGER_SEED),
            partitions=partitions,
        )
        self._consumer = MemoryCommandConsumer(kafka, process=name, hook=self.hook)
        self.loop = HarborLoop(
            LoopParts(
                consumer=self._consumer,
                transactions=transactions,
                preparation=Preparation(
                    store=store,
                    reader=reader,
                    pool=MemorySignaturePool(process=name, hook=self.hook),
                    assigner=KafkaAssigner(
                        reader=reader, store=store, clock=self, partitions=partitions
                    ),
                    clock=self,
                ),
                signer=self.signer,
                rules=BatchRules(partitions=partitions, rails=RailPolicy()),
                issuer_keys=ISSUER_KEYS,
                observer=_Snapshots(slot),
                records_max=world.records_max,
            )
        )
        self._tick = RecoveryTick(
            store=store,
            sender=MemoryCommandSender(
                kafka,
                process=name,
                issuer_key=ISSUER_KEYS[Issuer.RECOVERY][0],
                partitions=partitions,
                hook=self.hook,
            ),
            clock=self,
            partitions=lambda: self.loop.partitions,
            quarantined=lambda: self.loop.quarantined,
        )

    async def main(self) -> None:
        """As `harbor.app` runs them: any that ends, ends the process."""
        deciding = asyncio.create_task(self.loop.run(is_stopping=lambda: self.is_stopping))
        ticking = asyncio.create_task(self._tick.run())
        try:
            await asyncio.wait([deciding, ticking], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.is_stopping = True
            ticking.cancel()
            ended = await asyncio.gather(deciding, ticking, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, BaseException) and not isinstance(
                outcome, asyncio.CancelledError
            ):
                raise outcome

    def sight(self) -> object:
        group = self.world.kafka.group(GROUP_HARBOR)
        return group.generation, [group.owned_by(name) for name in group._members]

    def unread(self) -> bool:
        kafka = self.world.kafka
        return any(
            offset < kafka.partition(COMMANDS, partition).last_stable_offset
            for partition, offset in self._consumer._positions.items()
        )

    def looks_again_at(self) -> datetime | None:
        """A fetch that brings nothing ends too: then the loop looks after its signer."""
        return self.world.scheduler.now + _FETCH_WAIT

    def has_news(self) -> bool:
        """A partition whose restore has ended, or the order to stop."""
        tasks = self.loop._restores._tasks
        return self.is_stopping or any(task.done() for task in tasks.values())

    @property
    def is_hanging(self) -> bool:
        return not self.is_dead and self.frozen_until is not None

    def freeze(self, fault: Fault, where: str) -> None:
        self.slot.freeze(self, fault, where)


def _hang_of(fault: Fault, rng: random.Random) -> timedelta:
    match fault:
        case Fault.ZOMBIE:
            # Long enough for its session to end and its successor to decide something.
            return 3 * SESSION + timedelta(seconds=rng.randrange(_HANG_SECONDS_MAX))
        case Fault.HANGING:
            # After its session and before the end of its transaction: what it has open may still be committed.
            return SESSION + (TRANSACTION_TIMEOUT - SESSION) * (0.1 + 0.85 * rng.random())
        case _:
            return timedelta(seconds=1 + rng.randrange(_HANG_SECONDS_MAX))


class _SlowCheckpoints(MemoryCheckpoints):
    """Now and then a publication takes its time; the loop goes on and commits the next tips meanwhile."""

    def __init__(self, process: HarborProcess) -> None:
        super().__init__(process.world.kafka, process=process.name, hook=process.hook)
        self._owner = process

    async def publish(self, records: Sequence[OutputRecord]) -> None:
        percent = self._owner.world.publishes_slowly_in_percent
        if self._owner.world.faults.is_drawn(Fault.PUBLISHED_SLOWLY, in_percent=percent):
            await self._owner.sleep(_PUBLICATION)
        await super().publish(records)


class _Snapshots(SilentObserver):
    """Now and then the store is remembered, for one that loses what it wrote later. What is given up is told."""

    def __init__(self, slot: "HarborSlot") -> None:
        self._slot = slot

    def committed(self, result: BatchResult) -> None:
        self._slot.world.committed += result.tally.entries
        if self._slot.world.faults.rng.randrange(100) < _SNAPSHOT_IN_PERCENT:
            self._slot.remember()

    def poisoned(self, rejected: Rejected, error: BaseException | None) -> None:
        world = self._slot.world
        place = rejected.record.partition, rejected.record.offset
        world.tell(f"slot {self._slot.number} gives {place} up: {error!r}")
        world.poisoned.add(place)
        if error is not None and not isinstance(error, CursedError):
            world.unexplained("decide", error)
        world.curse.lift()


class HarborSlot:
    """`transactional.id` and store of a slot; whoever runs in it now is `process`."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.process: HarborProcess | None = None
        self.incarnations: list[HarborProcess] = []
        self.skew = timedelta()
        self._rows: Rows = {}
        self._remembered: Rows = {}

    def start(self) -> None:
        name = f"harbor-{self.number}.{len(self.incarnations)}"
        process = HarborProcess(self.world, self, name, self._rows)
        self.process = process
        self.incarnations.append(process)
        self.world.tell(f"{name} starts")
        process.launch(process.main, lambda error: self._ended(process, error))

    def living(self) -> list[HarborProcess]:
        """Its process and those before it that were only thought dead."""
        return [process for process in self.incarnations if not process.is_dead]

    def remember(self) -> None:
        if self.process is not None:
            self._remembered = self.process.store.snapshot()

    def freeze(self, process: HarborProcess, fault: Fault, where: str) -> None:
        world, scheduler = self.world, self.world.scheduler
        is_zombie = fault is Fault.ZOMBIE
        duration = _hang_of(fault, world.faults.rng)
        seconds = duration.total_seconds()
        world.happened(fault, f"{process.name}: {fault.value}, {seconds:g} s at {where}")
        scheduler.freeze(process, duration)
        if duration > SESSION:
            scheduler.at(
                scheduler.now + SESSION,
                lambda: self._expel(process),
                f"session of {process.name} ends",
            )
        if is_zombie and process is self.process:
            # Another machine: what the zombie wrote last is not there.
            self._rows = self._remembered
            scheduler.at(
                scheduler.now + SESSION * 1.2,
                lambda: self._succeed(process),
                "a zombie's successor",
            )

    def _succeed(self, process: HarborProcess) -> None:
        if self.process is process:
            self.start()

    def _expel(self, process: HarborProcess) -> None:
        if process.is_dead or process.frozen_until is not None:
            self.world.kafka.group(GROUP_HARBOR).remove(process.name)

    def _ended(self, process: HarborProcess, error: BaseException | None) -> None:
        world, scheduler = self.world, self.world.scheduler
        said = "" if error is None else f": {type(error).__name__}: {error}"
        world.tell(f"{process.name} ended{said}")
        if error is not None and not isinstance(error, _EXPLAINED):
            world.unexplained(process.name, error)
        scheduler.at(
            scheduler.now + SESSION, lambda: self._expel(process), f"session of {process.name} ends"
        )
        if process is not self.process:
            return
        self._rows = self._kept(process)
        self.process = None
        seconds = 1 + world.faults.rng.randrange(_RESTART_SECONDS_MAX)
        scheduler.at(
            scheduler.now + timedelta(seconds=seconds), self.start, f"restart of slot {self.number}"
        )

    def _kept(self, process: HarborProcess) -> Rows:
        """What of the store its successor finds."""
        faults = self.world.faults
        if faults.is_drawn(Fault.STORE_LOST, in_percent=10):
            return {}
        if faults.is_drawn(Fault.STORE_LOST_WRITES, in_percent=20):
            return self._remembered
        return process.store.snapshot()

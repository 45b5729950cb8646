"""The indexer: the product's batch loop and views on the simulated broker, two members that crash, hang and come back.

What outlives a member is `IndexerGroup`'s: tables, checkpoints, quarantine and the group's committed offsets.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from harbor.adapters.memory.ports import PortCall, When
from schemas.canonical import ed25519
from schemas.errors import BrokerUnavailableError, DatabaseUnavailableError, OwnershipLostError
from schemas.topics import CHECKPOINTS, EVIDENCE, INTENTS, LEDGER_PREFIX, OUTCOMES
from streams.runtime.batch_loop import BatchLoop
from streams.runtime.checkpoints import Position
from streams.runtime.memory.stores import MemoryCheckpoints, MemoryDeadLetters, MemoryQuarantine
from streams.runtime.metrics import Metrics
from streams.runtime.records import PartitionOwner, Record, TopicPartition
from streams.views import ledger_view
from streams.views.chain_check import TrustedKeys
from streams.views.checkpoints_view import CheckpointsView
from streams.views.evidence_view import EvidenceView
from streams.views.ledger_view import LedgerView
from streams.views.memory import MemoryViews
from streams.views.operations_view import OperationsView
from streams.views.tenant_states_view import TenantStatesView, is_tenant_row
from tests.simulation.broker import SESSION
from tests.simulation.faults import Fault
from tests.simulation.process import Process
from tests.simulation.scheduler import Stopped
from tests.support.harbor_world import DEPLOYMENT, LEDGER_SEED

if TYPE_CHECKING:
    from tests.simulation.world import World

MEMBERS = 2
_SHARED = (EVIDENCE, OUTCOMES, INTENTS, CHECKPOINTS)
_KEYS = TrustedKeys(deployment=DEPLOYMENT, public_keys=(ed25519.public_key(LEDGER_SEED),))
_RESTART_SECONDS_MAX = 8
_FETCH_MILLISECONDS_MAX = 3_000
_HANG_SECONDS_MAX = 40
_LOOK_AGAIN = timedelta(seconds=2)
_EXPLAINED = (Stopped, OwnershipLostError, BrokerUnavailableError, DatabaseUnavailableError)


class IndexerGroup:
    """What the members share, and the coordinator that says whose each partition is."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.checkpoints = MemoryCheckpoints()
        self.quarantine = MemoryQuarantine()
        self.tables = MemoryViews(self.checkpoints, self.quarantine)
        self.dead_letters = MemoryDeadLetters()
        self.committed: dict[TopicPartition, int] = {}
        self.loses_hints = world.faults.rng.randrange(4) == 0
        self.records_max = world.faults.rng.choice((1, 3, 10, 100))
        self.members: dict[str, IndexerProcess] = {}
        self.owners: dict[TopicPartition, str] = {}
        self._started = 0
        # What an operator does once everybody has stopped.
        self._when_stopped: Callable[[], None] | None = None
        self._turned = 0

    def start(self) -> None:
        for _ in range(MEMBERS):
            self._start_one()

    def partitions(self) -> list[TopicPartition]:
        kafka = self.world.kafka
        ledgers = sorted(topic for topic in kafka.topics() if topic.startswith(LEDGER_PREFIX))
        found = [TopicPartition(topic=topic, partition=0) for topic in ledgers]
        return found + [
            TopicPartition(topic=topic, partition=partition)
            for topic in _SHARED
            for partition in range(self.world.partitions)
        ]

    def target_of(self, name: str) -> list[TopicPartition]:
        names = sorted(self.members)
        if name not in names:
            return []
        place = (names.index(name) + self._turned) % len(names)
        return self.partitions()[place :: len(names)]

    def expel(self, process: "IndexerProcess") -> None:
        """Its session is over: what it owned is anybody's."""
        if self.members.pop(process.name, None) is not None:
            self.owners = {at: n for at, n in self.owners.items() if n != process.name}
            self.world.kafka.version += 1

    def rebalance(self) -> None:
        """Everybody gets what another had."""
        self._turned += 1
        self.world.kafka.version += 1

    def reset_to_earliest(self) -> None:
        """An operator stops the group, sets its offsets to the beginning, and starts it again."""
        self._stop_for(self._forget_committed)

    def lower_checkpoints(self) -> None:
        """As after a restore of that table alone: rows stay, and every entry comes again as if it were new."""
        self._stop_for(self._forget_checkpoints)

    def _stop_for(self, act: Callable[[], None]) -> None:
        self._when_stopped = act
        for process in self.members.values():
            process.is_stopping = True

    def _forget_committed(self) -> None:
        self.committed = dict.fromkeys(self.committed, 0)

    def _forget_checkpoints(self) -> None:
        self.world.auditor.checkpoints.lowered()
        rows = self.checkpoints.rows
        for key, row in rows.items():
            if key[0] == ledger_view.NAME:
                rows[key] = Position(
                    projection=row.projection,
                    at=row.at,
                    epoch=row.epoch,
                    hint_acked=row.hint_acked,
                )

    def is_behind(self) -> bool:
        """Whether a record is not in the tables yet, or a checkpoint not published; what is stopped stays behind."""
        kafka = self.world.kafka
        if any(held.release is None for held in self.quarantine._rows):
            return False
        positions = {at: position for (_, at), position in self.checkpoints.rows.items()}
        for at in self.partitions():
            end = kafka.partition(at.topic, at.partition).last_stable_offset
            last = [
                record
                for record in kafka.read(at.topic, at.partition)
                # The checkpoint stands still while the view passes over what is no tenant's row.
                if at.topic != INTENTS or is_tenant_row(record.key)
            ][-1:]
            position = positions.get(at)
            if end and last and (position is None or position.next_offset <= last[0].offset):
                return True
        return bool(self.tables.rows.waiting)

    def _start_one(self) -> None:
        process = IndexerProcess(self.world, self, f"indexer.{self._started}")
        self._started += 1
        process.launch(process.main, lambda error: self._ended(process, error))

    def _ended(self, process: "IndexerProcess", error: BaseException | None) -> None:
        world, scheduler = self.world, self.world.scheduler
        said = "" if error is None else f": {type(error).__name__}: {error}"
        world.tell(f"{process.name} ended{said}")
        if error is not None and not isinstance(error, _EXPLAINED):
            world.unexplained(process.name, error)
        if error is None:
            self.expel(process)
        if self._when_stopped is not None and not self.members:
            self._when_stopped()
            self._when_stopped = None
        scheduler.at(
            scheduler.now + SESSION, lambda: self.expel(process), f"{process.name} is over"
        )
        seconds = 1 + world.faults.rng.randrange(_RESTART_SECONDS_MAX)
        scheduler.at(scheduler.now + timedelta(seconds=seconds), self._start_one, "indexer restart")


class _Hooked:
    """A port of which every method asks the process's hook before and after."""

    def __init__(self, port: Any, process: "IndexerProcess", name: str) -> None:
        self._port = port
        self._process = process
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        method = getattr(self._port, attribute)
        call = f"{self._name}.{attribute}"

        async def hooked(*arguments: Any, **named: Any) -> Any:
            await self._process.ask(call, When.BEFORE)
            result = await method(*arguments, **named)
            await self._process.ask(call, When.AFTER)
            return result

        return hooked


class IndexerProcess(Process):
    """One incarnation: loop, projections, and itself as its `RecordSource`."""

    def __init__(self, world: "World", group: IndexerGroup, name: str) -> None:
        super().__init__(world, name)
        self.group = group
        self._owner: PartitionOwner | None = None
        self._cursors: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._acknowledged: dict[TopicPartition, int] = {}
        metrics = Metrics()
        tables: Any = _Hooked(group.tables, self, "tables")
        letters = group.dead_letters
        self.loop = BatchLoop(
            source=self,
            projections=(
                LedgerView(tables=tables, metrics=metrics),
                EvidenceView(tables=tables, dead_letters=letters, clock=self, metrics=metrics),
                OperationsView(tables=tables, dead_letters=letters, clock=self, metrics=metrics),
                TenantStatesView(tables=tables, dead_letters=letters, clock=self, metrics=metrics),
                CheckpointsView(
                    tables=tables,
                    quarantine=group.quarantine,
                    dead_letters=letters,
                    keys=_KEYS,
                    clock=self,
                    metrics=metrics,
                ),
            ),
            checkpoints=_Hooked(group.checkpoints, self, "positions"),
            quarantine=group.quarantine,
            clock=self,
            metrics=metrics,
        )

    async def main(self) -> None:
        await self.start(self.loop)
        while not self.is_stopping:
            # A fetch takes a while and brings more than one record: polling at once would only make steps.
            await self.sleep(
                timedelta(milliseconds=self.world.faults.rng.randrange(_FETCH_MILLISECONDS_MAX))
            )
            await self.loop.run_once()
        await self.stop()
        await self.loop.stopped()

    async def ask(self, call: str, when: When) -> None:
        await self.hook(PortCall(process=self.name, call=call, when=when))

    def freeze(self, fault: Fault, where: str) -> None:
        """Longer than its session: others take its partitions, and it finds out by its epochs."""
        world, scheduler = self.world, self.world.scheduler
        world.happened(fault, f"{self.name}: hangs at {where}")
        seconds = 1 + world.faults.rng.randrange(_HANG_SECONDS_MAX)
        scheduler.freeze(self, SESSION + timedelta(seconds=seconds))
        scheduler.at(
            scheduler.now + SESSION, lambda: self.group.expel(self), f"session of {self.name}"
        )

    # What its poll looks at.

    def sight(self) -> object:
        return self.group.target_of(self.name), sorted(self.group.owners)

    def unread(self) -> bool:
        kafka, owners = self.world.kafka, self.group.owners
        return any(
            offset < kafka.partition(at.topic, at.partition).last_stable_offset
            for at, offset in self._cursors.items()
            if at not in self._paused
        ) or any(
            # Given up while it looked: the owners may be the same set again, and its sight tells nothing.
            at not in self._cursors and at not in owners
            for at in self.group.target_of(self.name)
        )

    def looks_again_at(self) -> datetime | None:
        """Checkpoints wait for their entries; what the broker has acknowledged waits for a quiet moment."""
        rows = self.group.tables.rows
        if not rows.waiting and not self._acknowledged:
            return None
        return self.world.scheduler.now + _LOOK_AGAIN

    def has_news(self) -> bool:
        return self.is_stopping or self.name not in self.group.members

    # `streams.runtime.records.RecordSource`

    async def start(self, owner: PartitionOwner) -> None:
        self._owner = owner
        self.group.members[self.name] = self
        self.world.kafka.version += 1

    async def read(self) -> Sequence[Record]:
        await self.ask("indexer.read", When.BEFORE)
        await self._rebalance()
        batch: list[Record] = []
        for at in sorted(self._cursors):
            if at in self._paused:
                continue
            log = self.world.kafka.partition(at.topic, at.partition)
            end = log.last_stable_offset
            for record in log.committed(start=self._cursors[at], end=end):
                if len(batch) == self.group.records_max:
                    return batch
                batch.append(
                    Record(
                        at=at,
                        offset=record.offset,
                        key=record.key,
                        value=record.value,
                        timestamp=record.timestamp,
                    )
                )
                self._cursors[at] = record.offset + 1
            self._cursors[at] = max(self._cursors[at], end)
        return batch

    async def pause(self, partition: TopicPartition) -> None:
        self._paused.add(partition)

    async def resume(self, partition: TopicPartition, *, offset: int) -> None:
        self._paused.discard(partition)
        self._cursors[partition] = offset

    def hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.group.loses_hints and self.world.faults.is_drawn(Fault.HINT_LOST, in_percent=30):
            return
        for at, offset in offsets.items():
            if self.group.owners.get(at) == self.name:
                self.group.committed[at] = offset
                self._acknowledged[at] = offset

    def acknowledged(self) -> Mapping[TopicPartition, int]:
        taken, self._acknowledged = self._acknowledged, {}
        return taken

    async def stop(self) -> None:
        await self._give_back(list(self._cursors))

    async def _rebalance(self) -> None:
        group = self.group
        if self.name not in group.members:
            # The session ran out: everything is lost, and it joins anew.
            await self._give_back(list(self._cursors))
            group.members[self.name] = self
            self.world.kafka.version += 1
        target = group.target_of(self.name)
        await self._give_back([at for at in self._cursors if at not in target])
        await self._take([at for at in target if at not in self._cursors])

    async def _give_back(self, partitions: Iterable[TopicPartition]) -> None:
        gone = list(partitions)
        if not gone:
            return
        assert self._owner is not None
        await self._owner.revoked(gone)
        for at in gone:
            self._cursors.pop(at, None)
            self._paused.discard(at)
            if self.group.owners.get(at) == self.name:
                del self.group.owners[at]
        self.world.kafka.version += 1

    async def _take(self, partitions: Iterable[TopicPartition]) -> None:
        wanted = [at for at in partitions if at not in self.group.owners]
        if not wanted:
            return
        assert self._owner is not None
        for at in wanted:
            self.group.owners[at] = self.name
        begins = await self._owner.assigned({at: self.group.committed.get(at) for at in wanted})
        for at in wanted:
            self._cursors[at] = begins.get(at, 0)
            self._paused.discard(at)
            if at not in begins:
                self._paused.add(at)
        self.world.kafka.version += 1

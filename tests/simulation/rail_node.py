"""The rail and its worker: the product's simulator behind a rail that also answers late, and a worker that crashes."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from harbor.adapters.memory.ports import PortCall, When
from harbor.adapters.memory.rails import (
    MemoryCommandSender,
    MemoryEffectLog,
    MemoryOutstanding,
    MemoryRailDeadLetters,
)
from harbor.rails.ports import (
    RailAnswer,
    RailObject,
    RailUnavailableError,
)
from harbor.rails.simulator import Faults as RailFaults
from harbor.rails.simulator import Simulator
from harbor.rails.simulator_book import Book
from harbor.rails.worker import RailWorker
from schemas.errors import BrokerUnavailableError
from schemas.messages.commands import Issuer
from schemas.messages.effects import Effect
from schemas.messages.shared import RailAction, RailAnswerKind, SettlementMode
from schemas.partitioner import partition_of
from schemas.topics import EFFECTS, GROUP_RAILS, INTENTS
from tests.simulation.broker import SESSION
from tests.simulation.faults import Fault
from tests.simulation.process import Process
from tests.simulation.scheduler import Stopped
from tests.support.harbor_world import ISSUER_KEYS

if TYPE_CHECKING:
    from tests.simulation.world import World

_RESTART_SECONDS_MAX = 8
_LATE_SECONDS_MAX = 120
_EXPLAINED = (Stopped, BrokerUnavailableError)


class RailHouse:
    """The rail itself, which no crash of ours touches: its book, and how often it was asked for each effect."""

    def __init__(self, world: "World") -> None:
        rng = world.faults.rng
        self.world = world
        self.book = Book(":memory:")
        self.carried_out: list[tuple[Effect, RailAnswer]] = []
        # How long an answer is under way; the worker's own pause is the rail's time to think.
        self.thinking = timedelta()
        self.faults = RailFaults(
            seed=rng.randrange(1 << 30),
            decline_bps=rng.choice((0, 0, 1_500)),
            lose_bps=rng.choice((0, 1_000, 3_000)),
            duplicate_bps=rng.choice((0, 1_000, 5_000)),
        )

    def now(self) -> datetime:
        return self.world.scheduler.now

    def close(self) -> None:
        self.book.close()


class _SimulatedRail:
    """`Rail` as one worker's process reaches it."""

    def __init__(self, house: RailHouse, process: "RailProcess") -> None:
        self._house = house
        self._process = process
        self._simulator = Simulator(house.book, house.faults, pause=process, clock=house)

    async def execute(self, effect: Effect) -> tuple[RailAnswer, ...]:
        house, process = self._house, self._process
        faults = house.world.faults
        house.world.auditor.rail.asked(effect, states_seen=process.states_seen_of(effect))
        await process.hook(PortCall(process=process.name, call="rail.execute", when=When.BEFORE))
        try:
            answers = await self._simulator.execute(effect)
        except RailUnavailableError:
            faults.happened(Fault.RAIL_ANSWER_LOST)
            raise
        house.carried_out.append((effect, answers[0]))
        if len(answers) > 1:
            faults.happened(Fault.RAIL_ANSWER_TWICE)
        if answers[0].kind is RailAnswerKind.DECLINED:
            faults.happened(Fault.RAIL_DECLINES)
        if answers[0].kind is RailAnswerKind.GONE and effect.action is RailAction.CAPTURE:
            faults.happened(Fault.HOLD_LAPSES)
        await process.hook(PortCall(process=process.name, call="rail.execute", when=When.AFTER))
        return answers

    async def observe(self, rail_object: str) -> RailObject | None:
        return await self._simulator.observe(rail_object)

    async def find(self, *, tenant_id: str, intent_id: str) -> RailObject | None:
        return await self._simulator.find(tenant_id=tenant_id, intent_id=intent_id)


class RailProcess(Process):
    """One incarnation of the worker, as `harbor.rails.app` wires it."""

    def __init__(self, world: "World", house: RailHouse, name: str) -> None:
        super().__init__(world, name)
        kafka = world.kafka
        self._outstanding = MemoryOutstanding(kafka, process=name, hook=self.hook)
        self._worker = RailWorker(
            log=MemoryEffectLog(kafka, process=name, hook=self.hook),
            outstanding=self._outstanding,
            rails={SettlementMode.SIMULATED: _SimulatedRail(house, self)},
            commands=MemoryCommandSender(
                kafka,
                process=name,
                issuer_key=ISSUER_KEYS[Issuer.RAILS][0],
                partitions=world.partitions,
                hook=self.hook,
            ),
            dead_letters=MemoryRailDeadLetters(kafka, process=name, hook=self.hook),
        )

    async def main(self) -> None:
        await self._worker.run()

    def states_seen_of(self, effect: Effect) -> int:
        """Up to which offset it has read the states of that tenant's partition."""
        partition = partition_of(effect.tenant_id, self.world.partitions)
        return self._outstanding._next.get(partition, 0)

    def sight(self) -> object:
        kafka, partitions = self.world.kafka, range(self.world.partitions)
        return (
            kafka.group(GROUP_RAILS).generation,
            *(kafka.partition(EFFECTS, partition).last_stable_offset for partition in partitions),
            *(kafka.partition(INTENTS, partition).last_stable_offset for partition in partitions),
        )

    def has_news(self) -> bool:
        return any(task.done() for task in self._worker._running)

    async def pause(self, seconds: float) -> None:
        """`harbor.rails.ports.Pause`: the answer takes its time, and now and then a long one."""
        faults = self.world.faults
        assert seconds >= 0
        if faults.is_drawn(Fault.RAIL_ANSWER_LATE, in_percent=15):
            await self.sleep(timedelta(seconds=1 + faults.rng.randrange(_LATE_SECONDS_MAX)))
        else:
            await self.sleep(timedelta(milliseconds=faults.rng.randrange(300)))


class RailNode:
    """The worker's supervisor."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.house = RailHouse(world)
        self._started = 0
        self._process: RailProcess | None = None

    def start(self) -> None:
        self._process = process = RailProcess(self.world, self.house, f"rails.{self._started}")
        self._started += 1
        process.launch(process.main, lambda error: self._ended(process, error))

    def _ended(self, process: RailProcess, error: BaseException | None) -> None:
        world, scheduler = self.world, self.world.scheduler
        if error is not None and not isinstance(error, _EXPLAINED):
            world.unexplained(process.name, error)
        group = world.kafka.group(GROUP_RAILS)
        scheduler.at(
            scheduler.now + SESSION, lambda: group.remove(process.name), f"{process.name} is over"
        )
        seconds = 1 + world.faults.rng.randrange(_RESTART_SECONDS_MAX)
        scheduler.at(scheduler.now + timedelta(seconds=seconds), self.start, "rails restart")

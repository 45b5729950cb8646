"""A simulated process: it parks at its port calls, dies or fails where the plan says so, may sleep through its end.

`Process.hook` is what the in-memory adapters ask before and after each call.
"""

import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from harbor.adapters.memory.ports import PortCall, When
from tests.simulation.faults import Fault, error_of
from tests.simulation.scheduler import Actor, Stopped

if TYPE_CHECKING:
    from tests.simulation.world import World

# Polls: a call that finds nothing is not worth a step until something has changed.
_POLLS = frozenset(
    {
        "consumer.consume before",
        "effects.consume before",
        "outcomes.read before",
        "indexer.read before",
    }
)
# Sides at which nobody else is let run: the call goes on at once.
_WITHOUT_PAUSE = frozenset(
    {"consumer.consume after", "effects.consume after", "store.close before"}
)
# Reads: where others come in between is interesting now and then, not each time.
_SELDOM_PAUSED = frozenset(
    {
        "reader.beginning_offset before",
        "reader.end_offset before",
        "reader.stable_offset before",
        "reader.read before",
        "reader.last_record before",
        "store.get_many before",
        "store.scan before",
        "transactions.flush after",
        "transactions.begin after",
        "sender.send after",
        "store.write after",
        "outstanding.catch_up before",
        "tables.load before",
        "tables.load after",
        "tables.ready before",
        "tables.ready after",
        "tables.hashes before",
        "tables.hashes after",
        "positions.acknowledge after",
    }
)
_HASTE = 0.85
_OFTEN_PAUSED = frozenset(
    {
        "transactions.begin before",
        "transactions.flush before",
        "transactions.produce after",
        "transactions.send_offsets after",
        "store.write before",
        "publisher.publish after",
        "checkpoints.publish after",
        "tables.store_entries after",
        "tables.store_bodies after",
        "tables.store_operations before",
        "tables.store_operations after",
        "tables.store_waiting before",
        "tables.store_waiting after",
        "tables.publish before",
        "tables.publish after",
    }
)
_SOME_HASTE = 0.5
# `<call> <when>`, made once each.
_NAMES: dict[tuple[str, When], str] = {}
_CRASHES = frozenset(
    {
        Fault.CRASH_BEFORE,
        Fault.CRASH_AFTER,
        Fault.RAIL_CRASH,
        Fault.GATEWAY_CRASH,
        Fault.INDEXER_CRASH,
    }
)
_HANGS = frozenset({Fault.FREEZE, Fault.ZOMBIE, Fault.HANGING, Fault.INDEXER_ZOMBIE})
_UNSTABLE_WAIT = timedelta(milliseconds=300)


class Process(Actor):
    """`main` is the program; whatever ends it is told to `ended`, and the process is dead."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(name=name)
        self.world = world
        self.is_stopping = False
        self._seen: object = None
        # The broker's version at which a poll was found not to be worth it.
        self._dull_version = -1
        self._rng = random.Random(f"{world.seed}/{name}")

    def launch(
        self, main: Callable[[], Awaitable[None]], ended: Callable[[BaseException | None], None]
    ) -> None:
        async def whole() -> None:
            error: BaseException | None = None
            try:
                await main()
            # Whatever ends a process is looked at by its supervisor.
            except BaseException as caught:  # noqa: BLE001
                error = caught
            self.is_dead = True
            self.world.scheduler.abandon(self)
            ended(error)

        self.world.scheduler.loop.create_task(whole())

    def now(self) -> datetime:
        """What this process takes for the time."""
        return self.world.scheduler.now + self.skew

    async def sleep(self, duration: timedelta) -> None:
        """At least that long: nobody is woken on the dot."""
        scheduler = self.world.scheduler
        stretched = duration * (1 + 6 * self._rng.random())
        await scheduler.park(self, "sleep", wake_at=scheduler.now + stretched)

    def sight(self) -> object:
        """What its poll would look at: while that is as it was, and nothing is `unread`, the poll finds nothing."""
        return None

    def unread(self) -> bool:
        """Whether records lie before it that it may read."""
        return False

    def looks_again_at(self) -> datetime | None:
        """When its poll is worth it though nothing came: for what waits for time."""
        return None

    def has_news(self) -> bool:
        """Whether something of its own waits to be looked at by its next poll."""
        return False

    def is_worth_polling(self) -> bool:
        if self.has_news():
            return True
        version = self.world.kafka.version
        if version == self._dull_version:
            return False
        if self.unread() or self.sight() != self._seen:
            return True
        self._dull_version = version
        return False

    async def hook(self, call: PortCall) -> None:
        """Raises Stopped, or what the plan has for this call."""
        side = call.call, call.when
        name = _NAMES.get(side) or _NAMES.setdefault(side, f"{call.call} {call.when}")
        if self.is_dead:
            raise Stopped(self.name)
        fault = self.world.faults.due(name)
        if fault is not None:
            self._suffer(fault, name)
        if self._goes_on_at_once(name):
            return
        if name == "reader.committed_offset.unstable before":
            await self.sleep(_UNSTABLE_WAIT)
            return
        scheduler = self.world.scheduler
        if name in _POLLS:
            wake_at = self.looks_again_at()
            await scheduler.park(self, name, when=self.is_worth_polling, wake_at=wake_at)
            self._seen, self._dull_version = self.sight(), -1
        else:
            await scheduler.park(self, name)

    def _goes_on_at_once(self, name: str) -> bool:
        if name in _WITHOUT_PAUSE:
            return True
        haste = _HASTE if name in _SELDOM_PAUSED else _SOME_HASTE if name in _OFTEN_PAUSED else 0
        return haste > 0 and self._rng.random() < haste

    def _suffer(self, fault: Fault, name: str) -> None:
        world = self.world
        error = error_of(fault, name)
        if fault in _CRASHES or error is not None:
            world.happened(fault, f"{self.name}: {fault.value} at {name}")
        if fault in _CRASHES:
            self.is_dead = True
            world.scheduler.abandon(self)
            raise Stopped(self.name)
        if error is not None:
            raise error
        if fault is Fault.STOP:
            world.happened(fault, f"{self.name}: told to stop at {name}")
            self.is_stopping = True
        elif fault in _HANGS:
            self.freeze(fault, name)

    def freeze(self, fault: Fault, where: str) -> None:
        """Hang where it is, for less than a session; a supervisor may know worse."""
        self.world.happened(Fault.FREEZE, f"{self.name}: {fault.value} at {where}, for a moment")
        self.world.scheduler.freeze(self, timedelta(seconds=3))


class Tool(Process):
    """A command line of an operator's: what fails in it is not what a run is about."""

    def _suffer(self, fault: Fault, name: str) -> None:
        assert fault
        assert name

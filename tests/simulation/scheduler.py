"""Who runs next, and what time it is: every suspension of a process is a parked call, and one seed picks among them.

Time stands still while somebody can run, but for a few milliseconds a step; when nobody can, it goes to whatever is
waited for next. A poll that found nothing waits until something has changed, so that idling costs no steps.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from tests.simulation.stepping import StepLoop
from tests.support.builders import T0

if TYPE_CHECKING:
    from asyncio import Future

_STEP_MICROSECONDS_MAX = 40_000
# Now and then a step takes seconds, so that time-outs and work race.
_SLOW_STEPS = 0.005
_SLOW_MICROSECONDS_MAX = 6_000_000


class Step(Enum):
    """What a step was: somebody ran, only time passed, or nothing will ever happen again."""

    RAN = "ran"
    TIME_PASSED = "time passed"
    STUCK = "stuck"


class Stopped(BaseException):
    """The process is gone: nothing of it runs any more, not even an `except Exception`."""


@dataclass(slots=True, eq=False)
class Actor:
    """Who parks calls: a process or a client. A frozen one hangs in whatever it was doing."""

    name: str
    is_dead: bool = False
    frozen_until: datetime | None = None
    # How far its clock is off.
    skew: timedelta = field(default_factory=timedelta)


@dataclass(slots=True, eq=False)
class Parked:
    """One suspended call. `wake_at` = not before, unless `until` is done; `when` = a poll is worth a step if so."""

    actor: Actor
    label: str
    future: "Future[Any]"
    wake_at: datetime | None = None
    until: "Future[Any] | None" = None
    when: Callable[[], bool] | None = None

    def abandon(self) -> None:
        if not self.future.done():
            self.future.set_exception(Stopped(self.actor.name))


@dataclass(slots=True, eq=False)
class Event:
    """Something that happens to the world at its time: a session ends, a supervisor starts a process again."""

    at: datetime
    act: Callable[[], None]
    label: str


class Scheduler:
    """`park` from inside a coroutine; `step` from outside."""

    def __init__(self, rng: random.Random) -> None:
        self.loop = StepLoop()
        self.now = T0
        self.steps = 0
        self._rng = rng
        self._parked: list[Parked] = []
        self._events: list[Event] = []
        self._digest = blake2b(digest_size=16)
        # How much further an idle world may jump than to what is waited for next.
        self.idle_leap = timedelta()

    @property
    def digest(self) -> str:
        """Of every step so far: two runs that agree on it were the same run."""
        return self._digest.copy().hexdigest()

    def note(self, text: str) -> None:
        """Into the digest."""
        self._digest.update(text.encode())

    async def park(
        self,
        actor: Actor,
        label: str,
        *,
        wake_at: datetime | None = None,
        until: "Future[Any] | None" = None,
        when: Callable[[], bool] | None = None,
    ) -> None:
        """Suspend until chosen. Raises Stopped where the actor died meanwhile."""
        if actor.is_dead:
            raise Stopped(actor.name)
        future = self.loop.create_future()
        parked = Parked(actor, label, future, wake_at, until, when)
        self._parked.append(parked)
        try:
            await future
        except BaseException:
            # A cancelled wait leaves nothing behind; who was chosen was taken out by the step.
            if parked in self._parked:
                self._parked.remove(parked)
            raise
        if actor.is_dead:
            raise Stopped(actor.name)

    def at(self, at: datetime, act: Callable[[], None], label: str) -> None:
        self._events.append(Event(at=at, act=act, label=label))

    def abandon(self, actor: Actor) -> None:
        """The actor is dead: everything that it waits for ends."""
        for parked in [parked for parked in self._parked if parked.actor is actor]:
            parked.abandon()

    def step(self) -> Step:
        """Let one of those run who can, or else let time pass."""
        self.steps += 1
        self._fire_events()
        now = self.now
        ready = [
            parked
            for parked in self._parked
            if (parked.actor.frozen_until is None or self._is_thawed(parked.actor))
            and (
                (parked.wake_at is None and parked.when is None)
                or (parked.wake_at is not None and now >= parked.wake_at)
                or (parked.until is not None and parked.until.done())
                or (parked.when is not None and parked.when())
            )
        ]
        if not ready:
            return self._pass_time()
        chosen = ready[self._rng.randrange(len(ready))] if len(ready) > 1 else ready[0]
        self._parked.remove(chosen)
        self.note(f"{chosen.actor.name} {chosen.label}\n")
        self._tick_clock()
        if not chosen.future.done():
            chosen.future.set_result(None)
        self.loop.settle()
        return Step.RAN

    def freeze(self, actor: Actor, duration: timedelta) -> None:
        actor.frozen_until = self.now + duration

    def close(self) -> None:
        """Nobody waits any more: every task ends."""
        for _ in range(50):
            parked = list(self._parked)
            if not parked:
                return
            for one in parked:
                one.actor.is_dead = True
                one.abandon()
            self.loop.settle()

    def waiting(self) -> list[str]:
        """For a report: who waits for what."""
        return [f"{parked.actor.name}: {parked.label}" for parked in self._parked]

    def _is_thawed(self, actor: Actor) -> bool:
        if actor.frozen_until is not None and self.now < actor.frozen_until:
            return False
        actor.frozen_until = None
        return True

    def _tick_clock(self) -> None:
        drawn = self._rng.random()
        microseconds = int(drawn * _STEP_MICROSECONDS_MAX)
        if drawn < _SLOW_STEPS:
            microseconds = int(self._rng.random() * _SLOW_MICROSECONDS_MAX)
        self.now += timedelta(0, 0, microseconds)

    def _pass_time(self) -> Step:
        times = [event.at for event in self._events]
        for parked in self._parked:
            frozen = parked.actor.frozen_until
            if frozen is not None:
                times.append(frozen)
            elif parked.wake_at is not None:
                times.append(parked.wake_at)
        later = [at for at in times if at > self.now]
        if not later:
            return Step.STUCK
        self.now = min(later)
        if self.idle_leap:
            self.now += self.idle_leap * self._rng.random()
        self.note(f"time {self.now.isoformat()}\n")
        return Step.TIME_PASSED

    def _fire_events(self) -> None:
        if not self._events or min(event.at for event in self._events) > self.now:
            return
        due = [event for event in self._events if event.at <= self.now]
        due.sort(key=lambda event: event.at)
        self._events = [event for event in self._events if event.at > self.now]
        for event in due:
            self.note(f"event {event.label}\n")
            event.act()
            self.loop.settle()

"""SIGKILL for every process of a stack in random order, while others work with it."""

import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import psutil

from tests.e2e.kills.acknowledgements import Acknowledgements
from tests.e2e.local_stack import LocalStack

TARGETS = ("harbor", "rails", "views", "gateway", "Kafka", "PostgreSQL")
# Back-off of everything that falls with a broker, on a machine that does other work.
_RECOVERY_SECONDS_MAX = 240.0
_LOOK_SECONDS = 0.1
# How often the next kill comes before the last one is recovered from.
_IN_RECOVERY = 0.25


@dataclass(slots=True, kw_only=True)
class Kill:
    """Of the process `pid`. Times are of the machine's monotonic clock; `ready_at` is set when its successor is seen.

    It stays None where the successor was killed before it was ready.
    """

    target: str
    pid: int
    at: float
    ready_at: float | None = None


class Killer:
    def __init__(self, stack: LocalStack, told: Acknowledgements, *, draw: random.Random) -> None:
        self._stack = stack
        self._told = told
        self._draw = draw
        # Of each target the last: an earlier one's successor is dead.
        self._last: dict[str, Kill] = {}

    def kill(self, times: int) -> Sequence[Kill]:
        """Every target as often as any other, in random order; returns once all is well again."""
        order: list[str] = []
        while len(order) < times:
            order += self._draw.sample(TARGETS, len(TARGETS))
        kills = []
        for target in order[:times]:
            kills.append(self._kill(target))
            if self._draw.random() < _IN_RECOVERY:
                self._pause(self._draw.uniform(0.1, 2.0))
            else:
                self.wait_until_recovered(kills[-1])
                self._pause(self._draw.uniform(0.5, 3.0))
        self.wait_until_recovered(kills[-1])
        return kills

    def wait_until_recovered(self, kill: Kill) -> None:
        """All programs are ready, also those that were killed, and something that was sent since has been answered."""
        deadline = time.monotonic() + _RECOVERY_SECONDS_MAX
        while not (self._is_ready() and self._is_answered_since(kill.at)):
            assert time.monotonic() < deadline, (
                f"not recovered from {kill}: {self._stack.last_words()}"
            )
            time.sleep(_LOOK_SECONDS)

    def _kill(self, target: str) -> Kill:
        deadline = time.monotonic() + _RECOVERY_SECONDS_MAX
        while True:
            pid = pid_of(self._look(), target)
            before = self._last.get(target)
            if pid is not None and runs(pid) and (before is None or before.pid != pid):
                os.kill(pid, signal.SIGKILL)
                kill = self._last[target] = Kill(target=target, pid=pid, at=time.monotonic())
                return kill
            assert time.monotonic() < deadline, (
                f"{target} does not come back: {self._stack.last_words()}"
            )
            time.sleep(_LOOK_SECONDS)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()
            time.sleep(_LOOK_SECONDS)

    def _look(self) -> dict[str, Any]:
        """What the supervisor says now; whose successor is ready has that noted."""
        state = self._stack.supervision()
        for kill in self._last.values():
            if kill.ready_at is None and is_ready_again(state, kill):
                kill.ready_at = time.monotonic()
        return state

    def _is_ready(self) -> bool:
        state = self._look()
        return all(kill.ready_at is not None for kill in self._last.values()) and all(
            is_ready(state, target) for target in TARGETS
        )

    def _is_answered_since(self, instant: float) -> bool:
        self._told.read()
        return bool(self._told.told) and self._told.told[-1].sent_at > instant


def is_ready_again(state: dict[str, Any], kill: Kill) -> bool:
    """By another process: until the supervisor looks, it calls the dead one ready."""
    return pid_of(state, kill.target) != kill.pid and is_ready(state, kill.target)


def is_ready(state: dict[str, Any], target: str) -> bool:
    """A server has a new pid in there once it answers."""
    pid = pid_of(state, target)
    program = state["programs"].get(target)
    return pid is not None and runs(pid) and (program is None or program["state"] == "ready")


def pid_of(state: dict[str, Any], target: str) -> int | None:
    entry = state["servers"].get(target) or state["programs"].get(target)
    return None if entry is None else entry["pid"]


def runs(pid: int) -> bool:
    """A dead process that nobody has waited for keeps its pid, and runs no more."""
    try:
        status = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return bool(status != psutil.STATUS_ZOMBIE)


def recovery_table(kills: Sequence[Kill], told: Acknowledgements) -> str:
    """Per target: how often it was killed, the seconds until it was ready, and until something sent since was answered.

    A kill whose successor was killed before it was ready counts, and has no time of its own to be ready.
    """
    rows = []
    for target in TARGETS:
        of_target = [kill for kill in kills if kill.target == target]
        ready = [kill.ready_at - kill.at for kill in of_target if kill.ready_at is not None]
        answered = [
            first.acknowledged_at - kill.at
            for kill in of_target
            if (first := told.first_sent_after(kill.at)) is not None
        ]
        if of_target:
            rows.append(
                f"{target:<12}{len(of_target):>4} kills   ready again after {_spread(ready)};"
                f" next answer after {_spread(answered)}"
            )
    return "\n".join(rows)


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "no time that was seen"
    return (
        f"{min(seconds):.1f} s at best, {median(seconds):.1f} s in the middle,"
        f" {max(seconds):.1f} s at worst"
    )

"""SIGKILL for every process of a stack in random order, while others work with it."""

import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """`at` is of the machine's monotonic clock."""

    target: str
    at: float


class Killer:
    def __init__(self, stack: LocalStack, told: Acknowledgements, *, draw: random.Random) -> None:
        self._stack = stack
        self._told = told
        self._draw = draw

    def kill(self, times: int) -> Sequence[Kill]:
        """Every target as often as any other, in random order; returns once all is well again."""
        order: list[str] = []
        while len(order) < times:
            order += self._draw.sample(TARGETS, len(TARGETS))
        kills = []
        for target in order[:times]:
            kills.append(self._kill(target))
            if self._draw.random() < _IN_RECOVERY:
                time.sleep(self._draw.uniform(0.1, 2.0))
            else:
                self.wait_until_recovered(kills[-1])
                time.sleep(self._draw.uniform(0.5, 3.0))
        self.wait_until_recovered(kills[-1])
        return kills

    def wait_until_recovered(self, kill: Kill) -> None:
        """All programs are ready, and something that was sent after the kill has been answered."""
        deadline = time.monotonic() + _RECOVERY_SECONDS_MAX
        while not (self._is_ready() and self._is_answered_since(kill.at)):
            assert time.monotonic() < deadline, (
                f"not recovered from {kill}: {self._stack.last_words()}"
            )
            time.sleep(_LOOK_SECONDS)

    def _kill(self, target: str) -> Kill:
        deadline = time.monotonic() + _RECOVERY_SECONDS_MAX
        while True:
            pid = _pid_of(self._stack.supervision(), target)
            if pid is not None and psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
                return Kill(target=target, at=time.monotonic())
            assert time.monotonic() < deadline, (
                f"{target} does not come back: {self._stack.last_words()}"
            )
            time.sleep(_LOOK_SECONDS)

    def _is_ready(self) -> bool:
        state = self._stack.supervision()
        servers = all(_runs(entry["pid"]) for entry in state["servers"].values())
        programs = state["programs"].values()
        return servers and all(
            entry["state"] == "ready" and _runs(entry["pid"]) for entry in programs
        )

    def _is_answered_since(self, instant: float) -> bool:
        self._told.read()
        return bool(self._told.told) and self._told.told[-1].sent_at > instant


def _pid_of(state: dict[str, Any], target: str) -> int | None:
    entry = state["servers"].get(target) or state["programs"].get(target)
    return None if entry is None else entry["pid"]


def _runs(pid: int | None) -> bool:
    return pid is not None and psutil.pid_exists(pid)


def recovery_table(kills: Sequence[Kill], told: Acknowledgements) -> str:
    """Per target: how often it was killed, and the seconds until something sent after it was answered."""
    rows = []
    for target in TARGETS:
        seconds = sorted(
            first.acknowledged_at - kill.at
            for kill in kills
            if kill.target == target and (first := told.first_sent_after(kill.at)) is not None
        )
        if seconds:
            median = seconds[len(seconds) // 2]
            rows.append(
                f"{target:<12}{len(seconds):>4} kills   next answer after {seconds[0]:5.1f} s at best,"
                f" {median:5.1f} s in the middle, {seconds[-1]:5.1f} s at worst"
            )
    return "\n".join(rows)

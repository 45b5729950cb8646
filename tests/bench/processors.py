"""Whose the processors were while something was measured: the broker's, the load generator's, the program's."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

from tests.bench.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """`seconds` of processor time by name, within `wall` seconds."""

    seconds: Mapping[str, float]
    wall: float

    def figures(self, while_what: str) -> Iterator[Figure]:
        processors = os.cpu_count() or 1
        for name, seconds in self.seconds.items():
            yield Figure(
                name=f"{name}'s share of all processors, {while_what}",
                value=100 * seconds / (self.wall * processors),
                unit="%",
            )


class Processors:
    """`pids` by name; a process's children count as it."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._began = time.perf_counter()
        self._before = self._seconds()

    def usage(self) -> Usage:
        """Since this was made."""
        now = self._seconds()
        return Usage(
            seconds={name: now[name] - self._before[name] for name in now},
            wall=time.perf_counter() - self._began,
        )

    def _seconds(self) -> dict[str, float]:
        return {name: processor_seconds(process) for name, process in self._processes.items()}


def processor_seconds(process: psutil.Process) -> float:
    # Children come and go; one that ended between the listing and the look is not worth a failed run.
    family = [process]
    if process.pid != os.getpid():
        family += process.children(recursive=True)
    total = 0.0
    for one in family:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def resident_megabytes(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6

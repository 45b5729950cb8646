"""A figure with its goal, the table of a run, and the file that other tools read.

The file keeps the lines of benchmarks that were not run this time; each line says when, where and with which share of
the work it was measured.
"""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(".paybond") / "bench.json"


class Bound(StrEnum):
    """Which side of its goal a figure must be on."""

    AT_LEAST = "≥"
    AT_MOST = "≤"
    BELOW = "<"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    bound: Bound
    value: float

    def __str__(self) -> str:
        return f"{self.bound} {self.value:g}"

    def is_met_by(self, value: float) -> bool:
        match self.bound:
            case Bound.AT_LEAST:
                return value >= self.value
            case Bound.AT_MOST:
                return value <= self.value
            case Bound.BELOW:
                return value < self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`goal` None: a figure that only explains another one."""

    name: str
    value: float
    unit: str
    goal: Goal | None = None

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.goal.is_met_by(self.value)

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One benchmark's run. `error` None: it came to its end. `load`: of the machine before it began (1 minute)."""

    benchmark: str
    share: float
    measured_at: str
    load: float
    figures: Sequence[Figure]
    error: str | None = None

    def circumstances(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "share": self.share,
            "measured_at": self.measured_at,
            "load_before": self.load,
            "machine": machine(),
        }


@dataclass(slots=True)
class Results:
    """What the file says: lines and failures, as documents."""

    figures: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)

    def take(self, run: Measured) -> None:
        """A run that ended replaces all lines of its benchmark; one that failed only those that it measured."""
        names = {figure.name for figure in run.figures}
        self.figures = [
            line
            for line in self.figures
            if line["benchmark"] != run.benchmark
            or (run.error is not None and line["name"] not in names)
        ]
        self.figures += [figure.document() | run.circumstances() for figure in run.figures]
        self.failed = [line for line in self.failed if line["benchmark"] != run.benchmark]
        if run.error is not None:
            self.failed.append(run.circumstances() | {"error": run.error})


def at_least(value: float) -> Goal:
    return Goal(bound=Bound.AT_LEAST, value=value)


def at_most(value: float) -> Goal:
    return Goal(bound=Bound.AT_MOST, value=value)


def below(value: float) -> Goal:
    return Goal(bound=Bound.BELOW, value=value)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> dict[str, Any]:
    return {
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table("figure", "value", "unit", "goal", "met", title="Paybond's figures")
    for figure in figures:
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        goal = "" if figure.goal is None else str(figure.goal)
        table.add_row(figure.name, f"{figure.value:,.4g}", figure.unit, goal, met)
    console.print(table)


def note(run: Measured, path: Path = RESULTS) -> None:
    """Take a run into the file; what it says of other benchmarks stays."""
    results = Results()
    if path.exists():
        known = json.loads(path.read_text())
        # A file of before lines said whose they are is of no use.
        results.figures = [line for line in known["figures"] if "benchmark" in line]
        results.failed = known.get("failed", [])
    results.take(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"figures": results.figures, "failed": results.failed}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")

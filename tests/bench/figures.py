"""A figure with its goal, the table of a run, and the file that other tools read."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    bound: Bound
    value: float

    def __str__(self) -> str:
        return f"{self.bound} {self.value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`goal` None: a figure that only explains another one."""

    name: str
    value: float
    unit: str
    goal: Goal | None = None

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        if self.goal.bound is Bound.AT_LEAST:
            return self.value >= self.goal.value
        return self.value <= self.goal.value

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
        }


def at_least(value: float) -> Goal:
    return Goal(bound=Bound.AT_LEAST, value=value)


def at_most(value: float) -> Goal:
    return Goal(bound=Bound.AT_MOST, value=value)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table("figure", "value", "unit", "goal", "met", title="Paybond's figures")
    for figure in figures:
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        goal = "" if figure.goal is None else str(figure.goal)
        table.add_row(figure.name, f"{figure.value:,.4g}", figure.unit, goal, met)
    console.print(table)


def write(figures: Sequence[Figure], path: Path = RESULTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": {
            "processors": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "figures": [figure.document() for figure in figures],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")

"""A figure is judged by its own goal, and what is written says the same as what is shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.bench import __main__ as program
from tests.bench.figures import (
    Figure,
    Goal,
    Measured,
    at_least,
    at_most,
    below,
    median,
    note,
    quantile,
    show,
)

FAST = Figure(name="speed", value=12.0, unit="commands/s", goal=at_least(10))
SLOW = Figure(name="p99", value=120.0, unit="ms", goal=at_most(80))
PLAIN = Figure(name="records", value=7.0, unit="records")


def measured(
    benchmark: str, *figures: Figure, share: float = 1.0, error: str | None = None
) -> Measured:
    return Measured(
        benchmark=benchmark,
        share=share,
        measured_at="2026-01-05T12:00:00Z",
        load=1.5,
        figures=figures,
        error=error,
    )


def figures_in(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["figures"]
    return found


@pytest.mark.parametrize(
    ("value", "goal", "met"),
    [
        (10.0, at_least(10), True),
        (9.9, at_least(10), False),
        (80.0, at_most(80), True),
        (80.1, at_most(80), False),
        (49.9, below(50), True),
        (50.0, below(50), False),
    ],
)
def test_a_goal_is_met_at_its_bound_and_missed_past_it(
    value: float, goal: Goal, met: object
) -> None:
    figure = Figure(name="it", value=value, unit="x", goal=goal)

    assert figure.met is met


def test_a_figure_without_a_goal_is_neither_met_nor_missed() -> None:
    assert PLAIN.met is None


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]

    assert [quantile(values, share) for share in (0.0, 0.5, 0.99)] == [1.0, 3.0, 5.0]


def test_a_median_of_rounds_is_not_moved_by_one_slow_round() -> None:
    assert median([10.0, 11.0, 90.0]) == 11.0


def test_the_file_holds_name_value_unit_goal_and_met(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "bench.json"

    note(measured("harbor", FAST, SLOW, PLAIN), path)

    lines = figures_in(path)
    assert {name: lines[0][name] for name in ("name", "value", "unit", "goal", "met")} == {
        "name": "speed",
        "value": 12.0,
        "unit": "commands/s",
        "goal": "≥ 10",
        "met": True,
    }
    assert [line["met"] for line in lines] == [True, False, None]


def test_each_line_says_its_benchmark_its_share_its_date_and_its_machine(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"

    note(measured("harbor", FAST, share=0.25), path)

    [line] = figures_in(path)
    assert (line["benchmark"], line["share"]) == ("harbor", 0.25)
    assert (line["measured_at"], line["load_before"]) == ("2026-01-05T12:00:00Z", 1.5)
    assert set(line["machine"]) == {"processors", "system", "python"}


def test_a_run_of_one_benchmark_keeps_the_lines_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    note(measured("harbor", FAST, PLAIN), path)
    note(measured("gateway", SLOW), path)

    note(measured("harbor", FAST, share=0.5), path)

    assert [(line["name"], line["share"]) for line in figures_in(path)] == [
        ("p99", 1.0),
        ("speed", 0.5),
    ]


def test_a_failed_run_is_noted_until_the_next_and_loses_no_older_line(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    note(measured("harbor", FAST, PLAIN), path)

    note(measured("harbor", FAST, share=0.5, error="RuntimeError('no broker')"), path)

    assert {line["name"]: line["share"] for line in figures_in(path)} == {
        "records": 1.0,
        "speed": 0.5,
    }
    [failed] = json.loads(path.read_text())["failed"]
    assert (failed["benchmark"], failed["error"]) == ("harbor", "RuntimeError('no broker')")
    note(measured("harbor", FAST), path)
    assert json.loads(path.read_text())["failed"] == []


def test_the_table_names_a_missed_goal() -> None:
    console = Console(record=True, width=120)

    show([FAST, SLOW, PLAIN], console)

    lines = console.export_text().splitlines()
    assert "NO" in next(line for line in lines if "p99" in line)
    assert "yes" in next(line for line in lines if "speed" in line)


def test_a_benchmark_that_can_not_be_run_is_said_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_share: float) -> Iterator[Figure]:
        yield PLAIN
        raise RuntimeError("no broker")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "BENCHMARKS", {"broken": broken, "good": lambda _: iter([SLOW])})

    status = program.main([])

    assert status == 1
    assert "could not be run: broken" in capsys.readouterr().out
    path = tmp_path / ".paybond" / "bench.json"
    assert len(figures_in(path)) == 2
    assert json.loads(path.read_text())["failed"][0]["benchmark"] == "broken"


def test_a_missed_goal_alone_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "BENCHMARKS", {"slow": lambda _: iter([SLOW])})

    assert program.main(["slow"]) == 0

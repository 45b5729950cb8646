"""A figure is judged by its own goal, and what is written says the same as what is shown."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench import __main__ as program
from tests.bench.figures import Figure, at_least, at_most, quantile, show, write

FAST = Figure(name="speed", value=12.0, unit="commands/s", goal=at_least(10))
SLOW = Figure(name="p99", value=120.0, unit="ms", goal=at_most(80))
PLAIN = Figure(name="records", value=7.0, unit="records")


@pytest.mark.parametrize(
    ("value", "goal", "met"),
    [
        (10.0, at_least(10), True),
        (9.9, at_least(10), False),
        (80.0, at_most(80), True),
        (80.1, at_most(80), False),
    ],
)
def test_a_goal_is_met_at_its_bound_and_missed_past_it(
    value: float, goal: object, met: object
) -> None:
    figure = Figure(name="it", value=value, unit="x", goal=goal)  # type: ignore[arg-type]

    assert figure.met is met


def test_a_figure_without_a_goal_is_neither_met_nor_missed() -> None:
    assert PLAIN.met is None


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]

    assert [quantile(values, share) for share in (0.0, 0.5, 0.99)] == [1.0, 3.0, 5.0]


def test_the_file_holds_name_value_unit_goal_and_met(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "bench.json"

    write([FAST, SLOW, PLAIN], path)

    figures = json.loads(path.read_text())["figures"]
    assert figures[0] == {
        "name": "speed",
        "value": 12.0,
        "unit": "commands/s",
        "goal": "≥ 10",
        "met": True,
    }
    assert [figure["met"] for figure in figures] == [True, False, None]


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
    assert len(json.loads((tmp_path / ".paybond" / "bench.json").read_text())["figures"]) == 2


def test_a_missed_goal_alone_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "BENCHMARKS", {"slow": lambda _: iter([SLOW])})

    assert program.main(["slow"]) == 0

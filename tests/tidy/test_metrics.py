"""A metric that is declared is counted somewhere: one that stays away for ever looks like good news."""

from pathlib import Path
from typing import get_args

import pytest

from streams.runtime.metrics import CounterName, GaugeName, HistogramName

ROOT = Path(__file__).parents[2]
DECLARED_IN = ROOT / "streams" / "runtime" / "metrics.py"
NAMES = (*get_args(CounterName), *get_args(GaugeName), *get_args(HistogramName))


@pytest.fixture(scope="module")
def programs() -> str:
    sources = [
        path for part in ("harbor", "gateway", "streams") for path in (ROOT / part).rglob("*.py")
    ]
    return "".join(path.read_text() for path in sources if path != DECLARED_IN)


@pytest.mark.parametrize("name", NAMES)
def test_a_declared_metric_is_counted(name: str, programs: str) -> None:
    assert f'"{name}"' in programs

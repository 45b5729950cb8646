"""Figures a test is run for: part of its report, since what a worker prints is not shown; they are printed last."""

from collections.abc import Iterator

import pytest

PROPERTY = "figures"


def figures_of(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    """What tests recorded under `PROPERTY`, whether they passed or not."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if report.when == "call":
                yield from (
                    str(value) for name, value in report.user_properties if name == PROPERTY
                )

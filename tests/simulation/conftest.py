"""Runs in this process say nothing: their outages and fences are what they are about."""

from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.run import be_quiet


@pytest.fixture(scope="package", autouse=True)
def _quiet() -> Iterator[None]:
    be_quiet()
    yield
    structlog.reset_defaults()

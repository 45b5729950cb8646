"""A program's collector leaves alone what stood at its start, and goes on collecting the rest."""

import gc
from collections.abc import Iterator

import pytest

from streams.runtime.collector import spare_what_stands


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_stands_is_in_no_later_collection() -> None:
    standing = [object()]

    spare_what_stands()

    assert not any(one is standing for one in gc.get_objects())


def test_cycles_made_later_are_still_collected() -> None:
    spare_what_stands()
    before = len(gc.get_objects())
    for _ in range(100_000):
        cycle: list[object] = []
        cycle.append(cycle)
    assert len(gc.get_objects()) < before + 50_000

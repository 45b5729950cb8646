"""Tests for `test_lane.py` to run in sessions of its own; the name keeps them out of every other one."""

import threading
from collections.abc import Callable

import pytest


@pytest.mark.apache_only
def test_of_apache(show_at_end: Callable[[str], None]) -> None:
    show_at_end("figures: 42 of them")


def test_of_any_broker() -> None:
    pass


def test_that_is_skipped() -> None:
    pytest.skip("to see what the lane says")


def test_that_fails() -> None:
    pytest.fail("this is why")


def test_that_hangs() -> None:
    threading.Event().wait()

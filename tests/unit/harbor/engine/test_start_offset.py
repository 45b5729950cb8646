"""Where a partition goes on: every branch of step (1), and that no pair of offsets ever skips a command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor.engine.assignment import Stop, start_offset

OFFSETS = st.one_of(st.none(), st.integers(min_value=0, max_value=20))


def test_a_group_that_stands_where_the_transaction_stands_goes_on_there() -> None:
    assert start_offset(committed=7, position=7, beginning=0) == 7


@pytest.mark.parametrize("committed", [None, 0, 6])
def test_a_group_moved_back_or_lost_changes_nothing(committed: int | None) -> None:
    assert start_offset(committed=committed, position=7, beginning=3) == 7


@pytest.mark.parametrize("committed", [None, 0])
def test_without_any_record_a_whole_log_is_read_from_its_first_command(
    committed: int | None,
) -> None:
    assert start_offset(committed=committed, position=None, beginning=0) == 0


@pytest.mark.parametrize("committed", [None, 0])
def test_without_any_record_a_log_that_lost_its_beginning_stops(committed: int | None) -> None:
    stop = start_offset(committed=committed, position=None, beginning=1)

    assert isinstance(stop, Stop)
    assert "may be lost" in stop.reason


def test_a_group_that_was_moved_forward_stops() -> None:
    stop = start_offset(committed=8, position=7, beginning=0)

    assert isinstance(stop, Stop)
    assert "would be skipped" in stop.reason


def test_a_group_that_stands_somewhere_before_any_transaction_stops() -> None:
    stop = start_offset(committed=1, position=None, beginning=0)

    assert isinstance(stop, Stop)
    assert "no transaction ever decided" in stop.reason


def test_a_position_below_the_beginning_of_the_log_stops() -> None:
    stop = start_offset(committed=7, position=7, beginning=8)

    assert isinstance(stop, Stop)
    assert "deleted before they were decided" in stop.reason


def test_a_position_at_the_very_beginning_of_the_log_goes_on() -> None:
    assert start_offset(committed=8, position=8, beginning=8) == 8


@given(committed=OFFSETS, position=OFFSETS, beginning=st.integers(min_value=0, max_value=20))
def test_a_start_neither_skips_nor_repeats_a_decided_command(
    committed: int | None, position: int | None, beginning: int
) -> None:
    start = start_offset(committed=committed, position=position, beginning=beginning)

    if not isinstance(start, Stop):
        assert start == (position or 0)
        assert start >= beginning
        assert committed is None or committed <= start

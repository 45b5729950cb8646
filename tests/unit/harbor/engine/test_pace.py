"""How many commands a batch may have, after what it cost to decide the last ones."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from harbor.engine.pace import ABORTS_MAX, DECIDED_MAX, Pace

QUICK = timedelta(milliseconds=100)


def test_quick_batches_stay_as_large_as_they_may_be() -> None:
    pace = Pace(2_000)

    pace.committed(2_000, took=QUICK)

    assert pace.records_max == 2_000


def test_a_slow_batch_makes_the_next_as_large_as_a_second_allows_and_quick_ones_let_it_grow() -> (
    None
):
    pace = Pace(2_000)

    pace.committed(100, took=timedelta(seconds=40))
    slow = pace.records_max
    grown = []
    for _ in range(11):
        pace.committed(pace.records_max, took=QUICK)
        grown.append(pace.records_max)

    assert slow == 2
    assert grown == [4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_000, 2_000]


def test_an_aborted_batch_comes_again_in_halves() -> None:
    pace = Pace(2_000)

    pace.aborted(740)
    first = pace.records_max
    pace.aborted(first)

    assert (first, pace.records_max) == (370, 185)


def test_aborts_in_a_row_are_no_rebalance() -> None:
    pace = Pace(10)
    for _ in range(ABORTS_MAX - 1):
        pace.aborted(5)
    early = pace.is_stuck
    pace.committed(1, took=QUICK)
    for _ in range(ABORTS_MAX):
        pace.aborted(5)

    assert not early
    assert pace.is_stuck


@given(st.lists(st.tuples(st.integers(1, 2_000), st.integers(-1_000_000, 1_000_000_000))))
def test_there_is_always_room_for_one_and_never_for_more_than_the_most(
    batches: list[tuple[int, int]],
) -> None:
    pace = Pace(2_000)
    for records, micros in batches:
        pace.committed(records, took=timedelta(microseconds=micros))
        if micros % 7 == 0:
            pace.aborted(records)

        assert 1 <= pace.records_max <= 2_000
        if timedelta(microseconds=micros) > DECIDED_MAX:
            assert pace.records_max <= records

"""A crashed program comes back after a pause that grows with its crashes, up to a cap."""

import signal
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.restart_policy import (
    DELAY_MAX,
    FIRST_DELAY,
    HEALTHY_AFTER,
    SESSION,
    must_restart_broker,
    next_restart,
)

A_MOMENT = timedelta(seconds=2)


def delays(crashes: int, first: timedelta) -> list[timedelta]:
    return [
        next_restart(crashes_before=before, lived=A_MOMENT, first_delay=first).delay
        for before in range(crashes)
    ]


def test_each_crash_doubles_the_pause_up_to_the_cap() -> None:
    seconds = [delay.total_seconds() for delay in delays(7, FIRST_DELAY)]

    assert seconds == [1, 2, 4, 8, 16, 30, 30]


def test_a_harbor_never_comes_back_within_the_session_of_its_predecessor() -> None:
    assert min(delays(5, SESSION)) >= SESSION


def test_a_healthy_life_forgives_what_was_before() -> None:
    restart = next_restart(crashes_before=9, lived=HEALTHY_AFTER, first_delay=FIRST_DELAY)

    assert (restart.crashes, restart.delay) == (1, FIRST_DELAY)


@given(crashes_before=st.integers(0, 10_000), lived=st.timedeltas(min_value=timedelta(0)))
def test_no_pause_is_longer_than_the_cap_or_shorter_than_the_first(
    crashes_before: int, lived: timedelta
) -> None:
    restart = next_restart(crashes_before=crashes_before, lived=lived, first_delay=FIRST_DELAY)

    assert FIRST_DELAY <= restart.delay <= DELAY_MAX


@pytest.mark.parametrize(
    ("is_embedded", "is_group_member", "exit_status", "expected"),
    [
        (True, True, -signal.SIGKILL, True),
        (True, True, -signal.SIGSEGV, True),
        (True, True, 1, False),
        (True, True, 0, False),
        (True, False, -signal.SIGKILL, False),
        (False, True, -signal.SIGKILL, False),
    ],
)
def test_only_a_killed_group_member_on_the_embedded_broker_costs_a_broker_restart(
    *, is_embedded: bool, is_group_member: bool, exit_status: int, expected: bool
) -> None:
    must = must_restart_broker(
        is_embedded=is_embedded, is_group_member=is_group_member, exit_status=exit_status
    )

    assert must is expected

"""How the Apache lane judges a session whose tests run in a worker, and what such a session prints last."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SAMPLE = Path(__file__).with_name("sample_lane.py")
_ROOT = Path(__file__).parents[3]


def lane(*tests: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
            *("--apache-lane", "--numprocesses", "1", "--timeout", "5"),
            *(f"{_SAMPLE}::{test}" for test in tests),
        ],
        # No test of the sample asks for the broker, so none has to be there.
        env={**os.environ, "PAYBOND_TEST_KAFKA": "127.0.0.1:1"},
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_lane_with_a_test_of_apache_passes_and_shows_its_figures() -> None:
    ran = lane("test_of_apache", "test_of_any_broker")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert "figures: 42 of them" in lines
    assert any(
        line.endswith("1 apache_only tests passed (must be > 0), 0 skipped (must be 0)")
        for line in lines
    )


def test_a_lane_without_a_test_of_apache_fails() -> None:
    ran = lane("test_of_any_broker")

    assert "1 passed" in ran.stdout
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED


def test_a_lane_that_skips_a_test_fails() -> None:
    ran = lane("test_of_apache", "test_that_is_skipped")

    assert "1 passed, 1 skipped" in ran.stdout
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED


def test_what_fails_is_said_when_it_fails() -> None:
    ran = lane("test_that_fails", "test_of_apache")

    during, _, after = ran.stdout.partition("= FAILURES =")
    assert f"FAILED {_SAMPLE.relative_to(_ROOT)}::test_that_fails (call, 0 s)" in during
    assert "this is why" in during
    assert "this is why" in after


def test_a_test_that_hangs_fails_by_its_name_and_the_others_go_on() -> None:
    ran = lane("test_that_hangs", "test_of_apache")

    assert "test_that_hangs (call, 5 s)" in ran.stdout
    assert "Timeout (>5.0s)" in ran.stdout
    assert "1 failed, 1 passed" in ran.stdout

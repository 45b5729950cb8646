"""Only one supervisor runs in a folder, and what a dead one said of itself does not count."""

from pathlib import Path

import pytest

from deploy.local.running_lock import (
    AlreadyRunningError,
    held_lock,
    is_held,
    read_state,
    wait_until_free,
    write_state,
)


def test_a_second_holder_is_told_that_one_is_there(tmp_path: Path) -> None:
    with held_lock(tmp_path), pytest.raises(AlreadyRunningError), held_lock(tmp_path):
        pass


def test_the_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    with held_lock(tmp_path):
        assert is_held(tmp_path)

    assert not is_held(tmp_path)
    assert wait_until_free(tmp_path, seconds_max=0)


def test_a_lock_that_stays_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with held_lock(tmp_path):
        assert not wait_until_free(tmp_path, seconds_max=0)


def test_a_holders_state_is_read_while_it_holds_the_lock(tmp_path: Path) -> None:
    with held_lock(tmp_path):
        write_state(tmp_path, {"pid": 1})

        assert read_state(tmp_path) == {"pid": 1}


def test_the_state_of_a_dead_holder_does_not_count(tmp_path: Path) -> None:
    with held_lock(tmp_path):
        write_state(tmp_path, {"pid": 1})

    assert read_state(tmp_path) is None


def test_a_new_holder_says_nothing_until_it_speaks_for_itself(tmp_path: Path) -> None:
    with held_lock(tmp_path):
        write_state(tmp_path, {"pid": 1})

    with held_lock(tmp_path):
        assert read_state(tmp_path) is None


def test_nothing_is_made_where_nobody_ever_ran(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()

"""A dossier is there whole or not at all, and never in the place of another."""

from pathlib import Path

import pytest

from harbor.inspection.new_file import check_is_new, write_new
from schemas.errors import ConfigurationError


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "dossier.json"
    check_is_new(path)
    write_new(path, "{é}\n")

    assert path.read_text() == "{é}\n"
    assert list(tmp_path.iterdir()) == [path]


def test_the_second_of_two_that_write_at_the_same_time_is_refused(tmp_path: Path) -> None:
    """Both had looked before the first one wrote."""
    path = tmp_path / "dossier.json"
    check_is_new(path)
    check_is_new(path)
    write_new(path, "first")

    with pytest.raises(ConfigurationError, match="can't be written: File exists"):
        write_new(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_new(tmp_path / "dossier.json", "x" * 100_000 + "\udc80")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_meanwhile_is_told_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be written: No such file"):
        write_new(tmp_path / "gone" / "dossier.json", "text")


def test_a_name_that_is_taken_or_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name, why in (
        ("there", "exists"),
        ("link", "exists"),
        ("no/folder", "there is no folder"),
        ("x" * 300, "File name too long"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            check_is_new(tmp_path / name)

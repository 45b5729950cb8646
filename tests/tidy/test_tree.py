"""The rules of `house_rules`, held against every tracked file."""

import subprocess
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath

import pytest

from tests.tidy import house_rules

_ROOT = Path(__file__).resolve().parents[2]
# Vectors and schemas are data from elsewhere; the licence has its own words.
_NOT_OURS = ("tests/vectors/", "LICENSE")


@cache
def _tracked() -> tuple[PurePosixPath, ...]:
    # Also what is new and not ignored: a rule must hold before the commit, not after.
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(
        PurePosixPath(name)
        for name in sorted(set(listed.stdout.splitlines()))
        if (_ROOT / name).is_file()
    )


def _ours() -> list[PurePosixPath]:
    return [path for path in _tracked() if not str(path).startswith(_NOT_OURS)]


_PYTHON = [path for path in _ours() if path.suffix == ".py"]


@pytest.mark.parametrize("path", _PYTHON, ids=str)
def test_a_module_keeps_the_rules_of_the_house(path: PurePosixPath) -> None:
    text = (_ROOT / path).read_text()

    found = [finding for rule in house_rules.PYTHON_RULES for finding in rule(path, text)]

    assert not found, f"{path}: " + "; ".join(found)


def test_no_text_has_a_trace_of_one_machine_or_a_nameless_todo() -> None:
    found = []
    for path in _ours():
        try:
            text = (_ROOT / path).read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path}: {line}" for rule in house_rules.TEXT_RULES for line in rule(path, text)]

    assert not found, "\n".join(found)


def test_every_test_folder_is_a_package() -> None:
    assert house_rules.test_folders_without_init(_tracked()) == []


def test_our_package_names_are_only_ours() -> None:
    owners = {name: list(found) for name, found in packages_distributions().items()}

    assert house_rules.strangers_with_our_names(owners) == []


def test_there_are_files_to_hold_the_rules_against() -> None:
    packages = {path.parts[0] for path in _PYTHON}

    assert packages >= set(house_rules.PACKAGES)

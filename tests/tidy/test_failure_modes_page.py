"""`failure-modes.md` and `testing.md` name tests; one that was renamed must not leave a promise behind."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
PAGE = DOCS / "operations" / "failure-modes.md"
_NAMED = re.compile(r"`([a-z0-9_/]+\.py)::(test_\w+)`")


def _tests_of(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, functions)}


def missing(page: str) -> list[str]:
    return [
        f"{file}::{test}"
        for file, test in _NAMED.findall(page)
        if test not in _tests_of(TESTS / file)
    ]


def untested(page: str) -> list[str]:
    """Rows of the tables that name no test, by their first cell."""
    rows = [line for line in page.splitlines() if line.startswith("| ") and "| what " not in line]
    return [row.split("|")[1].strip() for row in rows if not _NAMED.search(row)]


@pytest.mark.parametrize("file", [PAGE, DOCS / "testing.md"], ids=lambda file: file.name)
def test_every_test_that_the_page_names_exists(file: Path) -> None:
    page = file.read_text()

    assert _NAMED.findall(page)
    assert missing(page) == []


def test_every_failure_on_the_page_names_a_test() -> None:
    assert untested(PAGE.read_text()) == []


def test_a_name_that_is_none_and_a_row_without_one_are_found() -> None:
    page = (
        "| a | b | c | d | `tidy/test_tree.py::test_that_never_was` |\n| e | f | g | h | none |\n"
    )

    assert missing(page) == ["tidy/test_tree.py::test_that_never_was"]
    assert untested(page) == ["e"]

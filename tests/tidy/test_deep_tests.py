"""`make test-deep` runs every test that has deep numbers: one that no command asks for is a promise nobody keeps."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MAKEFILE = TESTS.parent / "Makefile"
_LISTED = re.compile(r"^DEEP_\w*TESTS := (.*)$", re.MULTILINE)
_DEEP = re.compile(r"\bdeep=\d")
# It says what a depth is, and does no more at another.
_ABOUT_DEPTH = "tests/unit/support/test_depth.py"


def listed(makefile: str) -> set[str]:
    return {path for paths in _LISTED.findall(makefile) for path in paths.split()}


def with_deep_numbers() -> set[str]:
    files = {
        str(path.relative_to(TESTS.parent))
        for path in TESTS.rglob("test_*.py")
        if _DEEP.search(path.read_text())
    }
    return files - {_ABOUT_DEPTH}


def left_out(makefile: str) -> set[str]:
    paths = listed(makefile)
    return {
        file
        for file in with_deep_numbers()
        if not any(file == path or file.startswith(f"{path}/") for path in paths)
    }


def test_every_test_with_deep_numbers_is_run_by_make_test_deep() -> None:
    assert with_deep_numbers()
    assert left_out(MAKEFILE.read_text()) == set()


def test_a_test_that_no_list_names_is_found() -> None:
    makefile = MAKEFILE.read_text().replace("tests/simulation ", "")

    assert left_out(makefile) == {
        file for file in with_deep_numbers() if file.startswith("tests/simulation/")
    }

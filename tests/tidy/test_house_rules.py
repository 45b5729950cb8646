"""Each rule of `house_rules` finds its broken example and leaves its good one alone."""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest

from tests.tidy import house_rules

_Rule = Callable[[PurePosixPath, str], Iterator[str]]
_LONG_FUNCTION = "def long() -> None:\n" + "    pass\n" * house_rules.FUNCTION_LINES_MAX
_FULL_FUNCTION = "def full() -> None:\n" + "    pass\n" * (house_rules.FUNCTION_LINES_MAX - 1)

_BROKEN: list[tuple[_Rule, str, str]] = [
    (house_rules.file_length, "harbor/a.py", "\n" * (house_rules.FILE_LINES_MAX + 1)),
    (house_rules.function_length, "harbor/a.py", _LONG_FUNCTION),
    (
        house_rules.function_length,
        "harbor/a.py",
        f"class A:\n    async {_LONG_FUNCTION.replace(chr(10), chr(10) + '    ')}",
    ),
    (house_rules.module_docstring, "harbor/a.py", "x = 1\n"),
    (house_rules.module_docstring, "harbor/__init__.py", ""),
    (house_rules.todo_without_issue, "harbor/a.py", "x = 1  # TO" + "DO: later\n"),
    (house_rules.todo_without_issue, "gateway/queries/a.sql", "-- FIX" + "ME\n"),
    (house_rules.annotations_future, "harbor/a.py", "from __future__ import annotations\n"),
    (house_rules.faust_by_name, "streams/views/a.py", "import faust\n"),
    (house_rules.faust_by_name, "streams/runtime/b.py", "from faust.types import AppT\n"),
    (house_rules.faust_by_name, "streams/runtime/b.py", "def f():\n    import mode\n"),
    (house_rules.drawer_name, "harbor/utils.py", ""),
    (house_rules.drawer_name, "gateway/common/money.py", ""),
    (house_rules.clock_read, "harbor/a.py", "t = datetime.now(UTC)\n"),
    (house_rules.clock_read, "harbor/a.py", "t = datetime.datetime.utcnow()\n"),
    (house_rules.clock_read, "harbor/a.py", "factory = datetime.now\n"),
    (house_rules.environment_read, "gateway/routes/a.py", "x = os.environ['X']\n"),
    (house_rules.environment_read, "gateway/routes/a.py", "x = os.getenv('X')\n"),
    (house_rules.environment_read, "gateway/routes/a.py", "from os import environ\n"),
    (
        house_rules.query_without_tenant,
        "gateway/queries/a.sql",
        "-- name: all_intents\n-- %(tenant_id)s\nSELECT 1;\n-- name: b\nSELECT %(tenant_id)s\n",
    ),
    (house_rules.query_without_tenant, "gateway/queries/a.sql", "SELECT 1;\n"),
    (house_rules.workplace_trace, "README.md", "get it from https://pypi" + ".org/simple\n"),
    (house_rules.workplace_trace, "Makefile", "x:\n\tcat ../sha" + "red/a.md\n"),
    (house_rules.workplace_trace, "harbor/a.py", "path = '/wor" + "k/main'\n"),
    (house_rules.workplace_trace, "harbor/a.py", "# As decided (DECISI" + "ONS 11)\n"),
]

_GOOD: list[tuple[_Rule, str, str]] = [
    (house_rules.file_length, "harbor/a.py", "\n" * house_rules.FILE_LINES_MAX),
    (house_rules.function_length, "harbor/a.py", _FULL_FUNCTION),
    (house_rules.module_docstring, "harbor/a.py", '"""What it is for."""\n'),
    (house_rules.module_docstring, "tests/unit/__init__.py", ""),
    (house_rules.todo_without_issue, "harbor/a.py", "x = 1  # TO" + "DO(#12): later\n"),
    (house_rules.todo_without_issue, "harbor/a.py", "x = 'TO" + "DO'\n"),
    (house_rules.annotations_future, "harbor/a.py", "from __future__ import division\n"),
    (house_rules.faust_by_name, "streams/runtime/agents.py", "import faust\n"),
    (house_rules.faust_by_name, "streams/views/a.py", "@faust.agent\ndef f(): ...\n"),
    (house_rules.drawer_name, "harbor/engine/common_ground.py", ""),
    (house_rules.clock_read, "streams/runtime/clock.py", "t = datetime.now(UTC)\n"),
    (house_rules.clock_read, "harbor/a.py", "t = clock.now()\n"),
    (house_rules.environment_read, "gateway/bootstrap.py", "x = os.environ['X']\n"),
    (house_rules.environment_read, "harbor/a.py", "x = os.path\n"),
    (
        house_rules.query_without_tenant,
        "gateway/queries/a.sql",
        "-- name: a\nSELECT %(tenant_id)s;\n-- name: set_tenant\nSELECT 1;\n",
    ),
    (house_rules.query_without_tenant, "streams/views/sink.sql", "-- name: a\nSELECT 1;\n"),
    (house_rules.workplace_trace, "README.md", "a network of shared workers\n"),
]


def _ids(cases: list[tuple[_Rule, str, str]]) -> list[str]:
    return [f"{rule.__name__}-{number}" for number, (rule, _, _) in enumerate(cases)]


@pytest.mark.parametrize(("rule", "path", "text"), _BROKEN, ids=_ids(_BROKEN))
def test_a_broken_example_is_found(rule: _Rule, path: str, text: str) -> None:
    assert list(rule(PurePosixPath(path), text))


@pytest.mark.parametrize(("rule", "path", "text"), _GOOD, ids=_ids(_GOOD))
def test_a_good_example_is_left_alone(rule: _Rule, path: str, text: str) -> None:
    assert list(rule(PurePosixPath(path), text)) == []


def test_every_rule_has_a_broken_and_a_good_example() -> None:
    rules = {*house_rules.PYTHON_RULES, *house_rules.TEXT_RULES}

    assert {rule for rule, _, _ in _BROKEN} == rules
    assert {rule for rule, _, _ in _GOOD} == rules


def test_a_test_folder_that_is_no_package_is_found() -> None:
    files = [
        PurePosixPath(name)
        for name in ("tests/__init__.py", "tests/unit/harbor/test_a.py", "tests/vectors/a.json")
    ]

    found = house_rules.test_folders_without_init(files)

    assert [str(folder) for folder in found] == ["tests/unit", "tests/unit/harbor"]


def test_a_stranger_that_installs_our_package_name_is_found() -> None:
    owners = {"schemas": ["paybond", "some-stranger"], "harbor": ["paybond"]}

    found = house_rules.strangers_with_our_names(owners)

    assert found == ["schemas is also installed by some-stranger"]

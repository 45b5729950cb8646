"""Which migrations run, and which databases are refused; the files themselves run in tests/integration."""

import pytest

from schemas.errors import ConfigurationError
from streams.runtime.migrations import Migration, Phase, migrations, pending


def _migration(number: int, phase: Phase, text: str = "SELECT 1") -> Migration:
    return Migration(number=number, name=f"{number:04d}_{phase}_words.sql", phase=phase, text=text)


_KNOWN = (
    _migration(1, Phase.PRE),
    _migration(2, Phase.POST),
    _migration(3, Phase.PRE),
)


def _applied(*done: Migration) -> dict[int, tuple[str, bytes]]:
    return {migration.number: (migration.name, migration.checksum) for migration in done}


def test_every_file_of_the_package_is_numbered_from_one_without_gaps() -> None:
    found = migrations()

    assert [migration.number for migration in found] == list(range(1, len(found) + 1))


def test_what_was_applied_is_not_run_again() -> None:
    assert pending(_KNOWN, _applied(_KNOWN[0]), until=Phase.POST) == _KNOWN[1:]


def test_before_a_roll_out_nothing_past_the_first_open_post_migration_runs() -> None:
    assert pending(_KNOWN, {}, until=Phase.PRE) == _KNOWN[:1]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused() -> None:
    changed = _migration(1, Phase.PRE, text="SELECT 2")

    with pytest.raises(ConfigurationError, match="was changed after it was applied"):
        pending(_KNOWN, _applied(changed), until=Phase.POST)


def test_a_database_of_a_newer_release_is_refused() -> None:
    newer = _migration(4, Phase.PRE)

    with pytest.raises(ConfigurationError, match="this release has not"):
        pending(_KNOWN, _applied(newer), until=Phase.POST)

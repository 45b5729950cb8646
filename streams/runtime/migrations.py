"""Brings the tables up to date: plain SQL files, each once, in order, under a lock.

1. take the advisory lock (another runner waits here, within the lock time-out); 2. refuse if an applied file has
changed or is missing; 3. run each new file of the phase and record it, one transaction a file.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

import psycopg
from psycopg import sql

from schemas.errors import ConfigurationError
from streams.runtime.postgres import options, outages, sql_blocks

PACKAGE = "schemas.tables.migrations"
_SQL = sql_blocks("streams.runtime", "migrations.sql")
_NAME = re.compile(r"(?P<number>[0-9]{4})_(?P<phase>pre|post)_[a-z0-9_]+\.sql")
# Long enough for an index over a large table; a lock is given up much sooner, so that no reader queues behind us.
_STATEMENT_SECONDS_MAX = 600


class Phase(StrEnum):
    """`pre` runs under the old code, before a roll-out; `post` after it."""

    PRE = "pre"
    POST = "post"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    number: int
    name: str
    phase: Phase
    text: str

    @property
    def checksum(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()


def migrations(package: str = PACKAGE) -> tuple[Migration, ...]:
    """Every migration of a package, in order. Raises ConfigurationError for a misnamed file or a number given twice."""
    found: dict[int, Migration] = {}
    for file in sorted(files(package).iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise ConfigurationError(f"{file.name} is not named NNNN_pre_words.sql or …_post_…")
        number = int(match["number"])
        if number in found:
            raise ConfigurationError(f"{file.name} and {found[number].name} share a number")
        found[number] = Migration(
            number=number, name=file.name, phase=Phase(match["phase"]), text=file.read_text()
        )
    return tuple(found.values())


def pending(
    known: Sequence[Migration], applied: Mapping[int, tuple[str, bytes]], *, until: Phase
) -> tuple[Migration, ...]:
    """What is still to run; with `until` pre, it ends before the first `post` that was not applied.

    `applied`: number → name and checksum. Raises ConfigurationError if an applied file changed or is missing.
    """
    by_number = {migration.number: migration for migration in known}
    for number, (name, checksum) in applied.items():
        migration = by_number.get(number)
        if migration is None:
            raise ConfigurationError(
                f"the database has the migration {name}, which this release has not: it is older"
            )
        if migration.checksum != checksum:
            raise ConfigurationError(
                f"{name} was changed after it was applied; write a new migration instead"
            )
    todo: list[Migration] = []
    for migration in known:
        if migration.number in applied:
            continue
        if migration.phase is Phase.POST and until is Phase.PRE:
            break
        todo.append(migration)
    return tuple(todo)


def migrate(
    dsn: str, *, until: Phase = Phase.POST, package: str = PACKAGE
) -> tuple[Migration, ...]:
    """Apply what is pending as `paybond_owner`; what was applied now.

    Raises ConfigurationError, DatabaseUnavailableError; an SQL error of a file is psycopg's own.
    """
    arguments = options(program="paybond-migrations", statement_seconds=_STATEMENT_SECONDS_MAX)
    with outages(), psycopg.connect(dsn, autocommit=True, **arguments) as connection:
        connection.execute(_SQL["lock"])
        connection.execute(_SQL["create_schema"])
        connection.execute(_SQL["create_table"])
        rows = connection.execute(_SQL["applied"]).fetchall()
        applied = {number: (name, bytes(checksum)) for number, name, checksum in rows}
        todo = pending(migrations(package), applied, until=until)
        for migration in todo:
            _apply(connection, migration)
    return todo


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    with connection.transaction():
        # A reviewed file of our own package, with DDL that can't be bound.
        connection.execute(sql.SQL(migration.text))
        connection.execute(
            _SQL["record"],
            {
                "number": migration.number,
                "name": migration.name,
                "checksum": migration.checksum,
            },
        )

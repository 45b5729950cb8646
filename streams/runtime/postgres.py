"""Postgres for every program: pools, named SQL blocks, and which of its errors are an outage.

SQL lives in `.sql` files beside the code, as blocks `-- name: words`; values are bound, never formatted.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from types import MappingProxyType
from typing import Any, LiteralString

import psycopg
import psycopg_pool
from psycopg.rows import TupleRow

from schemas.errors import ConfigurationError, DatabaseUnavailableError, DataRefusedError

Connection = psycopg.AsyncConnection[TupleRow]
Pool = psycopg_pool.AsyncConnectionPool[Connection]

# A pool per program and 16 connections: with four programs twice that stays below 160 (deploy.local's server).
POOL_CONNECTIONS_MAX = 16
# Waiting longer for a connection than a client waits for its answer helps nobody.
POOL_WAIT_SECONDS_MAX = 5.0
CONNECT_SECONDS_MAX = 5
# Postgres aborts what runs longer: a lost worker can't hold locks for ever.
STATEMENT_SECONDS_MAX = 30
LOCK_SECONDS_MAX = 10
IDLE_IN_TRANSACTION_SECONDS_MAX = 30

_BLOCK = re.compile(r"^-- name: *(?P<name>[a-z0-9_]+) *$", re.MULTILINE)


def sql_blocks(package: str, file: str) -> Mapping[str, LiteralString]:
    """The named blocks of a `.sql` file of ours. Raises ConfigurationError for a name given twice."""
    text = files(package).joinpath(file).read_text()
    matches = list(_BLOCK.finditer(text))
    ends = [*(match.start() for match in matches[1:]), len(text)]
    blocks: dict[str, LiteralString] = {}
    for match, end in zip(matches, ends, strict=True):
        if match["name"] in blocks:
            raise ConfigurationError(f"{package}/{file} has two blocks named {match['name']}")
        # Our own files are as literal as a string in the code: nothing is ever formatted into them.
        blocks[match["name"]] = text[match.end() : end].strip()
    return MappingProxyType(blocks)


def options(*, program: str, statement_seconds: int = STATEMENT_SECONDS_MAX) -> dict[str, Any]:
    """Connection arguments: every statement, lock and idle transaction has an end; the server knows who asks."""
    return {
        "application_name": program,
        "connect_timeout": CONNECT_SECONDS_MAX,
        "options": (
            f"-c statement_timeout={statement_seconds}s -c lock_timeout={LOCK_SECONDS_MAX}s "
            f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS_MAX}s -c timezone=UTC"
        ),
    }


@asynccontextmanager
async def open_pool(
    dsn: str, *, program: str, connections_max: int = POOL_CONNECTIONS_MAX
) -> AsyncIterator[Pool]:
    """A pool whose first connection has been made. Raises DatabaseUnavailableError."""
    pool: Pool = psycopg_pool.AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=connections_max,
        timeout=POOL_WAIT_SECONDS_MAX,
        kwargs=options(program=program),
        open=False,
        name=program,
    )
    with outages():
        try:
            await pool.open(wait=True, timeout=POOL_WAIT_SECONDS_MAX)
        except psycopg.Error:
            await pool.close()
            raise
    try:
        yield pool
    finally:
        await pool.close()


@contextmanager
def outages() -> Iterator[None]:
    """Turn an outage of Postgres into DatabaseUnavailableError, and what lies in the data into DataRefusedError."""
    try:
        yield
    except psycopg.Error as error:
        if is_data_error(error):
            raise DataRefusedError(
                sqlstate=error.sqlstate or "22021", reason=_reason(error)
            ) from error
        if not is_outage(error):
            raise
        raise DatabaseUnavailableError(_reason(error)) from error


def is_data_error(error: BaseException) -> bool:
    """SQLSTATE 22 or 23, or what psycopg already refuses to send (U+0000): the same rows would fail again anywhere."""
    return isinstance(error, psycopg.DataError | psycopg.IntegrityError)


def is_outage(error: psycopg.Error) -> bool:
    """Connections, shutdowns, time-outs, deadlocks: the same statement may work later."""
    return isinstance(error, psycopg.OperationalError | psycopg_pool.PoolTimeout)


def _reason(error: psycopg.Error) -> str:
    # The first line only: the rest may quote rows.
    first = str(error).strip().splitlines()[:1] or [type(error).__name__]
    return f"{error.sqlstate or type(error).__name__}: {first[0]}"

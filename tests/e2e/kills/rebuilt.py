"""The read tables filled from nothing into a database of their own, beside the live ones."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.local.embedded_postgres import EmbeddedPostgres
from deploy.local.server_process import free_port
from tests.e2e.local_stack import BINARIES, LocalStack
from tests.support.depth import by_depth
from tests.support.stopped_process import stopped

_DATABASE = "rebuilt"
_OWNER = "paybond_owner"
_SECONDS_MAX = by_depth(usual=300, deep=3_600)
_LOOK_SECONDS = 1.0
_TABLES = """SELECT table_name FROM information_schema.tables
             WHERE table_schema = 'views' AND table_type = 'BASE TABLE' ORDER BY table_name"""


@dataclass(frozen=True, slots=True)
class Tables:
    """Per table of `views`: how many rows, and a digest of all of them in one order."""

    rows: Mapping[str, int]
    digests: Mapping[str, str]


def tables_of(dsn: str) -> Tables:
    rows, digests = {}, {}
    with psycopg.connect(dsn) as connection:
        for (table,) in connection.execute(_TABLES).fetchall():
            query = sql.SQL('SELECT t::text FROM views.{} t ORDER BY t::text COLLATE "C"')
            digest, count = hashlib.sha256(), 0
            with connection.cursor(name="rows") as cursor:
                cursor.itersize = 5_000
                for (row,) in cursor.execute(query.format(sql.Identifier(table))):
                    digest.update(row.encode() + b"\n")
                    count += 1
            rows[table], digests[table] = count, digest.hexdigest()
    return Tables(rows=rows, digests=digests)


def live_and_rebuilt(stack: LocalStack) -> tuple[Tables, Tables]:
    """The live tables, and what a new worker makes of the topics; the live worker sleeps meanwhile.

    Returns when both are equal, or when the rebuild has had its time.
    """
    server = EmbeddedPostgres(
        data_directory=stack.directory / ".paybond" / "postgres", port=_port(stack)
    )
    live_dsn = server.superuser_dsn("paybond")
    server.ensure_database(name=_DATABASE, owner=_OWNER)
    dsn = server.superuser_dsn(_DATABASE)
    _migrate(stack)
    # Its session runs out, and its partitions become the other worker's.
    with stopped(stack.supervision()["programs"]["views"]["pid"]), _views(stack):
        deadline = time.monotonic() + _SECONDS_MAX
        live = tables_of(live_dsn)
        while True:
            rebuilt = tables_of(dsn)
            if rebuilt == live or time.monotonic() > deadline:
                return live, rebuilt
            time.sleep(_LOOK_SECONDS)


def _port(stack: LocalStack) -> int:
    with psycopg.connect(stack.local_file()["postgres_dsn"]) as connection:
        return connection.info.port


def _migrate(stack: LocalStack) -> None:
    password = (stack.directory / ".paybond" / "keys" / "postgres-password-owner").read_text()
    owner = make_conninfo(_streams_dsn(stack), user=_OWNER, password=password.strip())
    subprocess.run(
        [BINARIES / "paybond-gateway", "migrate"],
        check=True,
        capture_output=True,
        cwd=stack.directory,
        env={"PATH": os.environ["PATH"], "PAYBOND_POSTGRES_OWNER_DSN": owner},
    )


def _streams_dsn(stack: LocalStack) -> str:
    settings = json.loads((stack.directory / ".paybond" / "settings.json").read_text())
    return make_conninfo(settings["PAYBOND_STREAMS_"]["PAYBOND_POSTGRES_DSN"], dbname=_DATABASE)


@contextmanager
def _views(stack: LocalStack) -> Iterator[None]:
    with (stack.directory / "rebuild.log").open("wb") as log:
        process = subprocess.Popen(
            [BINARIES / "paybond-streams", "run", "views"],
            cwd=stack.directory,
            env={
                "PATH": os.environ["PATH"],
                "PAYBOND_POSTGRES_DSN": _streams_dsn(stack),
                "PAYBOND_STREAMS_PRIVATE_PORT": str(free_port()),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()

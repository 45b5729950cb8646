"""The embedded PostgreSQL as a process, and who may log in to it."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from deploy.local.embedded_postgres import EmbeddedPostgres
from deploy.local.programs import Role
from deploy.local.stack import set_passwords
from schemas.errors import ConfigurationError
from tests.support.brokers import temporary_directory
from tests.support.databases import FreshDatabase
from tests.support.log_search import Secret, search

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]


@pytest.fixture
def directory() -> Iterator[Path]:
    with temporary_directory("postgres") as directory:
        yield directory


@pytest.fixture
def server(directory: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data_directory=directory, is_durable=False)
    yield server
    server.stop()


def _write_row(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.superuser_dsn()) as connection:
        connection.execute("CREATE TABLE kept (number integer PRIMARY KEY)")
        connection.execute("INSERT INTO kept VALUES (7)")


def _read_rows(server: EmbeddedPostgres) -> list[tuple[int]]:
    with psycopg.connect(server.superuser_dsn()) as connection:
        return connection.execute("SELECT number FROM kept").fetchall()


def test_a_restart_keeps_rows_and_address(server: EmbeddedPostgres) -> None:
    server.start()
    address = server.superuser_dsn()
    _write_row(server)

    server.stop()
    was_running = server.is_running
    server.start()

    assert not was_running
    assert server.superuser_dsn() == address
    assert _read_rows(server) == [(7,)]


def test_a_killed_server_recovers_what_was_committed(server: EmbeddedPostgres) -> None:
    server.start()
    _write_row(server)

    server.kill()
    was_running = server.is_running
    server.start()

    assert not was_running
    assert _read_rows(server) == [(7,)]


def test_a_server_killed_by_somebody_else_starts_again_at_once(server: EmbeddedPostgres) -> None:
    server.start()
    _write_row(server)
    assert server.pid is not None

    os.kill(server.pid, signal.SIGKILL)
    server.kill()
    server.start()

    assert _read_rows(server) == [(7,)]


def test_a_server_left_over_from_a_killed_launcher_is_stopped_first(directory: Path) -> None:
    left_over = EmbeddedPostgres(data_directory=directory, is_durable=False)
    left_over.start()
    _write_row(left_over)
    successor = EmbeddedPostgres(data_directory=directory, is_durable=False)

    successor.start()

    assert _read_rows(successor) == [(7,)]
    assert not left_over.is_running
    left_over.stop()
    successor.stop()


def test_a_left_over_server_without_our_pid_file_is_found_by_its_own(directory: Path) -> None:
    left_over = EmbeddedPostgres(data_directory=directory, is_durable=False)
    left_over.start()
    (directory / "server.pid").unlink()
    successor = EmbeddedPostgres(data_directory=directory, is_durable=False)

    successor.start()

    assert successor.is_running
    assert not left_over.is_running
    left_over.stop()
    successor.stop()


def test_a_stale_pid_file_that_names_a_stranger_is_no_obstacle(
    server: EmbeddedPostgres, directory: Path
) -> None:
    server.start()
    server.stop()
    stranger = os.getpid()
    pid_file = directory / "cluster" / "postmaster.pid"
    pid_file.write_text(f"{stranger}\n{directory / 'cluster'}\n0\n{server.port}\n\n127.0.0.1\n")

    server.start()

    assert server.is_running
    assert psutil.pid_exists(stranger)


def test_the_server_never_runs_as_root(server: EmbeddedPostgres) -> None:
    server.start()

    assert psutil.Process(server.pid).uids().effective != 0


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    server.start()
    server.ensure_login(role="somebody", password="right")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(role="somebody", password="wrong", database="postgres"))


def test_a_login_is_no_superuser_and_bound_by_row_level_security(postgres: FreshDatabase) -> None:
    with psycopg.connect(postgres.owner_dsn) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone()

    assert row == (False, False)


def test_the_superuser_password_is_readable_by_the_owner_alone(
    server: EmbeddedPostgres, directory: Path
) -> None:
    server.start()

    assert (directory / "superuser.password").stat().st_mode & 0o077 == 0
    assert not (directory / "initdb.password").exists()


def test_each_test_gets_a_database_of_its_own(
    postgres: FreshDatabase, module_postgres: FreshDatabase
) -> None:
    with psycopg.connect(postgres.owner_dsn) as connection:
        connection.execute("CREATE TABLE mine (number integer)")

    with psycopg.connect(module_postgres.owner_dsn) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)


def test_the_servers_log_quotes_neither_a_password_nor_a_row(server: EmbeddedPostgres) -> None:
    server.start()
    password, mark = secrets.token_hex(16), secrets.token_hex(16)
    server.ensure_login(role="somebody", password=password)
    with psycopg.connect(server.superuser_dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE bodies (body text CHECK (length(body) < 2))")

        with pytest.raises(psycopg.IntegrityError):
            connection.execute("INSERT INTO bodies VALUES (%s)", (mark,))
    with pytest.raises(ConfigurationError, match="may not set the roles"):
        set_passwords(server.superuser_dsn(), {Role.STREAMS: password})
    server.stop()

    text = server.log_file.read_text()
    assert 'ERROR:  new row for relation "bodies" violates check constraint' in text
    assert 'ERROR:  role "paybond_streams" does not exist' in text
    known = [Secret.of("password", password), Secret.of("body", mark)]
    assert search(text.encode(), known) == []

"""PostgreSQL for tests: one embedded server a session, a fresh database for whoever asks.

A fresh database costs about 30 ms (a copy of a template), so tests never share one.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local.embedded_postgres import EmbeddedPostgres
from tests.support.brokers import temporary_directory
from tests.support.log_search import search_files

OWNER = "paybond_owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshDatabase:
    """A database of one test; `owner_dsn` is what migrations use."""

    server: EmbeddedPostgres
    name: str
    owner_password: str

    @property
    def owner_dsn(self) -> str:
        return self.server.dsn(role=OWNER, password=self.owner_password, database=self.name)

    @property
    def superuser_dsn(self) -> str:
        """To look at what a role may not see; never for the code under test."""
        return self.server.superuser_dsn(self.name)

    def login_dsn(self, role: str) -> str:
        """Let a role of the migrations log in, and give its address in this database."""
        # Roles belong to the server: a password made anew would break another test's pool.
        password = f"password-of-{role}"
        self.server.ensure_login(role=role, password=password)
        return self.server.dsn(role=role, password=password, database=self.name)


@contextmanager
def running_postgres() -> Iterator[EmbeddedPostgres]:
    """A server without fsync on new data; stopped, and its data dropped, at the end."""
    with temporary_directory("postgres") as directory:
        server = EmbeddedPostgres(data_directory=directory, is_durable=False)
        server.start()
        try:
            yield server
        finally:
            server.stop()
        assert search_files([server.log_file]) == []


@contextmanager
def fresh_database(
    server: EmbeddedPostgres, *, template: str | None = None
) -> Iterator[FreshDatabase]:
    """A database of its own name, dropped at the end; `template` is copied if given."""
    name = f"test_{secrets.token_hex(8)}"
    password = f"password-of-{OWNER}"
    server.ensure_login(role=OWNER, password=password, can_create_roles=True)
    server.ensure_database(name=name, owner=OWNER, template=template)
    try:
        yield FreshDatabase(server=server, name=name, owner_password=password)
    finally:
        server.drop_database(name)

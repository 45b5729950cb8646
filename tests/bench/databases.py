"""PostgreSQL for benchmarks: as in production it waits for its disk."""

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.embedded_postgres import EmbeddedPostgres
from tests.support.brokers import temporary_directory


@contextmanager
def durable_postgres() -> Iterator[EmbeddedPostgres]:
    """On new data; stopped, and its data dropped, at the end."""
    with temporary_directory("postgres") as directory:
        server = EmbeddedPostgres(data_directory=directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()

"""Where the processor time of a command and of an entry goes: `python -m tests.bench.hot_spots harbor|indexer [ROWS]`.

Under cProfile, which makes calls dearer than work: the order counts, the seconds do not. Harbor's loop in memory with
the load of `harbor-memory`; the indexer's projection into PostgreSQL with the ledger of `proofs`.
"""

import asyncio
import cProfile
import pstats
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from streams.runtime.migrations import migrate
from tests.bench.databases import durable_postgres
from tests.bench.harbor_memory import measured
from tests.bench.proofs import index
from tests.support.databases import fresh_database

_INTENTS = 200
_ENTRIES = 20_000
_ROWS = 30


def main(what: str, rows: int) -> None:
    {"harbor": _harbor, "indexer": _indexer}[what](rows)


def _harbor(rows: int) -> None:
    _profiled(lambda: measured(_INTENTS), rows)


def _indexer(rows: int) -> None:
    with durable_postgres() as server, fresh_database(server) as database:
        migrate(database.owner_dsn)
        _profiled(lambda: index(database, _ENTRIES), rows)


def _profiled(work: Callable[[], Coroutine[Any, Any, object]], rows: int) -> None:
    profile = cProfile.Profile()
    profile.enable()
    asyncio.run(work())
    profile.disable()
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(rows)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else _ROWS)

"""A process of `tests.bench.indexer_process` with its environment; what it said is shown if the measuring fails."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.server_process import free_port
from tests.bench.indexer_process import Kind
from tests.integration.streams.indexing import PARTITIONS
from tests.support.databases import FreshDatabase
from tests.support.ledgers import DEPLOYMENT, LEDGER_KEY

_STOP_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningIndexer:
    process: "subprocess.Popen[bytes]"
    private_port: int

    def assert_alive(self) -> None:
        assert self.process.poll() is None, "the indexer ended"


@contextmanager
def running_indexer(
    kind: Kind,
    *,
    bootstrap: str,
    database: FreshDatabase,
    folder: Path,
    more: Mapping[str, str] | None = None,
) -> Iterator[RunningIndexer]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PAYBOND_")}
    log, port = folder / f"{kind}-{time.monotonic_ns()}.log", free_port()
    own = {
        "PAYBOND_KAFKA_BOOTSTRAP": bootstrap,
        "PAYBOND_KAFKA_BROKER": "apache",
        "PAYBOND_KAFKA_PARTITIONS": str(PARTITIONS),
        "PAYBOND_DEPLOYMENT": DEPLOYMENT,
        "PAYBOND_POSTGRES_DSN": database.login_dsn("paybond_streams"),
        "PAYBOND_STREAMS_LEDGER_VERIFIER_KEYS": LEDGER_KEY.hex(),
        "PAYBOND_STREAMS_PRIVATE_PORT": str(port),
    }
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.indexer_process", kind.value],
            stdout=said,
            stderr=said,
            env={**inherited, **own, **(more or {})},
        )
    try:
        yield RunningIndexer(process=process, private_port=port)
    except BaseException:
        sys.stderr.write(log.read_text()[-3000:])
        raise
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS_MAX)

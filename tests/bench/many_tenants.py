"""A thousand tenants on one broker: time to provision them, time to ready of Harbor and the indexer, longest commit.

All are provisioned at once, so the first transactions span hundreds of topics that nobody wrote to before; then every
tenant's intent is led through its whole life. Harbor and the indexer are started anew and find all of it.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg

from deploy.local.server_process import LOOPBACK, free_port
from schemas.canonical import ed25519
from streams.runtime.migrations import migrate
from tests.bench.databases import durable_postgres
from tests.bench.figures import Figure, at_most
from tests.bench.harbor_kafka import mixed_load
from tests.bench.harbor_site import BenchSite, bench_site, make_ledgers, sealed
from tests.bench.indexer_process import Kind
from tests.bench.indexers import RunningIndexer, running_indexer
from tests.bench.timed_harbor import TRANSACTION
from tests.bench.workload import provisioned
from tests.integration.harbor.programs import PARTITIONS, SEED, RunningHarbor
from tests.support.brokers import ROOT
from tests.support.databases import FreshDatabase, fresh_database

_TENANTS = 1_000
_SECONDS_MAX = 600.0
_LOOK_SECONDS = 0.05


def run(share: float) -> Iterator[Figure]:
    count = max(4, int(_TENANTS * share))
    with bench_site(count, is_provisioned=False) as bench:
        yield Figure(name="tenants on one broker", value=count, unit="tenants")
        with _timed_harbor(bench) as harbor:
            harbor.wait_for("partition_started", times=PARTITIONS)
            began = time.perf_counter()
            asyncio.run(make_ledgers(bench.site.bootstrap, bench.tenants))
            topics_seconds = time.perf_counter() - began
            bench.load(sealed(provisioned(bench.tenants)), {"Harbor": harbor.process.pid})
            yield Figure(name="time to make their topics", value=topics_seconds, unit="s")
            yield Figure(
                name="time to provision them all", value=time.perf_counter() - began, unit="s"
            )
            lives = mixed_load(bench.tenants, count, name="lives")
            answered = bench.load(lives, {"Harbor": harbor.process.pid})
            yield Figure(
                name="Harbor with so many tenants", value=answered.per_second, unit="commands/s"
            )
            yield from _transactions(harbor)
        yield from _harbor_ready(bench)
        with durable_postgres() as server, fresh_database(server) as database:
            migrate(database.owner_dsn)
            yield from _indexer_ready(bench, database)


def _transactions(harbor: RunningHarbor) -> Iterator[Figure]:
    timed = harbor.events(TRANSACTION)
    for name, key in (
        ("longest commit", "commit_seconds"),
        ("longest transaction, begin to commit", "seconds"),
    ):
        yield Figure(name=name, value=max(one[key] for one in timed), unit="s", goal=at_most(1))


def _harbor_ready(bench: BenchSite) -> Iterator[Figure]:
    """All partitions restored and started, from the start of the process."""
    began = time.perf_counter()
    with bench.site.harbor() as harbor:
        harbor.wait_for("partition_started", times=PARTITIONS)
        yield Figure(
            name="Harbor's time to ready",
            value=time.perf_counter() - began,
            unit="s",
            goal=at_most(20),
        )


def _indexer_ready(bench: BenchSite, database: FreshDatabase) -> Iterator[Figure]:
    more = {
        "PAYBOND_DEPLOYMENT": "local",
        "PAYBOND_STREAMS_LEDGER_VERIFIER_KEYS": ed25519.public_key(bytes.fromhex(SEED)).hex(),
    }
    began = time.perf_counter()
    with (
        running_indexer(
            Kind.VIEWS,
            bootstrap=bench.site.bootstrap,
            database=database,
            folder=bench.site.folder,
            more=more,
        ) as indexer,
        psycopg.connect(database.superuser_dsn, autocommit=True) as looking,
    ):
        _await_ready(indexer)
        yield Figure(
            name="indexer's time to ready",
            value=time.perf_counter() - began,
            unit="s",
            goal=at_most(20),
        )
        deadline = time.monotonic() + _SECONDS_MAX
        while _tenants_indexed(looking) < len(bench.tenants):
            indexer.assert_alive()
            assert time.monotonic() < deadline, "not every tenant was indexed"
            time.sleep(_LOOK_SECONDS)
        yield Figure(
            name="indexer's time to a row of every tenant",
            value=time.perf_counter() - began,
            unit="s",
        )


def _await_ready(indexer: RunningIndexer) -> None:
    deadline = time.monotonic() + _SECONDS_MAX
    url = f"http://{LOOPBACK}:{indexer.private_port}/readyz"
    while not _answers(url):
        indexer.assert_alive()
        assert time.monotonic() < deadline, "the indexer is not ready"
        time.sleep(_LOOK_SECONDS)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def _tenants_indexed(looking: "psycopg.Connection[tuple[int]]") -> int:
    row = looking.execute("SELECT count(*) FROM views.tenants").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _timed_harbor(bench: BenchSite) -> Iterator[RunningHarbor]:
    log = bench.site.folder / "timed.log"
    environment = bench.site.environment(
        PAYBOND_HARBOR_PRIVATE_PORT=str(free_port()), PYTHONPATH=str(ROOT)
    )
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.timed_harbor", "run"],
            env=environment,
            cwd=bench.site.folder,
            stderr=stream,
        )
    harbor = RunningHarbor(process, log)
    try:
        yield harbor
    finally:
        if process.poll() is None:
            harbor.stop()

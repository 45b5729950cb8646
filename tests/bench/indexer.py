"""The indexer into a durable PostgreSQL: real rows and tiles, with its fence and without, beside stock Faust agents.

Each turn reads the same topics into an empty database of its own, several rounds; rates are medians. The clock runs
from the first rows that are seen to the last, and those first rows are not counted, so no start-up is in it. The agents
are stopped after a while: their rate is what they did until then.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from deploy.local.embedded_postgres import EmbeddedPostgres
from streams.runtime.migrations import migrate
from tests.bench.databases import durable_postgres
from tests.bench.figures import Figure, at_least, at_most, median
from tests.bench.indexer_process import Kind
from tests.bench.indexers import RunningIndexer, running_indexer
from tests.bench.processors import Processors, Usage, resident_megabytes
from tests.bench.workload import tenants
from tests.integration.streams.indexing import Cluster
from tests.support.brokers import BrokerChoice, BrokerKind, running_broker, temporary_directory
from tests.support.databases import fresh_database
from tests.support.ledgers import Ledger

_TENANTS = 8
_ENTRIES = 400_000
_ENTRIES_PER_LIFE = 8
_ROUNDS = 3
_SHARE_MIN = 0.01
_SECONDS_MAX = 900.0
_SECONDS_OF_THE_AGENTS = 30.0
_START_SECONDS_MAX = 120.0
_LOOK_SECONDS = 0.05
# By the index: counting all rows twenty times a second would be a load of its own.
_ENDS = """SELECT coalesce(sum(
    (SELECT max(seq) FROM views.ledger_entries AS entry WHERE entry.tenant_id = wanted.tenant_id)
), 0) FROM unnest(%(tenant_ids)s::text[]) AS wanted (tenant_id)"""
_ROWS = "SELECT count(*) FROM views.ledger_entries"
_TILES = "SELECT count(*) FROM views.ledger_tiles WHERE level = 0"
_TILE_WIDTH = 256


_HOW = {
    Kind.VIEWS: "",
    Kind.UNFENCED: ", checkpoints without a fence",
    Kind.UNMARKED: ", no checkpoints",
}
_AGENTS = {
    Kind.FAUST_BATCH: ("a stock Faust agent (take 500) with the same sink", at_least(3)),
    Kind.FAUST_EVENT: ("a stock Faust agent, a commit for each event, with the same sink", None),
    Kind.FAUST_ROW: ("a stock Faust agent with a one-row sink", at_least(6)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    entries: int
    usage: Usage
    megabytes: float

    @property
    def per_second(self) -> float:
        return self.entries / self.usage.wall


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    cluster: Cluster
    broker_pid: int
    server: EmbeddedPostgres
    template: str
    folder: Path
    entries: int


def run(share: float) -> Iterator[Figure]:
    entries = max(_TENANTS * (1 + _ENTRIES_PER_LIFE), int(_ENTRIES * share))
    rounds = _ROUNDS if share >= _SHARE_MIN else 1
    seconds = max(0.5, _SECONDS_OF_THE_AGENTS * min(1.0, share))
    turns: dict[Kind, list[Indexed]] = {kind: [] for kind in Kind}
    with _place(entries) as place:
        yield Figure(name="entries indexed in one turn", value=place.entries, unit="entries")
        for _ in range(rounds):
            for kind in Kind:
                limit = seconds if kind.is_faust else _SECONDS_MAX
                turns[kind].append(_turn(place, kind, seconds=limit))
    yield from _figures(turns)


def _figures(turns: dict[Kind, list[Indexed]]) -> Iterator[Figure]:
    per_second = {kind: median([one.per_second for one in turns[kind]]) for kind in turns}
    ours = per_second[Kind.VIEWS]
    yield Figure(
        name="indexer into PostgreSQL, rows and tiles",
        value=ours,
        unit="entries/s",
        goal=at_least(30_000),
    )
    yield from turns[Kind.VIEWS][-1].usage.figures("the indexer's turn")
    for kind, how in _HOW.items():
        for whose in ("indexer", "PostgreSQL"):
            each = median([one.usage.seconds[whose] / one.entries for one in turns[kind]])
            yield Figure(
                name=f"processor time of one entry, {whose}{how}",
                value=each * 1e6,
                unit="µs",
            )
    for kind, cost, goal in (
        (Kind.UNFENCED, "the fence's cost", at_most(5)),
        (Kind.UNMARKED, "the fence's cost, the checkpoint's own with it", None),
    ):
        yield Figure(name=f"the indexer{_HOW[kind]}", value=per_second[kind], unit="entries/s")
        yield Figure(name=cost, value=100 * (1 - ours / per_second[kind]), unit="%", goal=goal)
    for kind, (agent, goal) in _AGENTS.items():
        yield Figure(name=agent, value=per_second[kind], unit="entries/s")
        ratio = ours / per_second[kind]
        yield Figure(name=f"indexer ÷ {agent}", value=ratio, unit="ratio", goal=goal)
    yield Figure(
        name="indexer, resident memory after its turn",
        value=max(one.megabytes for one in turns[Kind.VIEWS]),
        unit="MB",
        goal=at_most(300),
    )


@contextmanager
def _place(entries: int) -> Iterator[_Place]:
    with (
        temporary_directory("bench") as folder,
        running_broker(BrokerChoice(kind=BrokerKind.APACHE)) as broker,
        durable_postgres() as server,
        fresh_database(server) as template,
    ):
        migrate(template.owner_dsn)
        cluster = Cluster(bootstrap=broker.bootstrap)
        written = _write_ledgers(cluster, entries)
        assert broker.server is not None
        assert broker.server.pid is not None
        yield _Place(
            cluster=cluster,
            broker_pid=broker.server.pid,
            server=server,
            template=template.name,
            folder=folder,
            entries=written,
        )


def _write_ledgers(cluster: Cluster, entries: int) -> int:
    """Whole lives of intents, tenant by tenant: one ledger in memory at a time."""
    names = tenants(_TENANTS)
    cluster.create(*names)
    written = 0
    for tenant_id in names:
        ledger = Ledger(tenant_id).provision()
        for number in range(max(1, entries // _TENANTS // _ENTRIES_PER_LIFE)):
            ledger.tell("released", number)
        cluster.write(ledger)
        written += len(ledger.records)
    return written


def _turn(place: _Place, kind: Kind, *, seconds: float) -> Indexed:
    with (
        fresh_database(place.server, template=place.template) as database,
        running_indexer(
            kind,
            bootstrap=place.cluster.bootstrap,
            database=database,
            folder=place.folder,
        ) as indexer,
        psycopg.connect(database.superuser_dsn, autocommit=True) as looking,
    ):
        first = _await_rows(looking, indexer)
        assert place.server.pid is not None
        processors = Processors(
            {
                "indexer": indexer.process.pid,
                "broker": place.broker_pid,
                "PostgreSQL": place.server.pid,
            }
        )
        rows, deadline = first, time.monotonic() + seconds
        while rows < place.entries and time.monotonic() < deadline:
            indexer.assert_alive()
            time.sleep(_LOOK_SECONDS)
            rows = _indexed(looking)
        usage = processors.usage()
        if not kind.is_faust:
            _assert_exactly_once(looking, place.entries)
        done = max(1, rows - first)
        megabytes = resident_megabytes(indexer.process.pid)
        return Indexed(entries=done, usage=usage, megabytes=megabytes)


def _await_rows(looking: "psycopg.Connection[tuple[int]]", indexer: RunningIndexer) -> int:
    deadline = time.monotonic() + _START_SECONDS_MAX
    while (rows := _indexed(looking)) == 0:
        indexer.assert_alive()
        assert time.monotonic() < deadline, "no row came"
        time.sleep(_LOOK_SECONDS)
    return rows


def _assert_exactly_once(looking: "psycopg.Connection[tuple[int]]", entries: int) -> None:
    assert _count(looking, _ROWS) == entries
    full = sum(entries_of // _TILE_WIDTH for entries_of in _sizes(looking))
    assert _count(looking, _TILES) == full


def _sizes(looking: "psycopg.Connection[tuple[int]]") -> Sequence[int]:
    rows = looking.execute("SELECT last_seq FROM views.tenants").fetchall()
    return [int(row[0]) for row in rows]


def _indexed(looking: "psycopg.Connection[tuple[int]]") -> int:
    row = looking.execute(_ENDS, {"tenant_ids": list(tenants(_TENANTS))}).fetchone()
    assert row is not None
    return int(row[0])


def _count(looking: "psycopg.Connection[tuple[int]]", query: str) -> int:
    row = looking.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])

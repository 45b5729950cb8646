"""Harbor with many tenants, and with a second process: each beside 8 tenants and one process, in turn in one run.

The same number of commands each time. With 200 tenants a transaction has 200 ledger topics and tips in it; the second
process shares the same two cores with the first, the broker and the load generator, whose shares are stated.
"""

import time
from collections.abc import Iterator, Sequence

from schemas.ids import TenantId
from schemas.partitioner import partition_of
from tests.bench.figures import Figure, at_least, median
from tests.bench.harbor_kafka import mixed_load
from tests.bench.harbor_site import Answered, BenchSite, bench_site, ready_harbor
from tests.integration.harbor.programs import PARTITIONS, RunningHarbor

_FEW = 8
_MANY = 200
_INTENTS = 2_000
_ROUNDS = 3
_SHARE_MIN = 0.01
_SECONDS_MAX = 120.0


def run(share: float) -> Iterator[Figure]:
    is_real = share >= _SHARE_MIN
    many, rounds = (_MANY, _ROUNDS) if is_real else (2 * _FEW, 1)
    with bench_site(many) as bench, ready_harbor(bench) as harbor:
        few = _balanced(bench.tenants)
        intents = max(many, int(_INTENTS * share))
        yield from _tenants(bench, harbor, few, intents=intents, rounds=rounds)
        yield from _processes(bench, harbor, few, intents=intents, rounds=rounds)


def _balanced(names: Sequence[TenantId]) -> list[TenantId]:
    """As many in each partition: two processes can only share what lies in different ones."""
    by_partition: dict[int, list[TenantId]] = {number: [] for number in range(PARTITIONS)}
    for name in names:
        by_partition[partition_of(name, PARTITIONS)].append(name)
    each = _FEW // PARTITIONS
    return [name for number in range(PARTITIONS) for name in by_partition[number][:each]]


def _tenants(
    bench: BenchSite,
    harbor: RunningHarbor,
    few: Sequence[TenantId],
    *,
    intents: int,
    rounds: int,
) -> Iterator[Figure]:
    turns: dict[int, list[float]] = {len(few): [], len(bench.tenants): []}
    for number in range(rounds + 1):
        for names in (few, bench.tenants):
            load = mixed_load(names, intents, name=f"tenants-{len(names)}-{number}")
            answered = bench.load(load, {"Harbor": harbor.process.pid})
            # The first is a warming up.
            if number > 0:
                turns[len(names)].append(answered.per_second)
    for count, found in turns.items():
        yield Figure(
            name=f"Harbor with {count} tenants, one process", value=median(found), unit="commands/s"
        )
    yield Figure(
        name="many tenants ÷ 8 tenants",
        value=median(turns[len(bench.tenants)]) / median(turns[len(few)]),
        unit="ratio",
        goal=at_least(0.4),
    )


def _processes(
    bench: BenchSite,
    first: RunningHarbor,
    few: Sequence[TenantId],
    *,
    intents: int,
    rounds: int,
) -> Iterator[Figure]:
    alone: list[Answered] = []
    together: list[Answered] = []
    for number in range(rounds):
        load = mixed_load(few, intents, name=f"alone-{number}")
        alone.append(bench.load(load, {"Harbor": first.process.pid}))
        with bench.site.harbor(slot=1) as second:
            _await_owned([(first, PARTITIONS // 2), (second, PARTITIONS // 2)])
            pids = {
                "first Harbor": first.process.pid,
                "second Harbor": second.process.pid,
            }
            load = mixed_load(few, intents, name=f"together-{number}")
            together.append(bench.load(load, pids))
        _await_owned([(first, PARTITIONS)])
    one, two = (median([turn.per_second for turn in turns]) for turns in (alone, together))
    yield Figure(name="Harbor, one process of one", value=one, unit="commands/s")
    yield from alone[-1].usage.figures("one process")
    yield Figure(name="Harbor, two processes", value=two, unit="commands/s")
    yield from together[-1].usage.figures("two processes")
    yield Figure(name="two processes ÷ one", value=two / one, unit="ratio")


def _await_owned(wanted: Sequence[tuple[RunningHarbor, int]]) -> None:
    deadline = time.monotonic() + _SECONDS_MAX
    while any(_owned(harbor) != count for harbor, count in wanted):
        assert time.monotonic() < deadline, "the partitions were not shared"
        time.sleep(0.2)


def _owned(harbor: RunningHarbor) -> int:
    return len(harbor.events("partition_started")) - len(harbor.events("partition_revoked"))

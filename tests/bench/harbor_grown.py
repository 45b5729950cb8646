"""Harbor with a long past: what a command costs before and after it, memory, and how soon a restart answers.

The past is made through commands: `create` of as many intents as the share says, an entry and a state each. The
clock of a restart runs from the signal (from the start, if cold) to the first committed answer of a command that was
sent right after it; the new process is started at once, as a supervisor does.
"""

import shutil
import time
from collections.abc import Callable, Iterator

from streams.runtime.clock import SystemClock
from tests.bench.figures import Figure, Goal, at_most, median
from tests.bench.harbor_kafka import mixed_load
from tests.bench.harbor_site import (
    HARBOR,
    BenchSite,
    answers_of,
    bench_site,
    ready_harbor,
    sealed,
)
from tests.bench.processors import resident_megabytes
from tests.bench.workload import creations
from tests.integration.harbor.programs import PARTITIONS, RunningHarbor

_TENANTS = 8
_INTENTS = 1_000_000
_CHUNK = 10_000
# Long enough for the store's compactions to fall into every round: one of them, with a million intents, takes the
# processor for a second, which a short round shows as twice the cost or not at all.
_COST_INTENTS = 2_000
_COST_ROUNDS = 5
_SHARE_MIN = 0.01
_SESSION_SECONDS = 6
_SECONDS_MAX = 600.0
# "The same": what rounds of the same cost differ by on a quiet machine.
_SAME = 1.1


def run(share: float) -> Iterator[Figure]:
    is_real = share >= _SHARE_MIN
    rounds, cost_intents = (_COST_ROUNDS, _COST_INTENTS) if is_real else (1, 8)
    intents = max(16, int(_INTENTS * share))
    with bench_site(_TENANTS) as bench:
        with ready_harbor(bench) as harbor:
            # About a thousand entries come of the warming up.
            _cost(bench, harbor, intents=cost_intents // 2, rounds=1, name="warm")
            before = _cost(bench, harbor, intents=cost_intents, rounds=rounds, name="short")
            began = time.perf_counter()
            _grow(bench, harbor, intents)
            seconds = time.perf_counter() - began
            yield Figure(name="intents made through commands", value=intents, unit="intents")
            yield Figure(
                name="creations while they were made", value=intents / seconds, unit="commands/s"
            )
            after = _cost(bench, harbor, intents=cost_intents, rounds=rounds, name="long")
            yield from _costs(before, after)
            yield from _memory(harbor, "with that past")
            harbor.process.terminate()
            yield from _restart(bench, "after SIGTERM", at_most(5), harbor.process.wait)
        yield from _killed_and_cold(bench)


def _killed_and_cold(bench: BenchSite) -> Iterator[Figure]:
    with bench.site.harbor() as harbor:
        harbor.wait_for("partition_started", times=PARTITIONS)
        harbor.process.kill()
        yield from _restart(
            bench, "after SIGKILL", at_most(_SESSION_SECONDS + 5), harbor.process.wait
        )
    shutil.rmtree(bench.site.folder / "harbor")
    yield from _restart(bench, "cold", at_most(75), lambda: 0)


def _restart(
    bench: BenchSite, how: str, goal: Goal, ended: Callable[[], object]
) -> Iterator[Figure]:
    """The old process was just told to end, or is gone."""
    began = time.perf_counter()
    now = SystemClock().now()
    one_each = sealed(creations(bench.tenants, len(bench.tenants), now=now, run=how))
    with answers_of(bench.site.bootstrap) as answers:
        bench.sender(HARBOR).send(one_each)
        ended()
        with bench.site.harbor() as harbor:
            left, seconds = {command.answer for command in one_each}, list[float]()
            while left:
                assert time.perf_counter() - began < _SECONDS_MAX, harbor.log.read_text()[-3000:]
                for message in answers.next(0.05):
                    if message.key() in left:
                        left.discard(message.key() or b"")
                        seconds.append(time.perf_counter() - began)
            restored = [event["records"] for event in harbor.events("partition_restored")]
            yield Figure(name=f"first answer {how}", value=seconds[0], unit="s", goal=goal)
            yield Figure(name=f"every tenant answered {how}", value=seconds[-1], unit="s")
            yield Figure(name=f"records restored {how}", value=sum(restored), unit="records")
            yield from _memory(harbor, how)


def _memory(harbor: RunningHarbor, when: str) -> Iterator[Figure]:
    yield Figure(
        name=f"Harbor, resident memory {when}",
        value=resident_megabytes(harbor.process.pid),
        unit="MB",
        goal=at_most(700),
    )


def _grow(bench: BenchSite, harbor: RunningHarbor, intents: int) -> None:
    """A chunk at a time: a command has to be decided within minutes of being made."""
    for at in range(0, intents, _CHUNK):
        count = min(_CHUNK, intents - at)
        now = SystemClock().now()
        past = creations(bench.tenants, count, now=now, run=f"past-{at}")
        bench.load(sealed(past), {"Harbor": harbor.process.pid})


def _cost(
    bench: BenchSite, harbor: RunningHarbor, *, intents: int, rounds: int, name: str
) -> float:
    """Harbor's processor seconds for one command of the mix, the median of several rounds."""
    costs = []
    for number in range(rounds):
        load = mixed_load(bench.tenants, intents, name=f"{name}-{number}")
        answered = bench.load(load, {"Harbor": harbor.process.pid})
        costs.append(answered.usage.seconds["Harbor"] / len(load))
    return median(costs)


def _costs(before: float, after: float) -> Iterator[Figure]:
    for seconds, when in ((before, "a thousand entries"), (after, "all those entries")):
        yield Figure(
            name=f"Harbor's processor time of one command, {when} behind it",
            value=seconds * 1e6,
            unit="µs",
        )
    yield Figure(
        name="cost of a command with all those entries ÷ with a thousand",
        value=after / before,
        unit="ratio",
        goal=at_most(_SAME),
    )

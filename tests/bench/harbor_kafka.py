"""Harbor end to end on Apache Kafka: one process, mixed commands of 8 tenants; beside it bare loops of the same size.

The clock runs from the first produce to the last committed outcome, seen by a consumer of our own, so everything is in
it, the load generator too. Harbor, the bare loop and the one that verifies take turns, several rounds, all warmed up;
ratios are of medians. What each command makes Harbor write is counted in its first round, and the loops write the same.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from schemas.ids import TenantId
from streams.runtime.clock import SystemClock
from tests.bench.bare_loop import RunningLoop, bare_loop
from tests.bench.figures import Figure, at_least, at_most, median, quantile
from tests.bench.harbor_site import (
    HARBOR,
    Answered,
    BenchSite,
    Sealed,
    Sender,
    answers_of,
    bench_site,
    ready_harbor,
    sealed,
)
from tests.bench.workload import mixed, stages
from tests.bench.written import Written, ends_of, written_between

_TENANTS = 8
_INTENTS = 2_000
_ROUNDS = 5
# Below this share nobody wants a figure.
_SHARE_MIN = 0.01
_ALONE_LIVES = 40
_SIDE_BY_SIDE = 64
_SIDE_BY_SIDE_LIVES = 1_000
_COMMANDS_PER_INTENT = 6
_SIGNATURES_PER_INTENT = 2
_HARBOR = "Harbor"
_BARE = "a bare transaction loop"
_VERIFYING = "a loop that verifies the same signatures"
_GOALS = {_BARE: 0.3, _VERIFYING: 0.5}


def run(share: float) -> Iterator[Figure]:
    with bench_site(_TENANTS) as bench, ready_harbor(bench) as harbor:
        intents = max(8, int(_INTENTS * share))
        pid = harbor.process.pid
        # The first round warms up, and shows what Harbor writes.
        before = ends_of(bench.site.bootstrap)
        warm = mixed_load(bench.tenants, intents, name="warm")
        bench.load(warm, {_HARBOR: pid})
        after = ends_of(bench.site.bootstrap)
        written = written_between(bench.site.bootstrap, before, after, commands=len(warm))
        yield from _described(written, len(warm))
        rounds = _ROUNDS if share >= _SHARE_MIN else 1
        yield from _throughput(bench, pid, written, intents=intents, rounds=rounds)
        yield from _latency(bench, share)


def mixed_load(tenants: Sequence[TenantId], intents: int, *, name: str) -> list[Sealed]:
    """Made just before it is sent: proofs run out."""
    return sealed(mixed(stages(tenants, intents, now=SystemClock().now(), run=name)))


def _described(written: Written, commands: int) -> Iterator[Figure]:
    yield Figure(
        name="records written per command", value=written.records / commands, unit="records"
    )
    yield Figure(
        name="commands of one partition in one transaction, mean",
        value=commands / written.positions,
        unit="commands",
    )


def _throughput(
    bench: BenchSite, harbor_pid: int, written: Written, *, intents: int, rounds: int
) -> Iterator[Figure]:
    turns: dict[str, list[Answered]] = {_HARBOR: [], _BARE: [], _VERIFYING: []}
    with ExitStack() as stack:
        each = _SIGNATURES_PER_INTENT / _COMMANDS_PER_INTENT
        loops: dict[str, RunningLoop] = {
            name: stack.enter_context(
                bare_loop(
                    bench.site.bootstrap,
                    written,
                    bench.tenants,
                    folder=bench.site.folder,
                    signatures_each=signatures,
                )
            )
            for name, signatures in ((_BARE, 0.0), (_VERIFYING, each))
        }
        for number in range(rounds + 1):
            load = mixed_load(bench.tenants, intents, name=f"round-{number}")
            turn = {_HARBOR: bench.load(load, {_HARBOR: harbor_pid})}
            for name, loop in loops.items():
                turn[name] = bench.load(load, {name: loop.pid}, route=loop.route)
            # The loops' first turn is their warming up; Harbor's is left out with it.
            if number > 0:
                for name, answered in turn.items():
                    turns[name].append(answered)
    per_second = {name: median([one.per_second for one in turns[name]]) for name in turns}
    yield Figure(
        name="Harbor on Kafka, 8 tenants, one process",
        value=per_second[_HARBOR],
        unit="commands/s",
        goal=at_least(10_000),
    )
    yield from turns[_HARBOR][-1].usage.figures("Harbor's turn")
    yield from _processor_time(turns)
    for name, goal in _GOALS.items():
        yield Figure(name=name, value=per_second[name], unit="commands/s")
        yield Figure(
            name=f"Harbor ÷ {name}",
            value=per_second[_HARBOR] / per_second[name],
            unit="ratio",
            goal=at_least(goal),
        )


def _processor_time(turns: Mapping[str, Sequence[Answered]]) -> Iterator[Figure]:
    """What a busy machine changes least: it waits for its turn, but does no more work."""
    for name, answered in turns.items():
        for whose in (name, "broker"):
            each = median([one.usage.seconds[whose] / one.commands for one in answered])
            of_whom = "" if whose == name else f", {name}'s turn"
            yield Figure(
                name=f"processor time of one command, {whose}{of_whom}", value=each * 1e6, unit="µs"
            )


def _latency(bench: BenchSite, share: float) -> Iterator[Figure]:
    alone = _waits(bench, lives=max(4, int(_ALONE_LIVES * share)), lanes=1)
    yield Figure(
        name="produce to committed outcome, one in flight, p50",
        value=quantile(alone, 0.5) * 1e3,
        unit="ms",
        goal=at_most(12),
    )
    lives = max(2 * _SIDE_BY_SIDE, int(_SIDE_BY_SIDE_LIVES * share))
    waits = _waits(bench, lives=lives, lanes=_SIDE_BY_SIDE)
    for share_of_all, goal in ((0.5, 25), (0.99, 80)):
        yield Figure(
            name=f"produce to committed outcome, 64 in flight, p{share_of_all * 100:g}",
            value=quantile(waits, share_of_all) * 1e3,
            unit="ms",
            goal=at_most(goal),
        )


def _waits(bench: BenchSite, *, lives: int, lanes: int) -> list[float]:
    """Seconds from produce to committed outcome of each command, `lanes` in flight at all times.

    A lane leads one intent through its life, the next command as soon as the last was answered, then takes another;
    lanes begin at different steps of a life only after a while, so the first quarter is not counted.
    """
    name = f"{lanes}-in-flight"
    steps = stages(bench.tenants, lives, now=SystemClock().now(), run=name).in_order()
    waiting = iter([sealed(life) for life in zip(*steps, strict=True)])
    with answers_of(bench.site.bootstrap) as answers:
        traffic = _Traffic(bench.sender(HARBOR), waiting)
        for _ in range(lanes):
            traffic.begin_life()
        while traffic.in_flight:
            for message in answers.next(0.01):
                traffic.answered(message.key())
        traffic.sender.flush()
    return traffic.waits[len(traffic.waits) // 4 :]


@dataclass(slots=True)
class _Traffic:
    sender: Sender
    waiting: Iterator[list[Sealed]]
    waits: list[float] = field(default_factory=list)
    in_flight: dict[bytes, tuple[float, list[Sealed]]] = field(default_factory=dict)

    def begin_life(self) -> None:
        life = next(self.waiting, None)
        if life is not None:
            self._post(life)

    def answered(self, key: str | bytes | None) -> None:
        # Rail answers publish the outcome of the command that asked again: nobody waits for that one.
        if not isinstance(key, bytes) or key not in self.in_flight:
            return
        sent, rest = self.in_flight.pop(key)
        self.waits.append(time.perf_counter() - sent)
        if rest:
            self._post(rest)
        else:
            self.begin_life()

    def _post(self, life: list[Sealed]) -> None:
        command, *rest = life
        self.in_flight[command.answer] = (time.perf_counter(), rest)
        self.sender.post(command)

"""Harbor end to end on Apache Kafka: one process, mixed commands of 8 tenants; beside it bare loops of the same size.

Commands lie on the topic before Harbor starts, so that the load generator takes nothing of the two cores while it is
measured; the clock is the broker's, from the first committed outcome to the last, so the first transaction's own work
is not in it. Two bare loops consume and produce beside it; one verifies as many signatures.

What this does not do yet, so that its ratios are only rough: the bare loops write values of a fixed 250 bytes, not of
the size Harbor wrote; records per command are counted by offsets, transaction markers among them; Harbor runs once,
before the loops and not in turn with them; latency is of creations alone, in waves of 64 and not 64 at all times.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, Producer, TopicPartition

from harbor.adapters.kafka_topics import KafkaTopics
from harbor.engine.cluster_layout import SINGLE_NODE, ledger_layout
from schemas.ids import TenantId
from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, OUTCOMES, outcome_key
from streams.runtime.clock import SystemClock
from tests.bench.bare_loop import BareLoop, bare_loop_seconds
from tests.bench.figures import Figure, at_least, at_most, quantile
from tests.bench.workload import provisioned, stages, tenants
from tests.integration.harbor.programs import KEY, PARTITIONS, Site
from tests.support.brokers import BrokerChoice, BrokerKind, running_broker, temporary_directory

_TENANTS = 8
_INTENTS = 4_000
# What lies between two steps of one intent, as in life: others.
_CHUNK = 250
_ALONE = 200
_SIDE_BY_SIDE = 64
_SIDE_BY_SIDE_COMMANDS = 3_000
_BARE_TURNS = 4
_COMMANDS_PER_INTENT = 6
_SIGNATURES_PER_INTENT = 2
_SECONDS_MAX = 900.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Committed outcomes as they come, read by a consumer of our own."""

    consumer: Consumer

    @classmethod
    def from_now(cls, bootstrap: str) -> "Outcomes":
        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench-outcomes",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
            }
        )
        places = [TopicPartition(OUTCOMES, number) for number in range(PARTITIONS)]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=30)[1]
        consumer.assign(places)
        return cls(consumer)

    def wait_for(self, keys: set[bytes]) -> tuple[float, float]:
        """Wait until each of these was answered; the broker's times of the first and the last, in seconds."""
        first, last = float("inf"), 0.0
        left, deadline = set(keys), time.monotonic() + _SECONDS_MAX
        while left:
            assert time.monotonic() < deadline, f"{len(left)} commands were not answered"
            for message in self.consumer.consume(2_000, 0.2):
                assert message.error() is None, message.error()
                if message.key() in left:
                    left.discard(message.key() or b"")
                    stamp = message.timestamp()[1] / 1000
                    first, last = min(first, stamp), max(last, stamp)
        return first, last


class Sender:
    """Commands onto the topic, as the gateway's producer puts them there."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 1}
        )

    def send(self, sealed: Sequence[tuple[Command, bytes]]) -> None:
        for number, (command, value) in enumerate(sealed):
            self._producer.produce(
                COMMANDS,
                key=command.tenant_id.encode(),
                value=value,
                headers=list(command_headers(command).items()),
                partition=partition_of(command.tenant_id, PARTITIONS),
            )
            if number % 1_000 == 0:
                self._producer.poll(0)
        self._producer.flush(60)


def run(share: float) -> Iterator[Figure]:
    with (
        temporary_directory("bench") as folder,
        running_broker(BrokerChoice(kind=BrokerKind.APACHE)) as broker,
    ):
        site = Site(bootstrap=broker.bootstrap, folder=folder, is_apache=True)
        applied = site.call("topics", "apply")
        assert applied.status == 0, applied.talk
        names = tenants(_TENANTS)
        asyncio.run(_make_ledgers(site, names))
        outcomes, sender = Outcomes.from_now(site.bootstrap), Sender(site.bootstrap)
        try:
            yield from _throughput(site, names, outcomes, sender, max(8, int(_INTENTS * share)))
            yield from _latency(site, names, outcomes, sender, share)
        finally:
            outcomes.consumer.close()


def _throughput(
    site: Site, names: Sequence[TenantId], outcomes: Outcomes, sender: Sender, intents: int
) -> Iterator[Figure]:
    lives = stages(names, intents, now=SystemClock().now(), run="throughput")
    sealed = [(command, seal(command, bytes.fromhex(KEY))) for command in _mixed(lives.in_order())]
    first_steps = provisioned(names)
    sender.send([(command, seal(command, bytes.fromhex(KEY))) for command in first_steps])
    with site.harbor():
        outcomes.wait_for(_keys(first_steps))
    before = _written(site.bootstrap)
    sender.send(sealed)
    with site.harbor():
        first, last = outcomes.wait_for(_keys([command for command, _ in sealed]))
    written = _written(site.bootstrap) - before
    per_second = len(sealed) / max(last - first, 0.001)
    records = round(written / len(sealed))
    bare = BareLoop(
        bootstrap=site.bootstrap,
        records_per_command=records,
        value_bytes=250,
        commands=sealed,
        signatures_each=_SIGNATURES_PER_INTENT / _COMMANDS_PER_INTENT,
    )
    yield Figure(
        name="Harbor on Kafka, 8 tenants, one process",
        value=per_second,
        unit="commands/s",
        goal=at_least(10_000),
    )
    yield Figure(name="records written per command", value=records, unit="records")
    # In turn, so that a machine that slows down slows both; the first turn is a broker's warming up.
    turns = [
        [bare_loop_seconds(bare, verifies=verifies) for verifies in (False, True)]
        for _ in range(_BARE_TURNS)
    ]
    for name, number, goal in (
        ("a bare transaction loop", 0, 0.3),
        ("a loop that verifies the same signatures", 1, 0.5),
    ):
        seconds = quantile([turn[number] for turn in turns[1:]], 0.5)
        yield Figure(name=name, value=len(sealed) / seconds, unit="commands/s")
        yield Figure(
            name=f"Harbor ÷ {name}",
            value=per_second * seconds / len(sealed),
            unit="ratio",
            goal=at_least(goal),
        )


def _latency(
    site: Site, names: Sequence[TenantId], outcomes: Outcomes, sender: Sender, share: float
) -> Iterator[Figure]:
    alone, together = max(4, int(_ALONE * share)), max(64, int(_SIDE_BY_SIDE_COMMANDS * share))
    with site.harbor() as harbor:
        harbor.wait_for("harbor_started")
        now = SystemClock().now()
        one = stages(names, alone, now=now, run="alone").create
        seconds = [_asked(outcomes, sender, [command])[0] for command in one]
        yield Figure(
            name="produce to committed outcome, one in flight, p50",
            value=quantile(seconds[len(seconds) // 4 :], 0.5) * 1e3,
            unit="ms",
            goal=at_most(12),
        )
        many = stages(names, together, now=SystemClock().now(), run="together").create
        waits = [
            wait
            for at in range(0, len(many), _SIDE_BY_SIDE)
            for wait in _asked(outcomes, sender, many[at : at + _SIDE_BY_SIDE])
        ]
        for share_of_all, goal in ((0.5, 25), (0.99, 80)):
            yield Figure(
                name=f"produce to committed outcome, 64 in flight, p{share_of_all * 100:g}",
                value=quantile(waits, share_of_all) * 1e3,
                unit="ms",
                goal=at_most(goal),
            )


def _asked(outcomes: Outcomes, sender: Sender, commands: Sequence[Command]) -> list[float]:
    """Seconds from produce to answer of each, as a client sees them; all are sent at once."""
    sealed = [(command, seal(command, bytes.fromhex(KEY))) for command in commands]
    left = _keys(commands)
    began = time.perf_counter()
    sender.send(sealed)
    waits = []
    while left:
        for message in outcomes.consumer.consume(len(left), 0.001) or ():
            if message.key() in left:
                left.discard(message.key() or b"")
                waits.append(time.perf_counter() - began)
    return waits


def _mixed(steps: Sequence[Sequence[Command]]) -> list[Command]:
    """Step after step of a few intents, then of the next: no two steps of one intent stand side by side."""
    return [
        command
        for at in range(0, len(steps[0]), _CHUNK)
        for step in steps
        for command in step[at : at + _CHUNK]
    ]


def _keys(commands: Sequence[Command]) -> set[bytes]:
    return {
        outcome_key(TenantId(command.tenant_id), command.command_id)  # type: ignore[arg-type]
        for command in commands
    }


def _written(bootstrap: str) -> int:
    """Offsets of all topics together: records and markers."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-ends"})
    try:
        topics = consumer.list_topics(timeout=30).topics
        return sum(
            consumer.get_watermark_offsets(TopicPartition(name, number), timeout=30)[1]
            for name, topic in topics.items()
            if name.startswith("paybond.") and name != COMMANDS
            for number in topic.partitions
        )
    finally:
        consumer.close()


async def _make_ledgers(site: Site, names: Sequence[TenantId]) -> None:
    topics = KafkaTopics({"bootstrap.servers": site.bootstrap})
    try:
        for tenant_id in names:
            await topics.create(ledger_layout(tenant_id, durability=SINGLE_NODE))
    finally:
        await topics.close()

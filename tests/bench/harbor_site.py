"""Harbor as a process on an Apache Kafka of its own, with a load generator and a reader of committed outcomes."""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from deploy.local.apache_kafka import ApacheKafka
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.engine.cluster_layout import SINGLE_NODE, ledger_layout
from schemas.ids import CommandId, TenantId
from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, OUTCOMES, outcome_key
from tests.bench.processors import Processors, Usage
from tests.bench.workload import provisioned, tenants
from tests.integration.harbor.programs import KEY, PARTITIONS, RunningHarbor, Site
from tests.support.brokers import BrokerChoice, BrokerKind, running_broker, temporary_directory

_SECONDS_MAX = 900.0
_POLL_SECONDS = 0.05
_WARM_SECONDS = 0.3
_RECORDS_MAX = 2_000
# As many as the producer holds at most; a load generator that waited for each would measure itself.
_QUEUE_RECORDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A command as it lies on the topic; `answer` is the key of its outcome."""

    tenant_id: TenantId
    value: bytes
    headers: Mapping[str, bytes]
    answer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """From the first produce to the last committed answer; whose the processors were meanwhile."""

    commands: int
    usage: Usage

    @property
    def per_second(self) -> float:
        return self.commands / self.usage.wall


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSite:
    site: Site
    tenants: Sequence[TenantId]
    broker_pid: int
    senders: dict["Route", "Sender"] = field(default_factory=dict)

    def sender(self, route: "Route") -> "Sender":
        """One for each topic, connected: the clock never runs while a client gets to know its broker."""
        if route not in self.senders:
            self.senders[route] = Sender(self.site.bootstrap, route)
        return self.senders[route]

    def load(
        self, commands: Sequence[Sealed], pids: Mapping[str, int], *, route: "Route | None" = None
    ) -> Answered:
        """Send them all at once to whoever runs, and wait for every answer."""
        with answers_of(self.site.bootstrap, route or HARBOR) as answers:
            sender = self.sender(route or HARBOR)
            everybody = {**pids, "broker": self.broker_pid, "load generator": os.getpid()}
            processors = Processors(everybody)
            sender.send(commands)
            answers.wait_for({command.answer for command in commands})
            return Answered(commands=len(commands), usage=processors.usage())

    def provision(self) -> None:
        """Ledger topics and first entries of all tenants, by a Harbor of its own."""
        asyncio.run(make_ledgers(self.site.bootstrap, self.tenants))
        with self.site.harbor() as harbor:
            self.load(sealed(provisioned(self.tenants)), {"Harbor": harbor.process.pid})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where commands go and answers come from: Harbor's topics, or those of what is measured beside it."""

    commands: str
    outcomes: str


HARBOR = Route(commands=COMMANDS, outcomes=OUTCOMES)


class Answers:
    """Committed answers as they come, read by a consumer of our own."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def next(self, seconds: float) -> list[Message]:
        """Those that are there; waits this long for the first."""
        first = self._consumer.poll(seconds)
        if first is None:
            return []
        found = [first, *self._consumer.consume(_RECORDS_MAX, 0)]
        for message in found:
            assert message.error() is None, message.error()
        return found

    def wait_for(self, keys: set[bytes]) -> None:
        left, deadline = set(keys), time.monotonic() + _SECONDS_MAX
        while left:
            assert time.monotonic() < deadline, f"{len(left)} commands were not answered"
            left.difference_update(message.key() for message in self.next(_POLL_SECONDS))


class Sender:
    """Commands onto the topic, with the settings of the gateway's producer."""

    def __init__(self, bootstrap: str, route: Route = HARBOR) -> None:
        self._topic = route.commands
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 1,
                "queue.buffering.max.messages": _QUEUE_RECORDS,
                "log_level": 2,
            }
        )
        self._producer.list_topics(self._topic, timeout=30)

    def send(self, commands: Sequence[Sealed]) -> None:
        """Acknowledged when this returns."""
        for command in commands:
            self.post(command)
        self.flush()

    def flush(self) -> None:
        assert self._producer.flush(60) == 0

    def post(self, command: Sealed) -> None:
        """On its way when this returns."""
        self._producer.produce(
            self._topic,
            key=command.tenant_id.encode(),
            value=command.value,
            headers=list(command.headers.items()),
            partition=partition_of(command.tenant_id, PARTITIONS),
        )
        self._producer.poll(0)


@contextmanager
def answers_of(bootstrap: str, route: Route = HARBOR) -> Iterator[Answers]:
    """Those that are committed from now on."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-outcomes",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            # As the gateway's reader.
            "fetch.wait.max.ms": 100,
            "log_level": 2,
        }
    )
    try:
        places = [TopicPartition(route.outcomes, number) for number in range(PARTITIONS)]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=30)[1]
        consumer.assign(places)
        answers = Answers(consumer)
        # Until its fetches are out; what still comes of an earlier load is nobody's.
        answers.next(_WARM_SECONDS)
        yield answers
    finally:
        consumer.close()


@contextmanager
def bench_site(tenants_count: int, *, is_provisioned: bool = True) -> Iterator[BenchSite]:
    """Topics are there, and every tenant has its first entry unless told otherwise; no Harbor runs."""
    with (
        temporary_directory("bench") as folder,
        running_broker(BrokerChoice(kind=BrokerKind.APACHE)) as broker,
    ):
        site = Site(bootstrap=broker.bootstrap, folder=folder, is_apache=True)
        applied = site.call("topics", "apply")
        assert applied.status == 0, applied.talk
        assert isinstance(broker.server, ApacheKafka)
        assert broker.server.pid is not None
        bench = BenchSite(site=site, tenants=tenants(tenants_count), broker_pid=broker.server.pid)
        if is_provisioned:
            bench.provision()
        yield bench


@contextmanager
def ready_harbor(bench: BenchSite, *, slot: int = 0) -> Iterator[RunningHarbor]:
    """Alone, and all partitions are its own."""
    with bench.site.harbor(slot=slot) as harbor:
        harbor.wait_for("partition_started", times=PARTITIONS)
        yield harbor


def sealed(commands: Sequence[Command]) -> list[Sealed]:
    key = bytes.fromhex(KEY)
    return [
        Sealed(
            tenant_id=TenantId(command.tenant_id),
            value=seal(command, key),
            headers=command_headers(command),
            answer=outcome_key(TenantId(command.tenant_id), CommandId(command.command_id)),
        )
        for command in commands
    ]


async def make_ledgers(bootstrap: str, names: Sequence[TenantId]) -> None:
    topics = KafkaTopics({"bootstrap.servers": bootstrap})
    try:
        for tenant_id in names:
            await topics.create(ledger_layout(tenant_id, durability=SINGLE_NODE))
    finally:
        await topics.close()

"""A consume–transform–produce loop that does nothing else: the measure beside Harbor's.

A process of its own, on the same broker, sent the same commands by the same load generator: it writes as many records
of the same sizes to as many topics as Harbor did, in transactions of the same client library with the same settings.
One variant verifies as many signatures, on as many threads. `python -m tests.bench.bare_loop FILE`
"""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.canonical import ed25519
from schemas.ids import TenantId
from schemas.messages.commands import HEADER_COMMAND_ID
from schemas.topics import OUTCOMES, TIPS
from tests.bench.harbor_site import Route
from tests.bench.written import LEDGER, Kind, Written
from tests.integration.harbor.programs import PARTITIONS

_BATCH = 2_000
_THREADS = 2
_SEED = b"\x07" * 32
_MESSAGE_BYTES = 300
_READY = "ready"
# As of Harbor's ledgers: preallocated indexes would make a new topic's first transactions slow.
_INDEX_BYTES = {"segment.index.bytes": "65536"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningLoop:
    pid: int
    route: Route


@contextmanager
def bare_loop(
    bootstrap: str,
    written: Written,
    tenants: Sequence[TenantId],
    *,
    folder: Path,
    signatures_each: float = 0,
) -> Iterator[RunningLoop]:
    """At work on topics of its own, and a member of its group."""
    name = f"bench-{secrets.token_hex(4)}"
    _make_topics(bootstrap, name, written, tenants)
    plan = folder / f"{name}.json"
    plan.write_text(
        json.dumps(
            {
                "bootstrap": bootstrap,
                "name": name,
                "kinds": [kind.document() for kind in written.kinds],
                "signatures_each": signatures_each,
            }
        )
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bare_loop", str(plan)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().decode().strip() == _READY
        yield RunningLoop(
            pid=process.pid,
            route=Route(commands=f"{name}-in", outcomes=f"{name}-{OUTCOMES}"),
        )
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _make_topics(bootstrap: str, name: str, written: Written, tenants: Sequence[TenantId]) -> None:
    shared = ["in", *(kind for kind in written.names if kind != LEDGER)]
    ledgers = [f"{name}-{LEDGER}-{tenant_id}" for tenant_id in tenants]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [NewTopic(f"{name}-{part}", PARTITIONS, 1, config=_INDEX_BYTES) for part in shared]
    topics += [NewTopic(ledger, 1, 1, config=_INDEX_BYTES) for ledger in ledgers]
    for made in admin.create_topics(topics).values():
        made.result()


class _Loop:
    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._name = plan["name"]
        self._kinds = [Kind(**kind) for kind in plan["kinds"]]
        self._owed = dict.fromkeys((kind.name for kind in self._kinds), 0.0)
        self._signatures_each = plan["signatures_each"]
        self._signatures_owed = 0.0
        self._signed = _signed(2 * _BATCH) if self._signatures_each else []
        bootstrap = plan["bootstrap"]
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": self._name,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
            }
        )
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": self._name,
                "linger.ms": 5,
                "compression.type": "lz4",
            }
        )

    def run(self) -> None:
        self._producer.init_transactions(60)
        self._consumer.subscribe([f"{self._name}-in"])
        while len(self._consumer.assignment()) < PARTITIONS:
            assert self._consumer.poll(0.1) is None
        print(_READY, flush=True)
        with ThreadPoolExecutor(_THREADS) as pool:
            while True:
                group = self._consumer.consumer_group_metadata()
                first = self._consumer.poll(0.1)
                if first is None:
                    continue
                batch = [first, *self._consumer.consume(_BATCH - 1, 0)]
                self._verify(len(batch), pool)
                self._transact(batch, group)

    def _verify(self, commands: int, pool: ThreadPoolExecutor) -> None:
        self._signatures_owed += commands * self._signatures_each
        due = int(self._signatures_owed)
        self._signatures_owed -= due
        # Nothing remembers a signature here, so the same ones may be verified again.
        assert all(pool.map(_is_valid, self._signed[:due], chunksize=64))

    def _transact(self, batch: Sequence[Message], group: object) -> None:
        self._producer.begin_transaction()
        ends: dict[int, int] = {}
        tenants: dict[bytes, tuple[int, bytes]] = {}
        for message in batch:
            partition, value = message.partition() or 0, bytes(message.value() or b"")
            tenant_id = bytes(message.key() or b"")
            ends[partition] = (message.offset() or 0) + 1
            tenants[tenant_id] = (partition, value)
            for kind in self._kinds:
                if kind.per_command is not None:
                    self._write(kind, message, tenant_id, value)
            self._producer.poll(0)
        for kind in self._kinds:
            if kind.per_command is None:
                touched = tenants.values() if kind.name == TIPS else [(at, b"x") for at in ends]
                for partition, value in touched:
                    self._produce(kind, partition, value, key=b"k" * kind.key_bytes)
        self._producer.flush()
        places = [TopicPartition(f"{self._name}-in", *place) for place in ends.items()]
        self._producer.send_offsets_to_transaction(places, group, 30)
        self._producer.commit_transaction(60)

    def _write(self, kind: Kind, message: Message, tenant_id: bytes, value: bytes) -> None:
        assert kind.per_command is not None
        self._owed[kind.name] += kind.per_command
        if kind.name == OUTCOMES:
            # Every command has its answer under its own key: that is what is waited for.
            self._produce(kind, message.partition() or 0, value, key=_answer(message, tenant_id))
            self._owed[kind.name] -= 1
        while self._owed[kind.name] >= 1:
            self._owed[kind.name] -= 1
            key = f"{message.offset()}".encode().rjust(kind.key_bytes, b"k")
            if kind.name == LEDGER:
                topic = f"{self._name}-{LEDGER}-{tenant_id.decode()}"
                self._producer.produce(topic, key=key, value=_sized(value, kind), partition=0)
            else:
                self._produce(kind, message.partition() or 0, value, key=key)

    def _produce(self, kind: Kind, partition: int, value: bytes, *, key: bytes) -> None:
        self._producer.produce(
            f"{self._name}-{kind.name}", key=key, value=_sized(value, kind), partition=partition
        )


def _sized(value: bytes, kind: Kind) -> bytes:
    """Of the command's own bytes: filler would be compressed to nothing."""
    size = kind.value_bytes
    return value[:size] if len(value) >= size else (value * (size // len(value) + 1))[:size]


def _answer(message: Message, tenant_id: bytes) -> bytes:
    command_id = dict(message.headers() or [])[HEADER_COMMAND_ID]
    assert isinstance(command_id, bytes)
    return tenant_id + b"/" + command_id


def _signed(count: int) -> list[tuple[bytes, bytes, bytes]]:
    public_key = ed25519.public_key(_SEED)
    messages = [secrets.token_bytes(_MESSAGE_BYTES) for _ in range(count)]
    return [(public_key, message, ed25519.sign(_SEED, message)) for message in messages]


def _is_valid(signed: tuple[bytes, bytes, bytes]) -> bool:
    return ed25519.verify(*signed)


if __name__ == "__main__":
    _Loop(json.loads(Path(sys.argv[1]).read_text())).run()

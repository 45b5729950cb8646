"""Harbor's loop on Apache Kafka dies at every numbered step: no entry and no answer is ever published twice.

The same cases as in memory (`unit/harbor/engine/test_loop_crashes.py`), on the adapters that people run: each process
takes over from one that died at the step before, with its transactional id, its store and its open transaction.

Seen to fail with mutants of `tests/simulation/mutants`: `commit-before-produce` (after `transactions.commit after` two
entries are missing), `store-before-commit` (the same after `transactions.begin before`), `store-assumed-current` (the
chain breaks). A start three commands too early shows by the answers alone: the ledger is the same.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from harbor.adapters.kafka_checkpoints import KafkaCheckpoints
from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.adapters.memory.ports import MemoryStateStore, PortCall, When
from harbor.adapters.memory.signature_pool import MemorySignaturePool
from harbor.adapters.noted_store import NotedStore
from harbor.domain.decision import RailPolicy
from harbor.engine.assignment import KafkaAssigner
from harbor.engine.batch import BatchRules
from harbor.engine.checkpoint_signing import CheckpointSigner, LedgerKey
from harbor.engine.cluster_layout import SINGLE_NODE, ledger_layout
from harbor.engine.loop import HarborLoop, LoopParts
from harbor.engine.ports import (
    Checkpoints,
    CommandConsumer,
    LogReader,
    LogRecord,
    SignaturePool,
    Transactions,
)
from harbor.engine.preparation import Preparation
from schemas.ledger.entry_chain import CHAIN_START, Link, check_link
from schemas.messages.avro_codec import decode_as
from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command, FundIntent
from schemas.messages.events import LedgerEntry
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, OUTCOMES, ledger_topic
from streams.runtime.clock import SystemClock
from streams.runtime.kafka_clients import client_settings, producer_settings
from streams.runtime.shared_settings import GroupProtocol, SharedSettings
from tests.integration.harbor.worlds import (
    PARTITIONS,
    SECONDS_MAX,
    KafkaWorld,
    kafka_world,
    settings_for,
)
from tests.support.builders import TENANT, a_command, an_intent_id, create_intent, provision_tenant
from tests.support.harbor_world import ISSUER_KEYS, LEDGER_SEED, Crash, Faults
from tests.support.records import plain_producer
from tests.unit.harbor.engine.test_loop_crashes import STEPS, plan_a_crash

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

PARTITION = partition_of(TENANT, PARTITIONS)
LEDGER = ledger_topic(TENANT)
_SLOT = "paybond-harbor-0"


class Watched:
    """A port whose every call goes through the process's faults, before and after."""

    def __init__(self, port: object, name: str, faults: Faults) -> None:
        self._port, self._name, self._faults = port, name, faults

    def __getattr__(self, attribute: str) -> Any:
        member = getattr(self._port, attribute)
        if not inspect.iscoroutinefunction(member):
            return member

        async def called(*arguments: Any, **named: Any) -> Any:
            call = f"{self._name}.{attribute}"
            await self._faults(PortCall(process=self._faults.process, call=call, when=When.BEFORE))
            result = await member(*arguments, **named)
            await self._faults(PortCall(process=self._faults.process, call=call, when=When.AFTER))
            return result

        return called


class Process:
    """One Harbor on the real adapters; its store outlives it, as a folder would."""

    def __init__(
        self, world: KafkaWorld, settings: SharedSettings, *, name: str, after: "Process | None"
    ) -> None:
        self.faults = Faults(name)
        self.rows = MemoryStateStore(process=name, hook=self.faults)
        if after is not None:
            self.rows.go_back_to(after.rows.snapshot())
        self.consumer = world.consumer()
        self.checkpoints = KafkaCheckpoints(producer_settings(settings, client_id=name))
        self.reader: KafkaLogReader = world.reader()
        transactions = world.transactions(_SLOT)
        clock = SystemClock()
        store = NotedStore(self.rows, take_committed=transactions.take_committed, clock=clock)
        reader = cast("LogReader", Watched(self.reader, "reader", self.faults))
        self.signer = CheckpointSigner(
            cast("Checkpoints", Watched(self.checkpoints, "checkpoints", self.faults)),
            key=LedgerKey(deployment="test", seed=LEDGER_SEED),
            partitions=PARTITIONS,
        )
        pool = Watched(MemorySignaturePool(process=name), "signatures", self.faults)
        self.loop = HarborLoop(
            LoopParts(
                consumer=cast("CommandConsumer", Watched(self.consumer, "consumer", self.faults)),
                transactions=cast(
                    "Transactions", Watched(transactions, "transactions", self.faults)
                ),
                preparation=Preparation(
                    store=store,
                    reader=reader,
                    pool=cast("SignaturePool", pool),
                    assigner=KafkaAssigner(
                        reader=reader, store=store, clock=clock, partitions=PARTITIONS
                    ),
                    clock=clock,
                ),
                signer=self.signer,
                rules=BatchRules(partitions=PARTITIONS, rails=RailPolicy()),
                issuer_keys=ISSUER_KEYS,
            )
        )

    async def run_until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while not await is_so():
                await self.loop.turn()
                await self.signer.publish_pending()

    async def decides_all(self) -> bool:
        end = await self.reader.end_offset(COMMANDS, PARTITION)
        return await self.reader.committed_offset(PARTITION) == end

    async def owns_all(self) -> bool:
        return len(self.loop.partitions) == PARTITIONS

    async def never(self) -> bool:
        """For one that is to die: deciding all is not its end."""
        return False

    async def bury(self) -> None:
        """What the group's session and the broker would see of a dead one; its transaction stays open."""
        await self.consumer.close()
        await self.checkpoints.close()


def commands_of(number: int) -> tuple[Command, Command]:
    """An intent is created and asked to be funded: two entries."""
    intent_id = an_intent_id(number)
    deadline = (SystemClock().now() + timedelta(days=3)).replace(microsecond=0)
    body = create_intent(intent_id=intent_id, deadline=deadline)
    return (
        a_command(body, number=2 * number, intent_id=intent_id),
        a_command(FundIntent(), number=2 * number + 1, intent_id=intent_id),
    )


def send(bootstrap: str, *commands: Command) -> None:
    producer = plain_producer(bootstrap)
    for command in commands:
        producer.produce(
            COMMANDS,
            key=command.tenant_id.encode(),
            value=seal(command, ISSUER_KEYS[command.issuer][0]),
            headers=dict(command_headers(command)),
            partition=PARTITION,
        )
    assert producer.flush(SECONDS_MAX) == 0


async def all_of(reader: KafkaLogReader, topic: str, partition: int) -> list[LogRecord]:
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            end = await reader.end_offset(topic, partition)
            if await reader.stable_offset(topic, partition) == end:
                read = reader.read(topic, partition, start=0, end=end)
                return [record async for record in read]
            await asyncio.sleep(0.05)


def test_a_crash_at_any_step_publishes_no_entry_twice_and_loses_none(kafka: str) -> None:
    settings = settings_for(kafka, is_apache=True, protocol=GroupProtocol.CONSUMER)

    async def scenario() -> None:
        async with kafka_world(settings) as world:
            topics = KafkaTopics(client_settings(settings, client_id="test"))
            await topics.create(ledger_layout(TENANT, durability=SINGLE_NODE))
            await topics.close()
            process = Process(world, settings, name="process-0", after=None)
            await process.loop.start()
            await process.run_until(process.owns_all)
            send(kafka, a_command(provision_tenant(), number=0))
            await process.run_until(process.decides_all)
            sent: list[Command] = []
            for number, step in enumerate(STEPS, start=1):
                plan_a_crash(process.faults, step)
                # `reader.ledger_topics` is asked only where a tenant may begin; a second beginning is refused.
                made = commands_of(number)
                send(kafka, *made, a_command(provision_tenant(), number=1000 + number))
                sent += made
                with pytest.raises(Crash):
                    await process.run_until(process.never)
                await process.bury()
                process = Process(world, settings, name=f"process-{number}", after=process)
                await process.loop.start()
                await process.run_until(process.owns_all)
                await process.run_until(process.decides_all)
                entries = await all_of(process.reader, LEDGER, 0)
                assert_each_is_there_once(entries, sent, after=step)
                answers = await all_of(process.reader, OUTCOMES, PARTITION)
                assert_each_is_answered_once(answers, after=step)
            await process.bury()

    asyncio.run(scenario())


def assert_each_is_there_once(
    records: Sequence[LogRecord], sent: Sequence[Command], *, after: str
) -> None:
    """Behind the tenant's first entry: one entry per command, in order, and an unbroken chain."""
    end = CHAIN_START
    for record in records:
        entry = decode_as(LedgerEntry, record.value or b"")
        link = Link(
            tenant_id=TENANT,
            seq=entry.seq,
            prev_hash=entry.prev_hash,
            record_key=record.key,
            value=record.value or b"",
        )
        end = check_link(end, link, tenant_id=TENANT)
    by_command = [decode_as(LedgerEntry, r.value or b"").command_id for r in records]
    assert by_command[1:] == [command.command_id for command in sent], after


def assert_each_is_answered_once(records: Sequence[LogRecord], *, after: str) -> None:
    """The domain refuses most commands a second time, so the ledger alone does not show what was decided again."""
    counts = Counter(record.key for record in records)
    assert [key for key, count in counts.items() if count > 1] == [], after

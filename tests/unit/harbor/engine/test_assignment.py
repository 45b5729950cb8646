"""The assignment protocol over memory: what it waits for, what it reads, whom it stops, and that it wipes nothing."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import (
    MemoryLogReader,
    MemoryStateStore,
    MemoryTransactions,
    PortCall,
)
from harbor.adapters.noted_store import NotedStore
from harbor.engine.assignment import KafkaAssigner
from harbor.engine.batch_lookup import nonce_writes_of
from harbor.engine.local_state import AGE_MAX, MARKS, RESTORED_TOPICS, restored_key
from harbor.engine.ports import LogRecord, OutputRecord
from schemas.errors import BrokerUnavailableError, ConfigurationError
from schemas.ids import IntentId, TenantId
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.commands import Command
from schemas.messages.outcomes import Outcome
from schemas.messages.tips import Position, Tip
from schemas.partitioner import partition_of
from schemas.topics import (
    CHECKPOINTS,
    COMMANDS,
    INTENTS,
    OUTCOMES,
    POSITIONS,
    TIPS,
    checkpoint_key,
    intent_key,
    ledger_topic,
    position_key,
    tip_key,
)
from tests.support.builders import TENANT, a_command, an_intent_id, create_intent, provision_tenant
from tests.support.harbor_world import PARTITIONS, HarborWorld, run
from tests.support.ledger_builder import LedgerBuilder

PARTITION = partition_of(TENANT, PARTITIONS)


def a_creation(number: int) -> Command:
    intent_id = an_intent_id(number)
    body = create_intent(intent_id=intent_id)
    return a_command(body, number=number, intent_id=intent_id, nonce=f"nonce-{number}")


class CountingReader(MemoryLogReader):
    """Which topics were read, and how many records came."""

    def __init__(self, kafka: MemoryKafka) -> None:
        super().__init__(kafka, process="reader")
        self.records: dict[str, int] = {}

    async def read(
        self, topic: str, partition: int, *, start: int, end: int
    ) -> AsyncGenerator[LogRecord, None]:
        async for record in super().read(topic, partition, start=start, end=end):
            self.records[topic] = self.records.get(topic, 0) + 1
            yield record


class Restoring:
    """A world whose tenant has a history, and an owner that comes new."""

    def __init__(self, world: HarborWorld, store: MemoryStateStore | None = None) -> None:
        self.world = world
        self.store = store or MemoryStateStore()
        self.reader = CountingReader(world.kafka)
        self.assigner = KafkaAssigner(
            reader=self.reader, store=self.store, clock=world.clock, partitions=PARTITIONS
        )

    def append(self, topic: str, *, key: bytes, message: object) -> None:
        """As nobody should: past every transaction."""
        self.world.kafka.append(topic, PARTITION, key=key, value=encode(message))

    def tip(self) -> Tip:
        records = list(self.world.kafka.read(TIPS, PARTITION))
        return decode_as(Tip, records[-1].value or b"")

    async def reason(self) -> str:
        restored = await self.assigner.restore(PARTITION)
        return restored.quarantined[TENANT]


async def a_history() -> Restoring:
    world = HarborWorld()
    await world.decide(
        a_command(provision_tenant(), number=1),
        a_creation(2),
        a_creation(3),
    )
    return Restoring(world)


def positions(restoring: Restoring) -> int:
    return restoring.world.kafka.partition(COMMANDS, PARTITION).high_watermark


def test_an_empty_partition_starts_at_its_first_command() -> None:
    async def scenario() -> None:
        restored = await Restoring(HarborWorld()).assigner.restore(PARTITION)

        assert restored.next_offset == 0
        assert restored.quarantined == {}
        assert restored.tips == ()

    run(scenario)


def test_a_cold_store_has_after_it_what_the_loop_had() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await world.decide(a_command(provision_tenant(), number=1), a_creation(2))
        restoring = Restoring(world)

        restored = await restoring.assigner.restore(PARTITION)

        assert restored.next_offset == positions(restoring)
        assert restored.tips == (restoring.tip(),)
        assert restored.quarantined == {}
        loops = process.store.snapshot()[PARTITION]
        fresh = restoring.store.snapshot()[PARTITION]
        for namespace in (*RESTORED_TOPICS, "nonce", "due", POSITIONS):
            assert {k: v for k, v in fresh.items() if k[0] == namespace} == {
                k: v for k, v in loops.items() if k[0] == namespace
            }, namespace

    run(scenario)


def test_a_store_that_stands_where_the_topics_stand_reads_no_changelog() -> None:
    async def scenario() -> None:
        first = await a_history()
        await first.assigner.restore(PARTITION)
        again = Restoring(first.world, first.store)

        restored = await again.assigner.restore(PARTITION)

        assert restored.next_offset == positions(again)
        assert INTENTS not in again.reader.records
        assert OUTCOMES not in again.reader.records

    run(scenario)


def test_a_store_that_is_behind_is_read_on_from_its_note() -> None:
    async def scenario() -> None:
        first = await a_history()
        await first.assigner.restore(PARTITION)
        await first.world.decide(a_creation(4))
        again = Restoring(first.world, first.store)
        cold = Restoring(first.world)

        await again.assigner.restore(PARTITION)
        await cold.assigner.restore(PARTITION)

        assert again.reader.records[OUTCOMES] == 1
        assert cold.reader.records[OUTCOMES] == 4
        assert again.store.snapshot() == cold.store.snapshot()

    run(scenario)


def test_a_store_that_may_have_missed_tombstones_is_made_anew_and_keeps_its_marks() -> None:
    async def scenario() -> None:
        first = await a_history()
        await first.assigner.restore(PARTITION)
        erased, mark = (INTENTS, b"tenant-one/erased"), (MARKS, b"deciding")
        await first.store.write({PARTITION: {erased: b"x", mark: b"0 1 2"}})
        first.world.clock.advance(AGE_MAX + timedelta(seconds=1))
        await first.world.decide(a_creation(4))
        again = Restoring(first.world, first.store)

        await again.assigner.restore(PARTITION)

        found = await again.store.get_many(PARTITION, [erased, mark])
        assert found == {mark: b"0 1 2"}

    run(scenario)


def test_outcomes_outside_the_window_are_not_restored() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        restoring.world.clock.advance(timedelta(hours=26))
        command = a_creation(4)
        await restoring.world.decide(command)

        await restoring.assigner.restore(PARTITION)

        rows = [key async for key, _ in restoring.store.scan(PARTITION, OUTCOMES, b"")]
        assert rows == [f"{TENANT}/{command.command_id}".encode()]

    run(scenario)


def test_the_index_of_spent_nonces_is_restored_with_the_outcomes() -> None:
    async def scenario() -> None:
        restoring = await a_history()

        await restoring.assigner.restore(PARTITION)

        outcomes = [
            decode_as(Outcome, value)
            async for _, value in restoring.store.scan(PARTITION, OUTCOMES, b"")
        ]
        wanted = [key for outcome in outcomes for key in nonce_writes_of(outcome)]
        assert wanted
        assert set(await restoring.store.get_many(PARTITION, wanted)) == set(wanted)

    run(scenario)


def test_a_group_that_was_moved_back_goes_on_at_the_position() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        restoring.world.kafka.group("paybond-harbor").commit({(COMMANDS, PARTITION): 1})

        restored = await restoring.assigner.restore(PARTITION)

        assert restored.next_offset == positions(restoring)

    run(scenario)


def test_a_group_that_was_moved_forward_stops_the_process() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        beyond = positions(restoring) + 1
        restoring.world.kafka.group("paybond-harbor").commit({(COMMANDS, PARTITION): beyond})

        with pytest.raises(ConfigurationError, match="moved the group forward"):
            await restoring.assigner.restore(PARTITION)

    run(scenario)


def a_position(next_offset: int) -> OutputRecord:
    return OutputRecord(
        topic=POSITIONS,
        partition=PARTITION,
        key=position_key(PARTITION),
        value=encode(Position(partition=PARTITION, next_offset=next_offset)),
    )


async def open_transaction(world: HarborWorld, records: Iterable[OutputRecord]) -> None:
    zombie = MemoryTransactions(world.kafka, process="zombie", transactional_id="paybond-harbor-9")
    await zombie.initialize()
    await zombie.begin()
    await zombie.produce(list(records))


def test_an_open_transaction_of_a_predecessor_is_waited_for() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        await open_transaction(restoring.world, [a_position(99)])
        restore = asyncio.create_task(restoring.assigner.restore(PARTITION))
        for _ in range(50):
            await asyncio.sleep(0)
        waited = not restore.done()

        restoring.world.kafka.time_out_transaction("paybond-harbor-9")
        restored = await restore

        assert waited
        assert restored.next_offset == positions(restoring)

    run(scenario)


def test_a_transaction_that_hangs_for_a_minute_is_named() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        await open_transaction(restoring.world, [a_position(99)])

        with pytest.raises(BrokerUnavailableError, match="paybond-harbor-9"):
            await restoring.assigner.restore(PARTITION)

    run(scenario)


def test_a_tenant_whose_tip_and_ledger_differ_is_quarantined_and_the_others_go_on() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        restoring.append(TIPS, key=tip_key(TENANT), message=replace(restoring.tip(), size=2))
        other = LedgerBuilder(tenant_id=a_neighbour())
        restoring.world.kafka.create_ledger_topic(ledger_topic(other.tenant_id))

        restored = await restoring.assigner.restore(PARTITION)

        assert set(restored.quarantined) == {TENANT}
        assert await restoring.assigner.recheck(PARTITION, TENANT) is not None
        assert await restoring.assigner.recheck(PARTITION, other.tenant_id) is None

    run(scenario)


def a_neighbour() -> TenantId:
    """A tenant of the same partition."""
    names = (TenantId(f"neighbour-{number}") for number in range(100))
    return next(name for name in names if partition_of(name, PARTITIONS) == PARTITION)


def test_a_state_ahead_of_the_ledger_is_quarantined() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        ledger = LedgerBuilder()
        ledger.provision()
        newest = [ledger.create(number) for number in range(6)][-1]
        key = intent_key(TENANT, IntentId(newest))
        restoring.append(INTENTS, key=key, message=ledger.states[newest])

        assert "a state stands at seq" in await restoring.reason()

    run(scenario)


def test_a_served_checkpoint_ahead_is_quarantined_and_remembered_by_a_warm_store() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        ledger = LedgerBuilder()
        ledger.provision()
        signed = ledger.signed(size=9)
        restoring.append(CHECKPOINTS, key=checkpoint_key(TENANT, 9), message=signed)

        first = await restoring.reason()
        again = Restoring(restoring.world, restoring.store)

        assert "a checkpoint of size 9 was served" in first
        assert "a checkpoint of size 9 was served" in await again.reason()
        assert CHECKPOINTS not in again.reader.records

    run(scenario)


def test_a_store_ahead_of_the_topics_stops_its_tenant_and_loses_nothing() -> None:
    async def scenario() -> None:
        ahead = await a_history()
        await ahead.assigner.restore(PARTITION)
        world = HarborWorld()
        await world.decide(a_command(provision_tenant(), number=1))
        before = ahead.store.snapshot()[PARTITION]
        restoring = Restoring(world, ahead.store)

        first = await restoring.reason()
        second = await Restoring(world, ahead.store).reason()

        assert "the local store stands at seq" in first
        assert second == first
        after = ahead.store.snapshot()[PARTITION]
        kept = {k: v for k, v in before.items() if k[0] in {*RESTORED_TOPICS, "nonce"}}
        assert kept.items() <= after.items()

    run(scenario)


def test_a_state_that_cannot_be_read_is_not_stored_and_stops_its_tenant() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        key = b"tenant-one/00000000-0000-8000-8000-000000000000"
        restoring.world.kafka.append(INTENTS, PARTITION, key=key, value=b"\x00junk")

        reason = await restoring.reason()

        assert "not in Confluent's wire format" in reason or "registry" in reason
        assert await restoring.store.get_many(PARTITION, [(INTENTS, key)]) == {}

    run(scenario)


def test_a_tip_without_a_ledger_topic_is_quarantined() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        restoring.world.kafka.delete_topic(ledger_topic(TENANT))

        assert "no topic paybond.ledger.tenant-one" in await restoring.reason()

    run(scenario)


def test_a_noted_store_keeps_offsets_with_the_rows_they_stand_for() -> None:
    async def scenario() -> None:
        world, inner = HarborWorld(), MemoryStateStore()
        committed = {(INTENTS, 1): 7, (INTENTS, 2): 5, (ledger_topic(TENANT), 0): 3}

        def take() -> dict[tuple[str, int], int]:
            taken, committed_now = dict(committed), committed
            committed_now.clear()
            return taken

        store = NotedStore(inner, take_committed=take, clock=world.clock)

        await store.write({1: {(INTENTS, b"k"): b"v"}})
        await store.write({2: {(INTENTS, b"k"): b"v"}})

        noted = await inner.get_many(1, [restored_key(INTENTS), (INTENTS, b"k")])
        assert noted == {restored_key(INTENTS): b"7", (INTENTS, b"k"): b"v"}
        assert await inner.get_many(2, [restored_key(INTENTS)]) == {}

    run(scenario)


def test_every_port_call_of_a_restore_may_be_its_last_and_the_next_one_ends_the_same() -> None:
    """A restore that is cut off anywhere leaves a store from which the next one gets to the same state."""

    async def scenario() -> None:
        restoring = await a_history()
        await restoring.assigner.restore(PARTITION)
        wanted = restoring.store.snapshot()
        for cut in range(200):
            calls = 0

            async def dies(call: PortCall, *, at: int = cut) -> None:
                nonlocal calls
                calls += 1
                if calls > at:
                    raise ConnectionError(call.call)

            store = MemoryStateStore(hook=dies)
            broken = KafkaAssigner(
                reader=MemoryLogReader(restoring.world.kafka, process="cut", hook=dies),
                store=store,
                clock=restoring.world.clock,
                partitions=PARTITIONS,
            )
            try:
                await broken.restore(PARTITION)
            except ConnectionError:
                survivor = MemoryStateStore()
                survivor.go_back_to(store.snapshot())
                await Restoring(restoring.world, survivor).assigner.restore(PARTITION)
                assert survivor.snapshot() == wanted, cut
            else:
                assert cut > 10
                return
        raise AssertionError("the restore never ended")

    run(scenario)


def test_a_command_id_is_decided_once_over_a_cold_start() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        before = restoring.world.events()

        await restoring.world.decide(a_creation(2))

        assert restoring.world.events() == before

    run(scenario)


def test_a_restore_that_hung_while_another_owner_decided_does_not_vouch_for_what_it_never_read() -> (
    None
):
    async def scenario() -> None:
        world = HarborWorld()
        slow = world.process("slow")

        async def meanwhile() -> None:
            # A refusal changes no tip: nothing but the position tells that something was decided.
            await world.decide(a_creation(1))

        slow.faults.meanwhile("store.write before", meanwhile)
        await slow.assigner.restore(PARTITION)
        await slow.assigner.restore(PARTITION)

        rows = slow.store.snapshot()[PARTITION]
        assert [key for space, key in rows if space == OUTCOMES] == [
            key for key, _ in world.outcome_records()
        ]

    run(scenario)

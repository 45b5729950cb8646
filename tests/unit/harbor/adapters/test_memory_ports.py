"""The ports over the broker in memory: what a member is shown, what a reader waits for, what a store keeps."""

import asyncio
from datetime import timedelta

import pytest

from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import (
    MemoryCommandConsumer,
    MemoryLogReader,
    MemoryStateStore,
    MemoryTransactions,
    PortCall,
    When,
)
from harbor.engine.ports import AbortableError, OutputRecord
from schemas.topics import COMMANDS, GROUP_HARBOR, ledger_topic
from tests.support.builders import T0, TENANT
from tests.support.harbor_world import run

PARTITIONS = 2


def a_broker() -> MemoryKafka:
    kafka = MemoryKafka(now=lambda: T0)
    kafka.create_paybond_topics(partitions=PARTITIONS)
    return kafka


def send(kafka: MemoryKafka, *values: bytes, partition: int = 0) -> None:
    for value in values:
        kafka.append(COMMANDS, partition, key=b"t", value=value, headers={"h": b"1"})


def test_a_newly_assigned_partition_is_paused_until_it_is_started() -> None:
    async def scenario() -> None:
        kafka = a_broker()
        send(kafka, b"a", b"b", b"c")
        consumer = MemoryCommandConsumer(kafka, process="m")
        joined = await consumer.consume(records_max=10)
        await consumer.start({0: 1})
        consumed = await consumer.consume(records_max=10)

        assert (joined.assigned, joined.records) == ((0, 1), ())
        assert [record.value for record in consumed.records] == [b"b", b"c"]
        assert [(r.partition, r.offset) for r in consumed.records] == [(0, 1), (0, 2)]
        assert consumed.records[0].headers == {"h": b"1"}
        assert (await consumer.consume(records_max=10)).records == ()

    run(scenario)


def test_a_batch_is_bounded_and_goes_on_where_it_ended() -> None:
    async def scenario() -> None:
        kafka = a_broker()
        send(kafka, b"a", b"b", b"c")
        consumer = MemoryCommandConsumer(kafka, process="m")
        await consumer.consume(records_max=1)
        await consumer.start({0: 0, 1: 0})
        batches = [await consumer.consume(records_max=2) for _ in range(2)]

        assert [[r.value for r in batch.records] for batch in batches] == [[b"a", b"b"], [b"c"]]

    run(scenario)


def test_a_seek_brings_records_again_and_a_lost_partition_ignores_it() -> None:
    async def scenario() -> None:
        kafka = a_broker()
        send(kafka, b"a")
        send(kafka, b"x", partition=1)
        consumer = MemoryCommandConsumer(kafka, process="a")
        await consumer.consume(records_max=9)
        await consumer.start({0: 0, 1: 0})
        await consumer.consume(records_max=9)
        kafka.group(GROUP_HARBOR).join("b", COMMANDS)
        change = await consumer.consume(records_max=9)
        await consumer.seek({0: 0, 1: 0})
        await consumer.start({1: 0})
        again = await consumer.consume(records_max=9)

        assert change.revoked == (1,)
        assert [record.value for record in again.records] == [b"a"]

    run(scenario)


def test_an_expelled_member_loses_all_and_joins_anew() -> None:
    async def scenario() -> None:
        kafka = a_broker()
        consumer = MemoryCommandConsumer(kafka, process="m")
        await consumer.consume(records_max=9)
        await consumer.start({0: 0, 1: 0})
        kafka.group(GROUP_HARBOR).remove("m")
        back = await consumer.consume(records_max=9)
        send(kafka, b"a")

        assert (back.revoked, back.assigned) == ((0, 1), (0, 1))
        assert (await consumer.consume(records_max=9)).records == ()

    run(scenario)


def test_the_metadata_of_a_batch_is_of_the_moment_before_it() -> None:
    async def scenario() -> None:
        kafka = a_broker()
        consumer = MemoryCommandConsumer(kafka, process="m")
        consumed = await consumer.consume(records_max=9)
        kafka.group(GROUP_HARBOR).rebalance()
        transactions = MemoryTransactions(kafka, process="m", transactional_id="t")
        await transactions.initialize()
        await transactions.begin()
        with pytest.raises(AbortableError):
            await transactions.send_offsets({0: 1}, consumed.group)
        await transactions.abort()

        assert kafka.group(GROUP_HARBOR).committed((COMMANDS, 0)) is None

    run(scenario)


def test_the_stable_offset_waits_for_the_transaction_that_holds_one() -> None:
    async def scenario() -> None:
        kafka = a_broker()
        consumer = MemoryCommandConsumer(kafka, process="m")
        consumed = await consumer.consume(records_max=9)
        transactions = MemoryTransactions(kafka, process="m", transactional_id="t")
        await transactions.initialize()
        await transactions.begin()
        await transactions.send_offsets({0: 4}, consumed.group)
        reader = MemoryLogReader(kafka, process="r")
        asking = asyncio.create_task(reader.committed_offset(0))
        for _ in range(5):
            await asyncio.sleep(0)
        was_waiting = not asking.done()
        await transactions.commit()

        assert was_waiting
        assert await asking == 4
        assert await reader.committed_offset(1) is None

    run(scenario)


def test_a_reader_sees_what_was_committed_and_both_ends() -> None:
    async def scenario() -> None:
        kafka = a_broker()
        topic = ledger_topic(TENANT)
        kafka.create_ledger_topic(topic)
        reader = MemoryLogReader(kafka, process="r")
        transactions = MemoryTransactions(kafka, process="m", transactional_id="t")
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([OutputRecord(topic=topic, partition=0, key=b"1", value=b"a")])
        await transactions.flush()
        open_ends = await reader.stable_offset(topic, 0), await reader.end_offset(topic, 0)
        await transactions.commit()
        read = [record.value async for record in reader.read(topic, 0, start=0, end=9)]
        last = await reader.last_record(topic, 0)

        assert open_ends == (0, 1)
        assert read == [b"a"]
        assert last is not None
        assert (last.offset, last.key) == (0, b"1")
        assert await reader.beginning_offset(topic, 0) == 0
        assert await reader.ledger_topics() == {topic}
        assert await reader.topic_id(topic) == kafka.topic_id(topic)
        await transactions.close()

    run(scenario)


def test_a_store_keeps_what_was_written_and_deletes_what_is_none() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        await store.write({0: {("n", b"a/1"): b"x", ("n", b"a/2"): b"y", ("m", b"a/3"): b"z"}})
        await store.write({0: {("n", b"a/1"): None}, 1: {("n", b"a/2"): b"other"}})
        found = await store.get_many(0, [("n", b"a/1"), ("n", b"a/2")])
        scanned = [row async for row in store.scan(0, "n", b"a/")]

        assert found == {("n", b"a/2"): b"y"}
        assert scanned == [(b"a/2", b"y")]
        await store.drop(0)
        assert await store.get_many(0, [("n", b"a/2")]) == {}
        assert await store.get_many(1, [("n", b"a/2")]) == {("n", b"a/2"): b"other"}
        await store.close()

    run(scenario)


def test_a_store_can_lose_its_last_writes() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        await store.write({0: {("n", b"a"): b"old"}})
        moment = store.snapshot()
        await store.write({0: {("n", b"a"): b"new"}})
        store.go_back_to(moment)

        assert await store.get_many(0, [("n", b"a")]) == {("n", b"a"): b"old"}

    run(scenario)


def test_every_call_asks_its_hook_on_both_sides() -> None:
    async def scenario() -> None:
        asked: list[PortCall] = []

        async def note(call: PortCall) -> None:
            asked.append(call)

        consumer = MemoryCommandConsumer(a_broker(), process="m", hook=note)
        await consumer.consume(records_max=1)
        await consumer.close()

        assert asked == [
            PortCall(process="m", call="consumer.consume", when=When.BEFORE),
            PortCall(process="m", call="consumer.consume", when=When.AFTER),
            PortCall(process="m", call="consumer.close", when=When.BEFORE),
            PortCall(process="m", call="consumer.close", when=When.AFTER),
        ]

    run(scenario)


def test_whoever_sleeps_gets_to_that_time() -> None:
    async def scenario() -> None:
        clock = MemoryClock(T0)
        await clock.sleep(timedelta(seconds=2))
        clock.advance(timedelta(seconds=-1))

        assert clock.now() == T0 + timedelta(seconds=1)

    run(scenario)

"""The group's member: who owns what, what a batch holds, what an abort brings back, whose offsets count."""

import asyncio

import pytest

from harbor.engine.ports import AbortableError, CommandConsumer, Consumed, InputRecord
from schemas.topics import INTENTS
from tests.contract.harbor.test_transactions import play
from tests.contract.harbor.worlds import (
    PARTITIONS,
    OpenWorld,
    World,
    an_output,
    records_of,
    until,
    values_of,
)


async def quiet(consumer: CommandConsumer, times: int = 3) -> list[Consumed]:
    """A few calls that have nothing to bring."""
    return [await consumer.consume(records_max=10) for _ in range(times)]


def test_a_newly_assigned_partition_is_silent_until_it_is_started(open_world: OpenWorld) -> None:
    async def scenario(world: World) -> None:
        await world.send(0, b"a", b"b")
        consumer, consumed = await world.owner_of_all()

        assert consumed.records == ()
        assert [one.records for one in await quiet(consumer)] == [(), (), ()]

        await consumer.start({0: 0, 1: 0})

        assert [r.value for r in await records_of(consumer, 2)] == [b"a", b"b"]

    play(open_world, scenario)


def test_a_partition_starts_where_it_is_told(open_world: OpenWorld) -> None:
    async def scenario(world: World) -> None:
        await world.send(0, b"a", b"b", b"c")
        await world.send(1, b"d")
        consumer, _ = await world.owner_of_all()

        await consumer.start({0: 2, 1: 0})

        records = await records_of(consumer, 2)
        assert {(r.partition, r.offset, r.value) for r in records} == {(0, 2, b"c"), (1, 0, b"d")}
        assert all(r.key == b"tenant" for r in records)

    play(open_world, scenario)


def test_a_partition_that_is_not_owned_can_not_be_started(open_world: OpenWorld) -> None:
    async def scenario(world: World) -> None:
        consumer, _ = await world.owner_of_all()

        await consumer.start({PARTITIONS + 3: 0})

        assert [one.records for one in await quiet(consumer)] == [(), (), ()]

    play(open_world, scenario)


def test_a_batch_has_no_more_records_than_asked_for(open_world: OpenWorld) -> None:
    async def scenario(world: World) -> None:
        await world.send(0, *[b"%d" % n for n in range(7)])
        consumer, _ = await world.owner_of_all()
        await consumer.start({0: 0})
        sizes: list[int] = []
        values: list[bytes | None] = []

        async def all_seen() -> bool | None:
            consumed = await consumer.consume(records_max=3)
            sizes.append(len(consumed.records))
            values.extend(r.value for r in consumed.records)
            return True if len(values) >= 7 else None

        await until(all_seen)

        assert max(sizes) <= 3
        assert values == [b"%d" % n for n in range(7)]

    play(open_world, scenario)


def test_after_a_seek_the_same_records_come_again(open_world: OpenWorld) -> None:
    async def scenario(world: World) -> None:
        await world.send(0, b"a", b"b", b"c")
        consumer, _ = await world.owner_of_all()
        await consumer.start({0: 0, 1: 0})
        first = await records_of(consumer, 3)
        await world.send(0, b"d")

        await consumer.seek({0: 1})

        again = await records_of(consumer, 3)
        assert [r.value for r in first] == [b"a", b"b", b"c"]
        assert [(r.offset, r.value) for r in again] == [(1, b"b"), (2, b"c"), (3, b"d")]

    play(open_world, scenario)


def test_a_seek_drops_what_was_fetched_ahead(open_world: OpenWorld) -> None:
    async def scenario(world: World) -> None:
        await world.send(0, *[b"%d" % n for n in range(50)])
        consumer, _ = await world.owner_of_all()
        await consumer.start({0: 0, 1: 0})

        async def one_batch() -> Consumed | None:
            consumed = await consumer.consume(records_max=5)
            return consumed if consumed.records else None

        batch = await until(one_batch)
        await consumer.seek({0: batch.records[0].offset})

        records = await records_of(consumer, 50)
        assert [r.offset for r in records] == list(range(50))

    play(open_world, scenario)


def test_offsets_count_once_their_transaction_committed(
    open_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        await world.send(0, b"a", b"b")
        consumer, _ = await world.owner_of_all()
        await consumer.start({0: 0})
        group = (await quiet(consumer, 1))[0].group
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        reader = world.reader()
        before = await reader.committed_offset(0)

        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"x")])
        await transactions.flush()
        await transactions.send_offsets({0: 2}, group)
        await transactions.commit()

        assert before is None
        assert await reader.committed_offset(0) == 2
        assert await reader.committed_offset(1) is None

    play(open_world, scenario)


def test_offsets_of_an_aborted_transaction_never_count(
    open_strict_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        consumer, _ = await world.owner_of_all()
        group = (await quiet(consumer, 1))[0].group
        transactions = world.transactions(unique_name)
        await transactions.initialize()

        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"x")])
        await transactions.flush()
        await transactions.send_offsets({0: 2}, group)
        await transactions.abort()

        assert await world.reader().committed_offset(0) is None

    play(open_strict_world, scenario)


def test_a_committed_offset_waits_for_the_transaction_that_holds_it(
    open_strict_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        consumer, _ = await world.owner_of_all()
        group = (await quiet(consumer, 1))[0].group
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"x")])
        await transactions.flush()
        await transactions.send_offsets({0: 2}, group)
        asking = asyncio.create_task(world.reader().committed_offset(0))
        await asyncio.sleep(0.5)
        waited = not asking.done()

        await transactions.commit()

        assert await asking == 2
        assert waited

    play(open_strict_world, scenario)


def test_two_members_share_the_partitions_and_one_that_leaves_gives_its_own_back(
    open_strict_world: OpenWorld,
) -> None:
    async def scenario(world: World) -> None:
        first, _ = await world.owner_of_all()
        second = world.consumer()
        owned = {id(first): set(range(PARTITIONS)), id(second): set()}

        async def turn(consumer: CommandConsumer) -> None:
            consumed = await consumer.consume(records_max=10)
            owned[id(consumer)] -= set(consumed.revoked)
            owned[id(consumer)] |= set(consumed.assigned)

        async def are_shared() -> bool | None:
            await asyncio.gather(turn(first), turn(second))
            return True if owned[id(first)] and owned[id(second)] else None

        await until(are_shared)
        assert owned[id(first)] | owned[id(second)] == set(range(PARTITIONS))
        assert not owned[id(first)] & owned[id(second)]

        await second.close()

        async def is_whole() -> bool | None:
            await turn(first)
            return True if len(owned[id(first)]) == PARTITIONS else None

        await until(is_whole)

    play(open_strict_world, scenario)


def test_a_partition_that_came_back_is_silent_until_it_is_started_again(
    open_strict_world: OpenWorld,
) -> None:
    async def scenario(world: World) -> None:
        await world.send(0, b"a")
        await world.send(1, b"b")
        first, _ = await world.owner_of_all()
        await first.start({0: 0, 1: 0})
        await records_of(first, 2)
        second = world.consumer()
        lost: set[int] = set()

        async def has_lost() -> bool | None:
            consumed, _ = await asyncio.gather(
                first.consume(records_max=10), second.consume(records_max=10)
            )
            lost.update(set(consumed.revoked) - set(consumed.assigned))
            return True if lost else None

        await until(has_lost)
        await second.close()
        back: set[int] = set()
        records: list[InputRecord] = []

        async def has_them_back() -> bool | None:
            consumed = await first.consume(records_max=10)
            back.update(consumed.assigned)
            records.extend(consumed.records)
            return True if lost <= back else None

        await until(has_them_back)
        for partition in lost:
            await world.send(partition, b"new")
        records += [r for one in await quiet(first) for r in one.records]

        assert [r for r in records if r.partition in lost] == []

    play(open_strict_world, scenario)


def test_a_generation_that_is_over_can_commit_nothing(
    open_strict_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        first, _ = await world.owner_of_all()
        await first.start({0: 0, 1: 0})
        stale = (await quiet(first, 1))[0].group
        second = world.consumer()
        taken: set[int] = set()

        async def is_shared() -> bool | None:
            _, consumed = await asyncio.gather(
                first.consume(records_max=10), second.consume(records_max=10)
            )
            taken.update(consumed.assigned)
            return True if taken else None

        await until(is_shared)
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"lost", key=b"lost")])
        await transactions.flush()

        # From 4.3 on Kafka takes a former generation's offsets of a partition that it still owns (KIP-1251), so the
        # offset is one of a partition that went.
        with pytest.raises(AbortableError):
            await transactions.send_offsets({min(taken): 1}, stale)
        await transactions.abort()

        # The producer lives: an ordinary rebalance.
        fresh = (await quiet(first, 1))[0].group
        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"kept", key=b"kept")])
        await transactions.flush()
        kept = min(set(range(PARTITIONS)) - taken)
        await transactions.send_offsets({kept: 1}, fresh)
        await transactions.commit()
        reader = world.reader()
        assert await values_of(reader, INTENTS) == [b"kept"]
        assert await reader.committed_offset(kept) == 1
        assert await reader.committed_offset(min(taken)) is None

    play(open_strict_world, scenario)


def test_an_abort_and_a_seek_lose_nothing(open_strict_world: OpenWorld, unique_name: str) -> None:
    """What one learns the hard way: without the seek the aborted batch never comes again."""

    async def scenario(world: World) -> None:
        await world.send(0, b"a", b"b")
        consumer, _ = await world.owner_of_all()
        await consumer.start({0: 0, 1: 0})
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        for is_aborted in (True, False):
            records = await records_of(consumer, 2)
            group = (await quiet(consumer, 1))[0].group
            await transactions.begin()
            await transactions.produce(
                [an_output(INTENTS, r.value, key=r.value or b"") for r in records]
            )
            await transactions.flush()
            if is_aborted:
                await transactions.abort()
                await consumer.seek({0: records[0].offset})
                continue
            await transactions.send_offsets({0: records[-1].offset + 1}, group)
            await transactions.commit()

        reader = world.reader()
        assert await values_of(reader, INTENTS) == [b"a", b"b"]
        assert await reader.committed_offset(0) == 2

    play(open_strict_world, scenario)

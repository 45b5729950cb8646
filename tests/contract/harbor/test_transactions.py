"""Transactions and committed reads: what is seen, what never is, who is stopped."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from harbor.engine.ports import FencedError
from schemas.ids import TenantId
from schemas.topics import EVIDENCE, INTENTS, TIPS
from tests.contract.harbor.worlds import OpenWorld, World, an_output, values_of

Scenario = Callable[[World], Awaitable[None]]


def play(open_world: OpenWorld, scenario: Scenario) -> None:
    async def played() -> None:
        async with open_world() as world:
            await scenario(world)

    asyncio.run(played())


async def commit(world: World, transactional_id: str, *values: bytes, topic: str = INTENTS) -> None:
    transactions = world.transactions(transactional_id)
    await transactions.initialize()
    await transactions.begin()
    await transactions.produce([an_output(topic, value, key=value) for value in values])
    await transactions.flush()
    await transactions.commit()


def test_what_is_committed_is_read_in_order(open_world: OpenWorld, unique_name: str) -> None:
    async def scenario(world: World) -> None:
        await commit(world, unique_name, b"a", b"b", b"c")

        assert await values_of(world.reader(), INTENTS) == [b"a", b"b", b"c"]

    play(open_world, scenario)


def test_what_is_aborted_is_never_read(open_world: OpenWorld, unique_name: str) -> None:
    async def scenario(world: World) -> None:
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"aborted", key=b"aborted")])
        await transactions.flush()
        await transactions.abort()
        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"committed", key=b"committed")])
        await transactions.flush()
        await transactions.commit()

        assert await values_of(world.reader(), INTENTS) == [b"committed"]

    play(open_world, scenario)


def test_one_transaction_over_several_topics_is_seen_whole(
    open_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce(
            [an_output(topic, b"x", partition=1) for topic in (INTENTS, TIPS, EVIDENCE)]
        )
        await transactions.flush()
        await transactions.commit()

        reader = world.reader()
        for topic in (INTENTS, TIPS, EVIDENCE):
            assert await values_of(reader, topic, partition=1) == [b"x"]

    play(open_world, scenario)


def test_a_tombstone_is_read_as_no_value(open_world: OpenWorld, unique_name: str) -> None:
    async def scenario(world: World) -> None:
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(EVIDENCE, b"body"), an_output(EVIDENCE, None)])
        await transactions.flush()
        await transactions.commit()

        assert await values_of(world.reader(), EVIDENCE) == [b"body", None]

    play(open_world, scenario)


def test_a_large_record_that_its_topic_takes_is_taken(
    open_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        large = b"x" * 1_500_000
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(EVIDENCE, large)])
        await transactions.flush()
        await transactions.commit()

        assert await values_of(world.reader(), EVIDENCE) == [large]

    play(open_world, scenario)


def test_the_last_record_is_found_behind_markers_and_aborted_records(
    open_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        await commit(world, unique_name, b"first", b"last")
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        for _ in range(3):
            await transactions.begin()
            await transactions.produce(
                [an_output(INTENTS, b"x", key=f"{n}".encode()) for n in range(5)]
            )
            await transactions.flush()
            await transactions.abort()

        record = await world.reader().last_record(INTENTS, 0)

        assert record is not None
        assert record.value == b"last"

    play(open_world, scenario)


def test_an_empty_partition_has_no_last_record(open_world: OpenWorld) -> None:
    async def scenario(world: World) -> None:
        assert await world.reader().last_record(INTENTS, 1) is None

    play(open_world, scenario)


def test_a_read_starts_and_ends_where_it_is_told(open_world: OpenWorld, unique_name: str) -> None:
    async def scenario(world: World) -> None:
        await commit(world, unique_name, b"a", b"b", b"c", b"d")
        reader = world.reader()

        assert await values_of(reader, INTENTS, start=1, end=3) == [b"b", b"c"]
        assert await values_of(reader, INTENTS, start=2, end=2) == []

    play(open_world, scenario)


def test_a_read_to_the_end_ends_though_only_markers_are_left(
    open_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        await commit(world, unique_name, b"a")
        reader = world.reader()
        end = await reader.end_offset(INTENTS, 0)

        assert end == 2
        assert await values_of(reader, INTENTS, start=1, end=end) == []

    play(open_world, scenario)


def test_ledger_topics_are_told_from_all_others(open_world: OpenWorld) -> None:
    async def scenario(world: World) -> None:
        reader = world.reader()
        before = await reader.ledger_topics()

        await world.create_ledger(TenantId("acme"))

        assert before == frozenset()
        assert await reader.ledger_topics() == {"paybond.ledger.acme"}

    play(open_world, scenario)


def test_an_open_transaction_keeps_the_stable_offset_below_the_end(
    open_strict_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        await commit(world, unique_name, b"a")
        await values_of(world.reader(), INTENTS)
        transactions = world.transactions(f"{unique_name}-open")
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"open", key=b"open")])
        await transactions.flush()
        reader = world.reader()

        assert await reader.stable_offset(INTENTS, 0) == 2
        assert await reader.end_offset(INTENTS, 0) == 3
        assert await values_of(reader, INTENTS, end=2) == [b"a"]

        await transactions.commit()

        assert await values_of(reader, INTENTS) == [b"a", b"open"]

    play(open_strict_world, scenario)


def test_a_successor_settles_its_predecessors_transaction(
    open_strict_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        predecessor = world.transactions(unique_name)
        await predecessor.initialize()
        await predecessor.begin()
        await predecessor.produce([an_output(INTENTS, b"lost", key=b"lost")])
        await predecessor.flush()

        await commit(world, unique_name, b"kept")

        assert await values_of(world.reader(), INTENTS) == [b"kept"]

    play(open_strict_world, scenario)


def test_who_was_fenced_can_neither_commit_nor_begin_again(
    open_strict_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        fenced = world.transactions(unique_name)
        await fenced.initialize()
        await fenced.begin()
        await fenced.produce([an_output(INTENTS, b"lost", key=b"lost")])
        await fenced.flush()
        await world.transactions(unique_name).initialize()

        with pytest.raises(FencedError):
            await fenced.commit()
        with pytest.raises(FencedError):
            await fenced.begin()

        assert await values_of(world.reader(), INTENTS) == []

    play(open_strict_world, scenario)


def test_a_fence_is_met_at_the_first_call_that_speaks_to_the_broker(
    open_strict_world: OpenWorld, unique_name: str
) -> None:
    async def scenario(world: World) -> None:
        fenced = world.transactions(unique_name)
        await fenced.initialize()
        await world.transactions(unique_name).initialize()

        async def a_batch() -> None:
            await fenced.begin()
            await fenced.produce([an_output(INTENTS, b"lost", key=b"lost")])
            await fenced.flush()
            await fenced.commit()

        with pytest.raises(FencedError):
            await a_batch()

        assert await values_of(world.reader(), INTENTS) == []

    play(open_strict_world, scenario)

"""Contract of `Transactions`: all or nothing, one holder per id, offsets with the records or not at all."""

import asyncio

import pytest

from harbor.engine.ports import AbortableError, FencedError
from tests.contract.worlds import (
    Member,
    World,
    a_record,
    committed_values,
    send_commands,
    settled_offset,
    until,
)

# Long enough that a reader that does not wait has answered.
_WAIT_SECONDS = 1.0


async def test_a_committed_transaction_is_read(world: World) -> None:
    topic = await world.make_topic()
    transactions, reader = world.transactions(), world.reader()
    await transactions.initialize()
    await transactions.begin()
    await transactions.produce([a_record(topic, b"one"), a_record(topic, b"two", key=b"j")])
    await transactions.flush()

    await transactions.commit()

    assert await committed_values(reader, topic) == [b"one", b"two"]


async def test_an_aborted_transaction_is_never_read(world: World) -> None:
    topic = await world.make_topic()
    transactions, reader = world.transactions(), world.reader()
    await transactions.initialize()
    await transactions.begin()
    await transactions.produce([a_record(topic, b"aborted")])
    await transactions.flush()

    await transactions.abort()
    await transactions.begin()
    await transactions.produce([a_record(topic, b"committed")])
    await transactions.flush()
    await transactions.commit()

    assert await committed_values(reader, topic) == [b"committed"]


async def test_nothing_of_an_open_transaction_is_read_and_it_holds_the_stable_offset(
    strict_world: World,
) -> None:
    topic = await strict_world.make_topic()
    transactions, reader = strict_world.transactions(), strict_world.reader()
    await strict_world.checkpoints().publish([a_record(topic, b"before")])
    await transactions.initialize()
    await transactions.begin()
    await transactions.produce([a_record(topic, b"open")])
    await transactions.flush()

    stable, end = await reader.stable_offset(topic, 0), await reader.end_offset(topic, 0)
    seen_while_open = await committed_values(reader, topic, end=stable)
    await transactions.commit()
    stable_after = await settled_offset(reader, topic)

    assert (stable, end) == (1, 2)
    assert seen_while_open == [b"before"]
    assert stable_after == await reader.end_offset(topic, 0) == 3
    assert await committed_values(reader, topic) == [b"before", b"open"]


async def test_a_second_producer_of_the_same_id_fences_the_first(world: World) -> None:
    topic = await world.make_topic()
    first, reader = world.transactions(), world.reader()
    await first.initialize()
    await first.begin()
    await first.produce([a_record(topic, b"of the first")])
    await first.flush()

    second = world.transactions()
    await second.initialize()

    with pytest.raises(FencedError):
        await first.commit()
    await second.begin()
    await second.produce([a_record(topic, b"of the second")])
    await second.flush()
    await second.commit()
    assert await committed_values(reader, topic) == [b"of the second"]


async def test_another_id_fences_nobody(world: World) -> None:
    topic = await world.make_topic()
    first, reader = world.transactions("slot-0"), world.reader()
    await first.initialize()
    await first.begin()
    await first.produce([a_record(topic, b"kept")])
    await first.flush()

    await world.transactions("slot-1").initialize()
    await first.commit()

    assert await committed_values(reader, topic) == [b"kept"]


async def test_a_stale_generation_is_abortable_and_nothing_of_it_is_seen(
    strict_world: World,
) -> None:
    topic = await strict_world.make_topic()
    transactions, reader = strict_world.transactions(), strict_world.reader()
    await transactions.initialize()
    first, second = Member(strict_world.consumer()), Member(strict_world.consumer())
    before = await first.until_owned(2)
    await until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    (lost,) = second.owned

    await transactions.begin()
    await transactions.produce([a_record(topic, b"stale")])
    await transactions.flush()
    with pytest.raises(AbortableError):
        await transactions.send_offsets({lost: 1}, before.group)
    await transactions.abort()

    assert await committed_values(reader, topic) == []
    assert await reader.committed_offset(lost) is None


async def test_the_metadata_of_a_member_that_left_is_abortable_and_the_producer_lives(
    strict_world: World,
) -> None:
    topic = await strict_world.make_topic()
    transactions, reader = strict_world.transactions(), strict_world.reader()
    await transactions.initialize()
    gone, member = Member(strict_world.consumer()), Member(strict_world.consumer())
    left_with = await gone.until_owned(2)
    await gone.consumer.close()
    await transactions.begin()
    await transactions.produce([a_record(topic, b"of the one that left")])
    await transactions.flush()

    with pytest.raises(AbortableError):
        await transactions.send_offsets({0: 1}, left_with.group)
    await transactions.abort()
    present = await member.until_owned(2)
    await transactions.begin()
    await transactions.produce([a_record(topic, b"of the member")])
    await transactions.flush()
    await transactions.send_offsets({0: 2}, present.group)
    await transactions.commit()

    assert await committed_values(reader, topic) == [b"of the member"]
    assert await reader.committed_offset(0) == 2


async def test_offsets_are_the_groups_only_after_the_commit(world: World) -> None:
    await send_commands(world, b"a", b"b")
    transactions, reader = world.transactions(), world.reader()
    await transactions.initialize()
    consumed = await Member(world.consumer()).until_owned(2)

    before = await reader.committed_offset(0)
    await transactions.begin()
    await transactions.send_offsets({0: 1}, consumed.group)
    await transactions.abort()
    after_abort = await reader.committed_offset(0)
    await transactions.begin()
    await transactions.send_offsets({0: 2}, consumed.group)
    await transactions.commit()

    assert (before, after_abort) == (None, None)
    assert await reader.committed_offset(0) == 2
    assert await reader.committed_offset(1) is None


async def test_committed_offset_waits_for_an_open_transaction_that_holds_offsets(
    strict_world: World,
) -> None:
    transactions, reader = strict_world.transactions(), strict_world.reader()
    await transactions.initialize()
    consumed = await Member(strict_world.consumer()).until_owned(2)
    await transactions.begin()
    await transactions.send_offsets({0: 7}, consumed.group)

    asked = asyncio.create_task(reader.committed_offset(0))
    done_while_open, _ = await asyncio.wait([asked], timeout=_WAIT_SECONDS)
    await transactions.commit()

    assert not done_while_open
    assert await asked == 7

"""Contract of `CommandConsumer`: paused until started, from the offset given, and back to it after an abort."""

from harbor.engine.ports import OutputRecord, Transactions
from tests.contract.worlds import Member, World, a_record, send_commands, until


async def _transaction(transactions: Transactions, record: OutputRecord) -> None:
    await transactions.begin()
    await transactions.produce([record])
    await transactions.flush()


async def test_records_come_only_from_started_partitions(world: World) -> None:
    await send_commands(world, b"left", partition=0)
    await send_commands(world, b"right", partition=1)
    member = Member(world.consumer())
    await member.until_owned(2)
    await member.drain()
    before_start = member.values

    await member.consumer.start({1: 0})
    await member.until_records(1)

    assert before_start == []
    assert [(record.partition, record.value) for record in member.records] == [(1, b"right")]


async def test_records_come_from_the_offset_given_with_what_the_log_knows_of_them(
    world: World,
) -> None:
    await world.checkpoints().publish(
        [
            OutputRecord(
                topic=world.input_topic,
                partition=0,
                key=b"tenant",
                value=value,
                headers={"name": b"header of " + value},
            )
            for value in (b"a", b"b", b"c")
        ]
    )
    member = Member(world.consumer())
    await member.until_owned(2)

    await member.consumer.start({0: 1, 1: 0})
    await member.until_records(2)

    assert [(r.offset, r.key, r.value) for r in member.records] == [
        (1, b"tenant", b"b"),
        (2, b"tenant", b"c"),
    ]
    assert member.records[0].headers == {"name": b"header of b"}
    assert member.records[0].timestamp.tzinfo is not None


async def test_a_batch_is_no_larger_than_asked_and_the_next_goes_on(world: World) -> None:
    await send_commands(world, *(b"%d" % number for number in range(7)))
    member = Member(world.consumer())
    await member.until_owned(2)
    await member.consumer.start({0: 0, 1: 0})

    member.records_max = 3
    await member.until_records(7)

    assert max(member.sizes) <= 3
    assert member.values == [b"%d" % number for number in range(7)]


async def test_after_an_abort_the_same_records_come_again_where_the_member_steps_back(
    world: World,
) -> None:
    topic = await world.make_topic()
    await send_commands(world, b"a", b"b", partition=0)
    await send_commands(world, b"c", partition=1)
    transactions = world.transactions()
    await transactions.initialize()
    member = Member(world.consumer())
    await member.until_owned(2)
    await member.consumer.start({0: 0, 1: 0})
    await member.until_records(3)
    first = sorted(record.value or b"" for record in member.records)
    member.records.clear()

    await _transaction(transactions, a_record(topic, b"dropped"))
    await transactions.abort()
    await member.consumer.seek({0: 0, 1: 0})
    await member.until_records(3)

    assert first == [b"a", b"b", b"c"]
    assert sorted(record.value or b"" for record in member.records) == first


async def test_after_an_abort_without_a_step_back_those_records_never_come_again(
    world: World,
) -> None:
    topic = await world.make_topic()
    await send_commands(world, b"a", b"b")
    transactions = world.transactions()
    await transactions.initialize()
    member = Member(world.consumer())
    await member.until_owned(2)
    await member.consumer.start({0: 0, 1: 0})
    await member.until_records(2)

    await _transaction(transactions, a_record(topic, b"dropped"))
    await transactions.abort()
    await send_commands(world, b"later")
    await member.until_records(3)

    assert member.values == [b"a", b"b", b"later"]


async def test_what_a_partition_no_longer_owned_is_told_is_ignored(world: World) -> None:
    await send_commands(world, b"a")
    member = Member(world.consumer())
    await member.until_owned(2)

    await member.consumer.start({0: 0, 99: 0})
    await member.consumer.seek({99: 0})
    await member.until_records(1)

    assert member.values == [b"a"]


async def test_an_aborted_command_is_never_consumed(world: World) -> None:
    transactions = world.transactions()
    await transactions.initialize()
    await _transaction(transactions, a_record(world.input_topic, b"aborted"))
    await transactions.abort()
    await send_commands(world, b"sent")
    member = Member(world.consumer())
    await member.until_owned(2)

    await member.consumer.start({0: 0, 1: 0})
    await member.until_records(1)

    assert member.values == [b"sent"]


async def test_a_command_of_an_open_transaction_is_consumed_only_after_its_commit(
    strict_world: World,
) -> None:
    transactions = strict_world.transactions()
    await transactions.initialize()
    await send_commands(strict_world, b"before")
    await _transaction(transactions, a_record(strict_world.input_topic, b"open"))
    member = Member(strict_world.consumer())
    await member.until_owned(2)
    await member.consumer.start({0: 0, 1: 0})

    await member.until_records(1)
    while_open = member.values
    await transactions.commit()
    await member.until_records(2)

    assert while_open == [b"before"]
    assert member.values == [b"before", b"open"]


async def test_a_second_member_takes_its_share_paused(strict_world: World) -> None:
    await send_commands(strict_world, b"left", partition=0)
    await send_commands(strict_world, b"right", partition=1)
    first, second = Member(strict_world.consumer()), Member(strict_world.consumer())
    await first.until_owned(2)

    await until(lambda: len(first.owned) == len(second.owned) == 1, first, second)
    (taken,) = second.owned
    await first.consumer.start({0: 0, 1: 0})
    await first.until_records(1)
    await second.drain()
    before_start = second.values
    await second.consumer.start({taken: 0})
    await second.until_records(1)

    assert first.owned | second.owned == {0, 1}
    assert [record.partition for record in first.records] == [1 - taken]
    assert before_start == []
    assert [record.partition for record in second.records] == [taken]


async def test_a_consumer_that_closes_gives_its_partitions_to_the_next_one(world: World) -> None:
    await send_commands(world, b"a")
    first, second = Member(world.consumer()), Member(world.consumer())
    await first.until_owned(2)

    await first.consumer.close()
    await second.until_owned(2)
    await second.consumer.start({0: 0, 1: 0})
    await second.until_records(1)

    assert second.values == [b"a"]

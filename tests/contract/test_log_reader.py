"""Contract of `LogReader` and `Checkpoints`: markers and aborted records count as offsets and as nothing else."""

from datetime import timedelta

from harbor.engine.ports import LogReader, LogRecord, OutputRecord, Transactions
from tests.contract.worlds import World, a_record, committed_values, records_of, settled_offset


async def _settled(
    transactions: Transactions, topic: str, *values: bytes, is_committed: bool
) -> None:
    await transactions.begin()
    await transactions.produce([a_record(topic, value, key=value) for value in values])
    await transactions.flush()
    await (transactions.commit() if is_committed else transactions.abort())


async def _last_settled(reader: LogReader, topic: str) -> LogRecord | None:
    await settled_offset(reader, topic)
    return await reader.last_record(topic, 0)


async def test_an_empty_log_has_no_last_record(world: World) -> None:
    topic = await world.make_topic()
    reader = world.reader()

    assert await reader.last_record(topic, 0) is None
    assert await reader.beginning_offset(topic, 0) == 0
    assert await reader.end_offset(topic, 0) == 0
    assert await reader.stable_offset(topic, 0) == 0


async def test_last_record_skips_markers_and_aborted_records(world: World) -> None:
    topic = await world.make_topic()
    transactions, reader = world.transactions(), world.reader()
    await transactions.initialize()
    await _settled(transactions, topic, b"first", b"last", is_committed=True)
    after_commit = await _last_settled(reader, topic)
    # More than the first look backwards reaches.
    for number in range(5):
        await _settled(transactions, topic, b"a%d" % number, b"b%d" % number, is_committed=False)

    found = await _last_settled(reader, topic)

    assert after_commit is not None
    assert (after_commit.offset, after_commit.key, after_commit.value) == (1, b"last", b"last")
    assert found == after_commit


async def test_the_last_records_come_in_their_order_over_markers_and_aborted_records(
    world: World,
) -> None:
    topic = await world.make_topic()
    transactions, reader = world.transactions(), world.reader()
    await transactions.initialize()
    for value in (b"first", b"second", b"third"):
        await _settled(transactions, topic, value, is_committed=True)
        for number in range(3):
            await _settled(transactions, topic, b"a%d" % number, is_committed=False)
    await settled_offset(reader, topic)

    two = await reader.last_records(topic, 0, most=2)
    all_there_are = await reader.last_records(topic, 0, most=9)

    assert [record.value for record in two] == [b"second", b"third"]
    assert [record.value for record in all_there_are] == [b"first", b"second", b"third"]
    assert two[-1] == await reader.last_record(topic, 0)


async def test_a_log_of_aborted_records_alone_has_no_last_record(world: World) -> None:
    topic = await world.make_topic()
    transactions, reader = world.transactions(), world.reader()
    await transactions.initialize()
    for number in range(3):
        await _settled(transactions, topic, b"a%d" % number, is_committed=False)

    found = await _last_settled(reader, topic)

    assert found is None


async def test_last_record_is_not_of_an_open_transaction(strict_world: World) -> None:
    topic = await strict_world.make_topic()
    transactions, reader = strict_world.transactions(), strict_world.reader()
    await transactions.initialize()
    await _settled(transactions, topic, b"committed", is_committed=True)
    await settled_offset(reader, topic)
    await transactions.begin()
    await transactions.produce([a_record(topic, b"open")])
    await transactions.flush()

    found = await reader.last_record(topic, 0)

    assert found is not None
    assert found.value == b"committed"


async def test_read_ends_at_its_end_although_markers_fill_the_rest(world: World) -> None:
    topic = await world.make_topic()
    transactions, reader = world.transactions(), world.reader()
    await transactions.initialize()
    await _settled(transactions, topic, b"one", is_committed=True)
    await _settled(transactions, topic, b"x", b"y", b"z", is_committed=False)
    await _settled(transactions, topic, b"v", b"w", is_committed=False)

    end = await settled_offset(reader, topic)
    values = await committed_values(reader, topic, end=end)

    assert end > 1
    assert values == [b"one"]


async def test_read_begins_at_its_start_and_leaves_its_end_out(world: World) -> None:
    topic = await world.make_topic()
    reader = world.reader()
    await world.checkpoints().publish(
        [a_record(topic, b"%d" % number, key=b"%d" % number) for number in range(5)]
    )

    records = await records_of(reader, topic, start=1, end=4)
    nothing = await records_of(reader, topic, start=3, end=3)

    assert [(r.offset, r.key, r.value) for r in records] == [
        (1, b"1", b"1"),
        (2, b"2", b"2"),
        (3, b"3", b"3"),
    ]
    assert nothing == []


async def test_a_tombstone_is_read_as_one(world: World) -> None:
    topic = await world.make_topic()
    transactions, reader = world.transactions(), world.reader()
    await transactions.initialize()
    await transactions.begin()
    await transactions.produce([a_record(topic, b"value")])
    await transactions.produce([OutputRecord(topic=topic, partition=0, key=b"k", value=None)])
    await transactions.flush()
    await transactions.commit()

    last = await _last_settled(reader, topic)

    assert last is not None
    assert (last.offset, last.key, last.value) == (1, b"k", None)


async def test_offset_at_is_the_first_record_not_older_or_the_end(world: World) -> None:
    topic = await world.make_topic()
    reader = world.reader()
    await world.checkpoints().publish([a_record(topic, b"one"), a_record(topic, b"two")])
    (first, _) = await records_of(reader, topic, start=0, end=2)

    from_before = await reader.offset_at(topic, 0, first.timestamp - timedelta(hours=1))
    from_after = await reader.offset_at(topic, 0, first.timestamp + timedelta(hours=1))

    assert (from_before, from_after) == (0, 2)


async def test_publishing_a_checkpoint_twice_is_harmless(world: World) -> None:
    topic = await world.make_topic()
    checkpoints, reader = world.checkpoints(), world.reader()
    published = [
        a_record(topic, b"note of 1", key=b"tenant/1"),
        a_record(topic, b"note of 2", key=b"tenant/2"),
    ]

    await checkpoints.publish(published)
    once = await records_of(reader, topic, start=0, end=await reader.end_offset(topic, 0))
    await checkpoints.publish(published)
    twice = await records_of(reader, topic, start=0, end=await reader.end_offset(topic, 0))

    assert {r.key: r.value for r in once} == {r.key: r.value for r in published}
    assert {r.key: r.value for r in twice} == {r.key: r.value for r in once}


async def test_a_published_checkpoint_is_seen_at_once(world: World) -> None:
    topic = await world.make_topic()
    reader = world.reader()

    await world.checkpoints().publish([a_record(topic, b"note")])
    last = await reader.last_record(topic, 0)

    assert last is not None
    assert last.value == b"note"
    assert await reader.stable_offset(topic, 0) == await reader.end_offset(topic, 0) == 1

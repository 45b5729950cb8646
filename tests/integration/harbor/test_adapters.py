"""What only a real broker shows of the adapters: names of hanging transactions, large records, returning partitions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from harbor.adapters import kafka_commands
from harbor.adapters.kafka_commands import KafkaCommandConsumer
from harbor.engine.ports import FencedError, InputRecord, OutputRecord
from schemas.errors import BrokerUnavailableError, ConfigurationError
from schemas.topics import COMMANDS, EVIDENCE, INTENTS, OUTCOMES, POSITIONS
from streams.runtime.shared_settings import GroupProtocol, SharedSettings
from tests.integration.harbor.worlds import (
    PARTITIONS,
    SECONDS_MAX,
    KafkaWorld,
    kafka_world,
    settings_for,
    until,
)
from tests.support.brokers import TestBroker, chosen_broker, running_broker
from tests.support.records import plain_producer
from tests.support.stopped_process import stopped

pytestmark = pytest.mark.integration
_PASSED_RECORDS = 200
_TAKEN_OVER = 8
# librdkafka asks half a second after the first time.
_ASKED_AGAIN_SECONDS = 1.0


@pytest.fixture
def settings(kafka: str, *, is_apache: bool) -> SharedSettings:
    return settings_for(kafka, is_apache=is_apache, protocol=GroupProtocol.CLASSIC)


def play(settings: SharedSettings, scenario: Callable[[KafkaWorld], Awaitable[None]]) -> None:
    async def played() -> None:
        async with kafka_world(settings) as world:
            await scenario(world)

    asyncio.run(played())


async def owning_all(consumer: KafkaCommandConsumer) -> set[int]:
    """The partitions, once all are this member's; none of them is started."""
    owned: set[int] = set()

    async def owns_all() -> bool | None:
        owned.update((await consumer.consume(records_max=10)).assigned)
        return True if len(owned) == PARTITIONS else None

    await until(owns_all)
    return owned


def an_output(topic: str, value: bytes, *, key: bytes = b"key") -> OutputRecord:
    return OutputRecord(topic=topic, partition=0, key=key, value=value)


@pytest.mark.parametrize("taken_for", [PARTITIONS - 1, PARTITIONS + 1, 3 * PARTITIONS])
def test_a_reader_that_takes_p_for_another_number_says_both(
    settings: SharedSettings, taken_for: int
) -> None:
    """With a P too small a tool would overlook tenants, and say that all is well."""

    async def scenario(world: KafkaWorld) -> None:
        told = (
            f"{INTENTS} has {PARTITIONS} partitions, PAYBOND_KAFKA_PARTITIONS says {taken_for}\\."
        )
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=told):
                await world.reader(partitions=taken_for).stable_offset(INTENTS, 0)
        assert await world.reader().stable_offset(INTENTS, 0) >= 0

    play(settings, scenario)


def test_a_record_over_a_megabyte_that_its_topic_takes_is_taken(
    settings: SharedSettings, unique_name: str
) -> None:
    async def scenario(world: KafkaWorld) -> None:
        large = b"x" * 1_500_000
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(EVIDENCE, large)])
        await transactions.flush()
        await transactions.commit()
        reader = world.reader()

        async def read() -> bytes | None:
            record = await reader.last_record(EVIDENCE, 0)
            return None if record is None else record.value

        assert await until(read) == large

    play(settings, scenario)


def test_committed_transactions_tell_how_far_they_wrote_and_aborted_ones_do_not(
    settings: SharedSettings, unique_name: str
) -> None:
    async def scenario(world: KafkaWorld) -> None:
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"a"), an_output(INTENTS, b"b")])
        await transactions.flush()
        await transactions.commit()
        await transactions.begin()
        await transactions.produce([an_output(INTENTS, b"c"), an_output(EVIDENCE, b"d")])
        await transactions.flush()
        await transactions.abort()

        assert transactions.take_committed() == {(INTENTS, 0): 2}
        assert transactions.take_committed() == {}

    play(settings, scenario)


@pytest.mark.apache_only
def test_a_hanging_transaction_is_named(settings: SharedSettings, unique_name: str) -> None:
    async def scenario(world: KafkaWorld) -> None:
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(POSITIONS, b"open"), an_output(INTENTS, b"open")])
        await transactions.flush()
        reader = world.reader()

        named = await reader.undecided_by(POSITIONS, 0)
        unnamed = await reader.undecided_by(INTENTS, 0)

        assert f"transaction {unique_name} hangs at offset 0" in named
        assert "find-hanging" in unnamed

    play(settings, scenario)


@pytest.mark.apache_only
def test_a_fence_that_flush_meets_stops_although_the_client_loses_its_words(
    settings: SharedSettings, unique_name: str
) -> None:
    """confluent-kafka 2.16 raises a bare SystemError there, sometimes without the fatal error behind it."""

    async def scenario(world: KafkaWorld) -> None:
        fenced = world.transactions(unique_name)
        await fenced.initialize()
        await world.transactions(unique_name).initialize()

        async def a_batch() -> None:
            await fenced.begin()
            await fenced.produce([an_output(INTENTS, b"lost")])
            await fenced.flush()
            await fenced.commit()

        with pytest.raises(FencedError):
            await a_batch()

    play(settings, scenario)


@pytest.mark.apache_only
@pytest.mark.parametrize("protocol", list(GroupProtocol))
def test_a_partition_that_came_back_is_silent_until_it_is_started_again(
    kafka: str, protocol: GroupProtocol
) -> None:
    async def scenario(world: KafkaWorld) -> None:
        first = world.consumer()
        owned = await owning_all(first)
        await first.start(dict.fromkeys(owned, 0))
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
        producer = plain_producer(kafka)
        for partition in lost:
            producer.produce(COMMANDS, value=b"new", key=b"tenant", partition=partition)
        assert producer.flush(SECONDS_MAX) == 0
        for _ in range(5):
            records += (await first.consume(records_max=10)).records
        silent = [record for record in records if record.partition in lost]
        await first.start(dict.fromkeys(lost, 0))

        async def speaks() -> bool | None:
            found = (await first.consume(records_max=10)).records
            return True if {r.partition for r in found} & lost else None

        assert silent == []
        assert await until(speaks)

    play(settings_for(kafka, is_apache=True, protocol=protocol), scenario)


@pytest.mark.apache_only
@pytest.mark.parametrize("protocol", list(GroupProtocol))
def test_a_partition_that_is_started_while_its_broker_is_slow_passes_over_nothing(
    kafka_broker: TestBroker, protocol: GroupProtocol
) -> None:
    """The client asks again for what it did not hear in time, and must not go by the answer."""
    assert kafka_broker.server is not None
    broker_pid = kafka_broker.server.pid
    assert broker_pid is not None

    async def scenario(world: KafkaWorld) -> None:
        producer = plain_producer(kafka_broker.bootstrap)
        for partition in range(PARTITIONS):
            producer.produce(COMMANDS, value=b"waits", key=b"k", partition=partition)
        assert producer.flush(SECONDS_MAX) == 0
        consumer = world.consumer()
        owned = await owning_all(consumer)
        with stopped(broker_pid):
            await asyncio.sleep(_ASKED_AGAIN_SECONDS)
            await consumer.start(dict.fromkeys(owned, 0))
        found: set[tuple[int, int]] = set()

        async def has_all() -> bool | None:
            records = (await consumer.consume(records_max=10)).records
            found.update((record.partition, record.offset) for record in records)
            return True if len(found) == PARTITIONS else None

        await until(has_all)
        assert found == {(partition, 0) for partition in range(PARTITIONS)}
        await consumer.close()

    play(settings_for(kafka_broker.bootstrap, is_apache=True, protocol=protocol), scenario)


class NewLeaders(Consumer):
    """Who is asked first leads no more."""

    asked: ClassVar[list[int]] = []

    def get_watermark_offsets(
        self,
        partition: TopicPartition,
        timeout: float = 1.0,
        cached: bool = False,  # noqa: FBT001, FBT002 – its parent's
    ) -> tuple[int, int]:
        is_first = partition.partition not in self.asked
        self.asked.append(partition.partition)
        if is_first:
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
        return super().get_watermark_offsets(partition, timeout=timeout, cached=cached)


def test_an_end_that_its_leader_does_not_know_any_more_is_asked_for_again(
    settings: SharedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_commands, "Consumer", NewLeaders)

    async def scenario(world: KafkaWorld) -> None:
        consumer = world.consumer()
        await owning_all(consumer)
        await consumer.close()

        assert sorted(NewLeaders.asked) == sorted([*range(PARTITIONS)] * 2)

    play(settings, scenario)


def test_an_end_that_nobody_tells_in_time_is_an_outage(
    settings: SharedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_commands, "_END_SECONDS_MAX", 0.0)

    async def scenario(world: KafkaWorld) -> None:
        consumer = world.consumer()

        async def never_owns() -> bool | None:
            return True if (await consumer.consume(records_max=10)).assigned else None

        with pytest.raises(BrokerUnavailableError):
            await until(never_owns)

    play(settings, scenario)


@pytest.mark.apache_only
@pytest.mark.parametrize("protocol", list(GroupProtocol))
def test_a_partition_whose_first_records_are_past_their_retention_is_taken_over_like_any_other(
    kafka: str, protocol: GroupProtocol
) -> None:
    """A fetch may be on its way before the partition is paused, and what it asks for must not be an error."""

    async def scenario(world: KafkaWorld) -> None:
        producer = plain_producer(kafka)
        # Large ones: a fetch of them takes its time.
        for number in range(_PASSED_RECORDS * PARTITIONS):
            value = number.to_bytes(4, "big") * 5_000
            producer.produce(COMMANDS, value=value, key=b"k", partition=number % PARTITIONS)
        producer.produce(COMMANDS, value=b"first", key=b"k", partition=0)
        assert producer.flush(SECONDS_MAX) == 0
        passed = [TopicPartition(COMMANDS, p, _PASSED_RECORDS) for p in range(PARTITIONS)]
        asked = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
        for deleted in asked.delete_records(passed).values():
            deleted.result(SECONDS_MAX)
        for _ in range(_TAKEN_OVER):
            consumer = world.consumer()
            await owning_all(consumer)
            for _ in range(5):
                assert (await consumer.consume(records_max=10)).records == ()
            await consumer.start({0: _PASSED_RECORDS})

            async def first_record(
                consumer: KafkaCommandConsumer = consumer,
            ) -> bytes | None:
                records = (await consumer.consume(records_max=10)).records
                return records[0].value if records else None

            assert await until(first_record) == b"first"
            await consumer.close()

    play(settings_for(kafka, is_apache=True, protocol=protocol), scenario)


def test_a_record_with_an_empty_value_or_none_is_a_record(
    settings: SharedSettings, kafka: str
) -> None:
    async def scenario(world: KafkaWorld) -> None:
        producer = plain_producer(kafka)
        for value in (b"first", b"", None, b"last"):
            producer.produce(COMMANDS, value=value, key=b"k", partition=0)
        assert producer.flush(SECONDS_MAX) == 0
        consumer, records = world.consumer(), list[InputRecord]()

        async def has_all() -> bool | None:
            consumed = await consumer.consume(records_max=10)
            await consumer.start(dict.fromkeys(consumed.assigned, 0))
            records.extend(consumed.records)
            return True if len(records) == 4 else None

        await until(has_all)
        assert [record.value for record in records] == [b"first", b"", None, b"last"]

    play(settings, scenario)


def test_a_transaction_that_a_vanished_broker_leaves_open_is_an_outage_and_no_fence(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harbor.adapters.kafka_transactions._REPEAT_SECONDS_MAX", 1.0)
    monkeypatch.setattr("harbor.adapters.kafka_transactions._CALL_SECONDS", 0.5)

    async def scenario(world: KafkaWorld) -> None:
        transactions = world.transactions(unique_name)
        await transactions.initialize()
        await transactions.begin()
        await transactions.produce([an_output(OUTCOMES, b"value")])
        await transactions.flush()
        await asyncio.to_thread(server.stop)

        with pytest.raises(BrokerUnavailableError, match="could not be aborted"):
            await transactions.abort()

        # Whoever cleans up after the test needs it.
        await asyncio.to_thread(server.start)

    with running_broker(chosen_broker()) as broker:
        assert broker.server is not None
        server = broker.server
        is_apache = chosen_broker().is_apache
        protocol = GroupProtocol.CLASSIC
        play(settings_for(broker.bootstrap, is_apache=is_apache, protocol=protocol), scenario)

"""The broker in memory behaves as Kafka does where the loop depends on it."""

from datetime import UTC, datetime, timedelta

import pytest

from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.log import MemoryKafka, ProducerHandle, RecordRefusedError
from harbor.engine.ports import AbortableError, FencedError
from schemas.topics import COMMANDS, EVIDENCE, INTENTS, POSITIONS, ledger_topic
from tests.support.builders import TENANT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOPIC = "log"
COMPACTED = "compacted"
GROUP = "group"


def a_broker() -> MemoryKafka:
    kafka = MemoryKafka(now=lambda: NOW)
    kafka.create_topic(TOPIC, partitions=2)
    kafka.create_topic(COMPACTED, partitions=1, is_compacted=True)
    return kafka


def a_transaction(kafka: MemoryKafka, name: str = "tx") -> ProducerHandle:
    handle = kafka.init_transactions(name)
    kafka.begin(handle)
    return handle


def values(kafka: MemoryKafka, topic: str = TOPIC, partition: int = 0) -> list[bytes | None]:
    return [record.value for record in kafka.read(topic, partition)]


def put(kafka: MemoryKafka, handle: ProducerHandle, value: bytes, *, partition: int = 0) -> int:
    return kafka.produce(handle, TOPIC, partition, key=b"k", value=value)


def test_a_transaction_is_seen_whole_or_not_at_all() -> None:
    kafka = a_broker()
    handle = a_transaction(kafka)
    put(kafka, handle, b"a")
    put(kafka, handle, b"b", partition=1)
    before = values(kafka), values(kafka, partition=1)
    kafka.commit(handle)

    assert before == ([], [])
    assert (values(kafka), values(kafka, partition=1)) == ([b"a"], [b"b"])


def test_an_open_transaction_hides_everything_behind_it() -> None:
    kafka = a_broker()
    kafka.append(TOPIC, 0, key=b"k", value=b"before")
    handle = a_transaction(kafka)
    put(kafka, handle, b"open")
    kafka.append(TOPIC, 0, key=b"k", value=b"behind")
    log = kafka.partition(TOPIC, 0)

    assert values(kafka) == [b"before"]
    assert (log.last_stable_offset, log.high_watermark) == (1, 3)
    kafka.commit(handle)
    assert values(kafka) == [b"before", b"open", b"behind"]
    assert log.last_stable_offset == log.high_watermark == 4


def test_aborted_records_and_markers_leave_holes_in_the_offsets() -> None:
    kafka = a_broker()
    handle = a_transaction(kafka)
    put(kafka, handle, b"never")
    kafka.abort(handle)
    offset = kafka.append(TOPIC, 0, key=b"k", value=b"seen")

    assert values(kafka) == [b"seen"]
    assert offset == 2
    assert [record.is_marker for record in kafka.partition(TOPIC, 0).everything()] == [
        False,
        True,
        False,
    ]


def test_a_second_holder_of_a_transactional_id_fences_the_first_and_settles_its_transaction() -> (
    None
):
    kafka = a_broker()
    old = a_transaction(kafka)
    put(kafka, old, b"zombie")
    new = kafka.init_transactions("tx")

    assert kafka.partition(TOPIC, 0).last_stable_offset == 2
    for call in (kafka.begin, kafka.commit, kafka.abort):
        with pytest.raises(FencedError):
            call(old)
    with pytest.raises(FencedError):
        put(kafka, old, b"late")
    kafka.begin(new)
    put(kafka, new, b"good")
    kafka.commit(new)
    assert values(kafka) == [b"good"]


def test_another_transactional_id_fences_nobody() -> None:
    kafka = a_broker()
    first, second = a_transaction(kafka, "tx-0"), a_transaction(kafka, "tx-1")
    put(kafka, first, b"first")
    put(kafka, second, b"second")
    kafka.commit(second)
    kafka.commit(first)

    assert values(kafka) == [b"first", b"second"]


def test_a_transaction_that_timed_out_is_aborted_and_its_holder_fenced() -> None:
    kafka = a_broker()
    handle = a_transaction(kafka)
    put(kafka, handle, b"hung")
    assert kafka.has_open_transaction("tx")
    kafka.time_out_transaction("tx")

    assert not kafka.has_open_transaction("tx")
    assert values(kafka) == []
    assert kafka.partition(TOPIC, 0).last_stable_offset == 2
    with pytest.raises(FencedError):
        kafka.commit(handle)


def test_offsets_move_with_their_transaction_only() -> None:
    kafka = a_broker()
    group = kafka.group(GROUP)
    group.join("m", TOPIC)
    group.poll("m", 2)
    place = (TOPIC, 0)
    handle = a_transaction(kafka)
    kafka.send_offsets(handle, {place: 5}, group.epoch_of("m"))

    assert group.committed(place) is None
    assert group.is_pending(place)
    kafka.abort(handle)
    assert (group.committed(place), group.is_pending(place)) == (None, False)
    kafka.begin(handle)
    kafka.send_offsets(handle, {place: 7}, group.epoch_of("m"))
    kafka.commit(handle)
    assert (group.committed(place), group.is_pending(place)) == (7, False)


def test_a_stale_generation_can_only_abort() -> None:
    kafka = a_broker()
    group = kafka.group(GROUP)
    group.join("m", TOPIC)
    group.poll("m", 2)
    epoch = group.epoch_of("m")
    group.rebalance()
    handle = a_transaction(kafka)
    with pytest.raises(AbortableError, match="ILLEGAL_GENERATION"):
        kafka.send_offsets(handle, {(TOPIC, 0): 1}, epoch)
    with pytest.raises(AbortableError):
        kafka.commit(handle)
    kafka.abort(handle)
    group.poll("m", 2)
    kafka.begin(handle)
    kafka.send_offsets(handle, {(TOPIC, 0): 1}, group.epoch_of("m"))
    kafka.commit(handle)

    assert group.committed((TOPIC, 0)) == 1


def test_an_expelled_member_is_unknown() -> None:
    kafka = a_broker()
    group = kafka.group(GROUP)
    group.join("m", TOPIC)
    epoch = group.epoch_of("m")
    group.remove("m")
    handle = a_transaction(kafka)

    with pytest.raises(AbortableError, match="UNKNOWN_MEMBER_ID"):
        kafka.send_offsets(handle, {(TOPIC, 0): 1}, epoch)


def test_ownership_is_not_checked_with_fresh_metadata_as_measured_on_kafka() -> None:
    kafka = a_broker()
    group = kafka.group(GROUP)
    group.join("a", TOPIC)
    group.join("b", TOPIC)
    group.poll("a", 2)
    group.poll("b", 2)
    handle = a_transaction(kafka)
    kafka.send_offsets(handle, {(TOPIC, 1): 9}, group.epoch_of("a"))
    kafka.commit(handle)

    assert group.owned_by("a") == {0}
    assert group.committed((TOPIC, 1)) == 9


def test_a_partition_reaches_its_new_owner_only_after_the_old_one_let_it_go() -> None:
    kafka = a_broker()
    group = kafka.group(GROUP)
    group.join("a", TOPIC)
    assert group.poll("a", 2).assigned == (0, 1)
    group.join("b", TOPIC)

    assert group.poll("b", 2).assigned == ()
    assert group.poll("a", 2).revoked == (1,)
    assert group.poll("b", 2).assigned == (1,)
    group.remove("a")
    assert group.poll("b", 2).assigned == (0,)


def test_compaction_keeps_the_last_copy_of_a_key_at_its_offset() -> None:
    kafka = a_broker()
    for key, value in ((b"1", b"a"), (b"2", b"b"), (b"1", b"again")):
        kafka.append(COMPACTED, 0, key=key, value=value)
    kafka.compact(COMPACTED)

    kept = [(record.offset, record.key) for record in kafka.read(COMPACTED, 0)]
    assert kept == [(1, b"2"), (2, b"1")]
    assert kafka.partition(COMPACTED, 0).high_watermark == 3


def test_compaction_stops_at_the_last_stable_offset_and_drops_what_was_aborted() -> None:
    kafka = a_broker()
    aborted = a_transaction(kafka, "aborted")
    kafka.produce(aborted, COMPACTED, 0, key=b"1", value=b"no")
    kafka.abort(aborted)
    kafka.append(COMPACTED, 0, key=b"1", value=b"yes")
    handle = a_transaction(kafka)
    kafka.produce(handle, COMPACTED, 0, key=b"1", value=b"new")
    kafka.compact(COMPACTED)
    assert values(kafka, COMPACTED) == [b"yes"]
    kafka.commit(handle)

    assert values(kafka, COMPACTED) == [b"yes", b"new"]
    kafka.compact(COMPACTED)
    assert values(kafka, COMPACTED) == [b"new"]


def test_compaction_leaves_alone_what_is_younger_than_its_topics_lag() -> None:
    clock = MemoryClock(NOW)
    kafka = MemoryKafka(now=clock.now)
    kafka.create_topic(
        COMPACTED, partitions=1, is_compacted=True, compaction_lag=timedelta(hours=1)
    )
    for value in (b"a", b"b", b"c"):
        kafka.append(COMPACTED, 0, key=b"1", value=value)
        clock.advance(timedelta(minutes=40))

    kafka.compact(COMPACTED)
    assert values(kafka, COMPACTED) == [b"b", b"c"]
    clock.advance(timedelta(hours=1))
    kafka.compact(COMPACTED)
    assert values(kafka, COMPACTED) == [b"c"]


def test_a_tombstone_outlives_a_first_pass_of_the_cleaner() -> None:
    kafka = a_broker()
    kafka.append(COMPACTED, 0, key=b"1", value=b"a")
    kafka.append(COMPACTED, 0, key=b"1", value=None)
    kafka.compact(COMPACTED)

    assert values(kafka, COMPACTED) == [None]
    kafka.compact(COMPACTED, keep_tombstones=False)
    assert values(kafka, COMPACTED) == []


def test_a_topic_that_is_not_compacted_loses_nothing_to_the_cleaner() -> None:
    kafka = a_broker()
    kafka.append(TOPIC, 0, key=b"1", value=b"a")
    kafka.append(TOPIC, 0, key=b"1", value=b"b")
    kafka.compact(TOPIC)

    assert values(kafka) == [b"a", b"b"]


def test_retention_moves_the_beginning() -> None:
    kafka = a_broker()
    for value in (b"a", b"b", b"c"):
        kafka.append(TOPIC, 0, key=None, value=value)
    log = kafka.partition(TOPIC, 0)
    log.delete_before(2)

    assert (log.start, values(kafka)) == (2, [b"c"])
    log.delete_before(99)
    assert (log.start, values(kafka)) == (3, [])


def test_what_the_broker_would_refuse_is_refused() -> None:
    kafka = a_broker()

    with pytest.raises(RecordRefusedError, match="INVALID_RECORD"):
        kafka.append(COMPACTED, 0, key=None, value=b"x")
    with pytest.raises(RecordRefusedError, match="MSG_SIZE_TOO_LARGE"):
        kafka.append(TOPIC, 0, key=None, value=bytes(1_100_000))
    with pytest.raises(RecordRefusedError, match="UNKNOWN_TOPIC"):
        kafka.append("none", 0, key=None, value=b"x")


def test_the_last_committed_record_is_found_behind_markers_and_aborted_ones() -> None:
    kafka = a_broker()
    handle = a_transaction(kafka)
    put(kafka, handle, b"last")
    kafka.commit(handle)
    kafka.begin(handle)
    put(kafka, handle, b"aborted")
    kafka.abort(handle)
    (last,) = kafka.partition(TOPIC, 0).last_committed(1)

    assert last is not None
    assert last.value == b"last"
    assert kafka.partition(TOPIC, 1).last_committed(1) == ()


def test_topics_are_made_as_the_table_says() -> None:
    kafka = MemoryKafka(now=lambda: NOW)
    kafka.create_paybond_topics(partitions=3)
    kafka.create_ledger_topic(ledger_topic(TENANT))

    for topic in (COMMANDS, EVIDENCE, INTENTS, POSITIONS):
        assert kafka.partitions_of(topic) == 3
    assert kafka.partitions_of(ledger_topic(TENANT)) == 1
    with pytest.raises(RecordRefusedError, match="INVALID_RECORD"):
        kafka.append(ledger_topic(TENANT), 0, key=None, value=b"x")
    kafka.append(EVIDENCE, 0, key=b"k", value=bytes(2_000_000))


def test_a_topic_made_again_under_its_name_has_another_id() -> None:
    kafka = a_broker()
    first = kafka.topic_id(TOPIC)
    kafka.create_topic(TOPIC, partitions=9)
    assert kafka.topic_id(TOPIC) == first
    kafka.delete_topic(TOPIC)
    kafka.create_topic(TOPIC, partitions=1)

    assert kafka.topic_id(TOPIC) != first

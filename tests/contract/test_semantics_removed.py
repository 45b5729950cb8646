"""Each guard of the contract bites: with one semantics of the memory adapters taken away, its case fails.

A case that passes here anyway would pass on any broker, and prove nothing about it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from harbor.adapters.memory.group import ConsumerGroup
from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.partition_log import PartitionLog, StoredRecord
from harbor.adapters.memory.ports import MemoryCommandConsumer, MemoryStateStore
from harbor.adapters.memory.signature_pool import MemorySignaturePool
from harbor.engine.ports import FencedError, SignatureTask
from harbor.engine.signatures import verify_one
from tests.contract import (
    test_group,
    test_log_reader,
    test_signature_pool,
    test_state_store,
    test_transactions,
    worlds,
)
from tests.contract.worlds import MemoryWorld

Case = Callable[..., Awaitable[None]]
# What never comes is waited for only this long here: it takes no broker's time to find that out.
_SECONDS_MAX = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """`replaced.name` becomes `by`: the semantics named is gone."""

    says: str
    replaced: type
    name: str
    by: Any
    case: Case


def _commit_instead(kafka: MemoryKafka, handle: Any) -> None:
    kafka.commit(handle)


def _holder_of_any_epoch(kafka: MemoryKafka, handle: Any) -> Any:
    return kafka._producers[handle.transactional_id]


def _holder_unless_there_is_another_id(kafka: MemoryKafka, handle: Any) -> Any:
    if len(kafka._producers) > 1:
        raise FencedError("another id is in use")
    return kafka._producers[handle.transactional_id]


def _commit_at_once(group: ConsumerGroup, _transaction: Any, offsets: Mapping[Any, int]) -> None:
    group.commit(offsets)


def _do_nothing(*_arguments: Any, **_names: Any) -> None:
    return None


async def _await_nothing(*_arguments: Any, **_names: Any) -> None:
    return None


async def _start_at_the_beginning(
    consumer: MemoryCommandConsumer, offsets: Mapping[int, int]
) -> None:
    consumer._positions.update(dict.fromkeys(offsets, 0))


async def _start_everything(consumer: MemoryCommandConsumer, offsets: Mapping[int, int]) -> None:
    owned = consumer._group.owned_by(consumer._process)
    consumer._positions.update({partition: offsets.get(partition, 0) for partition in owned})


async def _start_what_is_not_owned(
    consumer: MemoryCommandConsumer, offsets: Mapping[int, int]
) -> None:
    consumer._positions.update(offsets)


_original_fetch = MemoryCommandConsumer._fetch


def _fetch_from_the_beginning(consumer: MemoryCommandConsumer, records_max: int) -> Any:
    consumer._positions = dict.fromkeys(consumer._positions, 0)
    return _original_fetch(consumer, records_max)


def _fetch_without_bound(consumer: MemoryCommandConsumer, _records_max: int) -> Any:
    return _original_fetch(consumer, 1000)


_original_append = MemoryKafka.append


def _append_what_differs_each_time(
    kafka: MemoryKafka, topic: str, partition: int, **record: Any
) -> int:
    at = kafka.partition(topic, partition).high_watermark
    return _original_append(
        kafka, topic, partition, **{**record, "value": record["value"] + b" at %d" % at}
    )


async def _write_piece_by_piece(
    store: MemoryStateStore, writes: Mapping[int, Mapping[tuple[str, bytes], bytes | None]]
) -> None:
    for partition, changes in writes.items():
        for key, value in changes.items():
            rows = store._rows.setdefault(partition, {})
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        await asyncio.sleep(0)


async def _scan_as_it_changes(
    store: MemoryStateStore, partition: int, namespace: str, prefix: bytes
) -> AsyncGenerator[tuple[bytes, bytes], None]:
    last = b""
    while True:
        rows = store._rows.get(partition, {})
        later = sorted((k, v) for (space, k), v in rows.items() if space == namespace and k > last)
        if not later:
            return
        last, value = later[0]
        yield last, value


async def _scan_in_order_of_writing(
    store: MemoryStateStore, partition: int, namespace: str, prefix: bytes
) -> AsyncGenerator[tuple[bytes, bytes], None]:
    for (space, key), value in store._rows.get(partition, {}).items():
        if space == namespace and key.startswith(prefix):
            yield key, value


async def _drop_all(store: MemoryStateStore, _partition: int) -> None:
    store._rows.clear()


async def _verify_from_the_end(_pool: Any, tasks: Any) -> list[int | None]:
    verdicts: list[int | None] = []
    for task in tasks:
        candidates = list(task.candidates)
        backwards = SignatureTask(
            public_key=task.public_key, signature=task.signature, candidates=candidates[::-1]
        )
        found = verify_one(backwards)
        verdicts.append(None if found is None else len(candidates) - 1 - found)
    return verdicts


async def _make_every_candidate(_pool: Any, tasks: Any) -> list[int | None]:
    return [
        verify_one(
            SignatureTask(
                public_key=task.public_key,
                signature=task.signature,
                candidates=list(task.candidates),
            )
        )
        for task in tasks
    ]


_SEEN_THOUGH_ABORTED = property(lambda record: not record.is_marker)
_END_TAKEN_FOR_STABLE = property(lambda log: log._next)

IN_THE_LOG = (
    Removal(
        says="an abort commits",
        replaced=MemoryKafka,
        name="abort",
        by=_commit_instead,
        case=test_transactions.test_an_aborted_transaction_is_never_read,
    ),
    Removal(
        says="aborted records are shown",
        replaced=StoredRecord,
        name="is_visible",
        by=_SEEN_THOUGH_ABORTED,
        case=test_log_reader.test_last_record_skips_markers_and_aborted_records,
    ),
    Removal(
        says="aborted records are shown to the group",
        replaced=StoredRecord,
        name="is_visible",
        by=_SEEN_THOUGH_ABORTED,
        case=test_group.test_an_aborted_command_is_never_consumed,
    ),
    Removal(
        says="a read to the end shows what was aborted",
        replaced=StoredRecord,
        name="is_visible",
        by=_SEEN_THOUGH_ABORTED,
        case=test_log_reader.test_read_ends_at_its_end_although_markers_fill_the_rest,
    ),
    Removal(
        says="markers are shown",
        replaced=StoredRecord,
        name="is_visible",
        by=property(lambda _record: True),
        case=test_transactions.test_a_committed_transaction_is_read,
    ),
    Removal(
        says="the end is taken for the last stable offset",
        replaced=PartitionLog,
        name="last_stable_offset",
        by=_END_TAKEN_FOR_STABLE,
        case=test_transactions.test_nothing_of_an_open_transaction_is_read_and_it_holds_the_stable_offset,
    ),
    Removal(
        says="the same checkpoint has other bytes the second time",
        replaced=MemoryKafka,
        name="append",
        by=_append_what_differs_each_time,
        case=test_log_reader.test_publishing_a_checkpoint_twice_is_harmless,
    ),
    Removal(
        says="a second producer fences nobody",
        replaced=MemoryKafka,
        name="_holder",
        by=_holder_of_any_epoch,
        case=test_transactions.test_a_second_producer_of_the_same_id_fences_the_first,
    ),
    Removal(
        says="every other producer fences",
        replaced=MemoryKafka,
        name="_holder",
        by=_holder_unless_there_is_another_id,
        case=test_transactions.test_another_id_fences_nobody,
    ),
)

IN_THE_GROUP = (
    Removal(
        says="any generation is good enough",
        replaced=ConsumerGroup,
        name="check",
        by=_do_nothing,
        case=test_transactions.test_a_stale_generation_is_abortable_and_nothing_of_it_is_seen,
    ),
    Removal(
        says="whoever left may still commit",
        replaced=ConsumerGroup,
        name="check",
        by=_do_nothing,
        case=test_transactions.test_the_metadata_of_a_member_that_left_is_abortable_and_the_producer_lives,
    ),
    Removal(
        says="offsets are committed when they are sent",
        replaced=ConsumerGroup,
        name="hold",
        by=_commit_at_once,
        case=test_transactions.test_offsets_are_the_groups_only_after_the_commit,
    ),
    Removal(
        says="an undecided offset is answered",
        replaced=ConsumerGroup,
        name="is_pending",
        by=lambda _group, _partition: False,
        case=test_transactions.test_committed_offset_waits_for_an_open_transaction_that_holds_offsets,
    ),
    Removal(
        says="nothing is paused once one partition was started",
        replaced=MemoryCommandConsumer,
        name="start",
        by=_start_everything,
        case=test_group.test_records_come_only_from_started_partitions,
    ),
    Removal(
        says="a partition begins at 0 whatever was said",
        replaced=MemoryCommandConsumer,
        name="start",
        by=_start_at_the_beginning,
        case=test_group.test_records_come_from_the_offset_given_with_what_the_log_knows_of_them,
    ),
    Removal(
        says="partitions of others are started too",
        replaced=MemoryCommandConsumer,
        name="start",
        by=_start_what_is_not_owned,
        case=test_group.test_a_second_member_takes_its_share_paused,
    ),
    Removal(
        says="a step back is no step",
        replaced=MemoryCommandConsumer,
        name="seek",
        by=_await_nothing,
        case=test_group.test_after_an_abort_the_same_records_come_again_where_the_member_steps_back,
    ),
    Removal(
        says="an abort steps back by itself",
        replaced=MemoryCommandConsumer,
        name="_fetch",
        by=_fetch_from_the_beginning,
        case=test_group.test_after_an_abort_without_a_step_back_those_records_never_come_again,
    ),
    Removal(
        says="a batch has no bound",
        replaced=MemoryCommandConsumer,
        name="_fetch",
        by=_fetch_without_bound,
        case=test_group.test_a_batch_is_no_larger_than_asked_and_the_next_goes_on,
    ),
    Removal(
        says="who closes stays in the group",
        replaced=ConsumerGroup,
        name="remove",
        by=_do_nothing,
        case=test_group.test_a_consumer_that_closes_gives_its_partitions_to_the_next_one,
    ),
)

IN_THE_STORE = (
    Removal(
        says="a write turns partition by partition",
        replaced=MemoryStateStore,
        name="write",
        by=_write_piece_by_piece,
        case=test_state_store.test_a_write_is_atomic_over_all_its_partitions,
    ),
    Removal(
        says="a scan sees what is written meanwhile",
        replaced=MemoryStateStore,
        name="scan",
        by=_scan_as_it_changes,
        case=test_state_store.test_a_scan_is_of_one_moment,
    ),
    Removal(
        says="a scan is in order of writing",
        replaced=MemoryStateStore,
        name="scan",
        by=_scan_in_order_of_writing,
        case=test_state_store.test_a_scan_is_in_key_order_and_of_its_prefix_alone,
    ),
    Removal(
        says="a drop forgets everything",
        replaced=MemoryStateStore,
        name="drop",
        by=_drop_all,
        case=test_state_store.test_drop_forgets_one_partition_only,
    ),
)

IN_THE_POOL = (
    Removal(
        says="the last candidate is tried first",
        replaced=MemorySignaturePool,
        name="verify_each",
        by=_verify_from_the_end,
        case=test_signature_pool.test_the_index_is_the_first_verifying_candidates,
    ),
    Removal(
        says="every candidate is made",
        replaced=MemorySignaturePool,
        name="verify_each",
        by=_make_every_candidate,
        case=test_signature_pool.test_candidates_are_made_only_up_to_the_one_that_verifies,
    ),
)


def _named(removal: Removal) -> str:
    return removal.says.replace(" ", "-")


@pytest.mark.parametrize("removal", IN_THE_LOG + IN_THE_GROUP, ids=_named)
async def test_a_case_on_the_broker_fails_without_its_semantics(
    removal: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, broken = MemoryWorld(), MemoryWorld()
    await sound.open()
    await broken.open()
    await removal.case(sound)

    monkeypatch.setattr(worlds, "SECONDS_MAX", _SECONDS_MAX)
    monkeypatch.setattr(removal.replaced, removal.name, removal.by)

    with pytest.raises((AssertionError, pytest.fail.Exception, FencedError)):
        await removal.case(broken)


@pytest.mark.parametrize("removal", IN_THE_STORE, ids=_named)
async def test_a_case_of_the_store_fails_without_its_semantics(
    removal: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await removal.case(MemoryStateStore)

    monkeypatch.setattr(removal.replaced, removal.name, removal.by)

    with pytest.raises(AssertionError):
        await removal.case(MemoryStateStore)


@pytest.mark.parametrize("removal", IN_THE_POOL, ids=_named)
async def test_a_case_of_the_pool_fails_without_its_semantics(
    removal: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await removal.case(MemorySignaturePool(), size=1)

    monkeypatch.setattr(removal.replaced, removal.name, removal.by)

    with pytest.raises(AssertionError):
        await removal.case(MemorySignaturePool(), size=1)

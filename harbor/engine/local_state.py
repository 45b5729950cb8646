"""What lies in a partition's local state beside the changelogs: how far they were restored, when, and indexes."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from harbor.engine.agreement import StatesSeen
from harbor.engine.batch_lookup import nonce_writes_of
from harbor.engine.due_index import due_key_of
from harbor.engine.forgetting import recorded_row_of
from harbor.engine.ports import LogRecord, StateStore
from schemas.instants import format_instant, parse_instant
from schemas.intent_fold import IntentState
from schemas.messages.outcomes import Outcome
from schemas.topics import EVIDENCE, INTENTS, OUTCOMES, TIPS

StoreKey: TypeAlias = tuple[str, bytes]

META = "meta"
# Sizes of served checkpoints per tenant.
SERVED = "served"
# Per tenant that was stopped for what a restore read, why: a store that has all else would not read it again.
DOUBTS = "doubts"
# Of `harbor.engine.suspects`: how often an offset stopped this slot; no changelog has it.
MARKS = "attempts"
# In this order, so that what a record refers to is there before it. Tips come last: they vouch for the rest.
RESTORED_TOPICS = (EVIDENCE, INTENTS, OUTCOMES, TIPS)
_NOTED_AT: StoreKey = (META, b"noted-at")
# Half of Kafka's default `delete.retention.ms`: a tombstone that is younger is still on its topic.
AGE_MAX = timedelta(hours=12)


def restored_key(topic: str) -> StoreKey:
    """Under which lies the offset up to which the store has a topic."""
    return META, f"restored/{topic}".encode()


def note_writes(restored_to: Mapping[str, int], now: datetime) -> Mapping[StoreKey, bytes | None]:
    """The store has these topics up to these offsets, at this time."""
    noted = {restored_key(topic): str(offset).encode() for topic, offset in restored_to.items()}
    return {**noted, _NOTED_AT: format_instant(now).encode()}


async def is_too_old(store: StateStore, partition: int, *, now: datetime) -> bool:
    """Whether tombstones may be gone that the store never saw. A store without a note was never whole."""
    found = await store.get_many(partition, [_NOTED_AT])
    if _NOTED_AT not in found:
        return True
    return now - parse_instant(found[_NOTED_AT].decode()) > AGE_MAX


def writes_of(
    topic: str, record: LogRecord, *, oldest: datetime, states: StatesSeen
) -> dict[StoreKey, bytes | None]:
    """What a changelog's record is in the store, with the indexes that follow from it.

    `oldest` = outcomes before it are outside the idempotency window. A record that can't be read is not stored: its
    tenant is in doubt (`states.unreadable`), and the store says so until the record was read again and could be.
    """
    assert record.key is not None
    plain: dict[StoreKey, bytes | None] = {(topic, record.key): record.value}
    if record.value is None:
        return plain
    if topic not in {OUTCOMES, INTENTS}:
        return plain
    match states.see(record.key, record.value):
        case None:
            return {}
        case Outcome() as outcome:
            if outcome.recorded_at < oldest:
                return {}
            recorded, nonce = recorded_row_of(outcome, record.key)
            return {**plain, **nonce_writes_of(outcome), recorded: nonce}
        case IntentState() as intent:
            due = due_key_of(intent)
            return plain if due is None else {**plain, due: b""}
        case _:
            return plain

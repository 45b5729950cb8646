"""Entries into rows: the rows say what the fold says, and nothing else moves a counter."""

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import FoldError
from schemas.ids import TenantId
from schemas.intent_fold import IntentState, evolve
from schemas.ledger.entry_chain import leaf_hash
from schemas.messages.avro_codec import decode, decode_as
from schemas.messages.events import LedgerEntry
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.tables.fold import TableFold, tenant_state
from schemas.tables.rows import (
    BodyKey,
    body_key_of,
    body_row,
    event_json,
    instant_text,
    intent_row,
    operation_row,
    record_key_of_body,
)
from tests.support.ledgers import STORIES, Ledger, a_ledger, evidence_body, intent_body, outcome
from tests.support.message_strategies import messages


def _folded(ledger: Ledger) -> TableFold:
    fold = TableFold(tenant=None, states={})
    for record in ledger.records:
        fold.add(record.entry, value=record.value, leaf_hash=leaf_hash(record.value))
    return fold


def _states(ledger: Ledger) -> dict[str, IntentState]:
    states: dict[str, IntentState] = {}
    for entry in ledger.entries:
        if entry.intent_id is not None:
            states[entry.intent_id] = evolve(states.get(entry.intent_id), entry)
    return states


stories = st.lists(st.sampled_from(sorted(STORIES)), max_size=6)


@given(stories)
def test_the_rows_of_a_ledger_are_those_of_the_fold(told: list[str]) -> None:
    ledger = a_ledger("acme", told)
    expected = {intent_id: intent_row(state) for intent_id, state in _states(ledger).items()}

    rows = _folded(ledger).rows()

    assert {row.intent_id: row for row in rows.intents} == expected
    assert [row.seq for row in rows.entries] == list(range(1, len(ledger.records) + 1))


@given(stories)
def test_the_changes_of_the_counters_add_up_to_the_states(told: list[str]) -> None:
    ledger = a_ledger("acme", told)

    changes = _folded(ledger).rows().changes

    for status in {change.status for change in changes}:
        mine = [state for state in _states(ledger).values() if state.status == status]
        moved = [change for change in changes if change.status == status]
        assert sum(change.intents for change in moved) == len(mine)
        assert sum(change.held_minor for change in moved) == sum(s.held_minor for s in mine)
        assert sum(change.released_minor for change in moved) == sum(s.released_minor for s in mine)


@given(stories)
def test_the_state_beside_a_row_is_what_the_fold_goes_on_from(told: list[str]) -> None:
    ledger = a_ledger("acme", told)

    rows = _folded(ledger).rows()

    assert {row.intent_id: decode_as(IntentState, row.state) for row in rows.intents} == _states(
        ledger
    )


def test_an_entry_that_its_state_has_already_moves_no_counter() -> None:
    ledger = a_ledger("acme", ["released"])
    again = TableFold(tenant=None, states=_states(ledger))
    for record in ledger.records:
        again.add(record.entry, value=record.value, leaf_hash=leaf_hash(record.value))

    rows = again.rows()

    assert rows.changes == ()
    assert rows.intents == ()
    assert len(rows.entries) == len(ledger.records)


def test_an_impossible_entry_leaves_the_rows_before_it() -> None:
    ledger = a_ledger("acme", ["open"])
    ledger.tell("released", 2)
    fold = TableFold(tenant=None, states={})
    for record in ledger.records[:2]:
        fold.add(record.entry, value=record.value, leaf_hash=leaf_hash(record.value))
    orphan = ledger.records[-1]

    with pytest.raises(FoldError):
        fold.add(orphan.entry, value=orphan.value, leaf_hash=leaf_hash(orphan.value))

    assert [row.seq for row in fold.rows().entries] == [1, 2]


def test_a_ledger_that_does_not_begin_with_its_tenant_is_refused() -> None:
    ledger = Ledger(TenantId("acme"))
    ledger.tell("open", 1)
    record = ledger.records[0]

    with pytest.raises(FoldError, match="begins with tenant_provisioned"):
        TableFold(tenant=None, states={}).add(
            record.entry, value=record.value, leaf_hash=leaf_hash(record.value)
        )


def test_a_tenant_row_says_what_entry_one_said() -> None:
    fold = _folded(a_ledger("acme", ["open"]))

    row = fold.rows().tenant

    assert row is not None
    assert tenant_state(row) == fold.tenant
    assert row.last_seq == 2


def _plainly(value: Any) -> Any:
    """The rule, field by field."""
    if is_dataclass(value):
        return {field.name: _plainly(getattr(value, field.name)) for field in fields(value)}
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return instant_text(value)
        case StrEnum():
            return value.value
        case tuple():
            return [_plainly(item) for item in value]
        case _:
            return value


@given(messages(LedgerEntry))
def test_the_json_of_any_event_keeps_every_field_as_compactly_as_json_can(
    entry: LedgerEntry,
) -> None:
    plain = _plainly(entry.event)

    text = event_json(entry.event)

    assert text == json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    assert set(json.loads(text)) == set(type(entry.event).__dataclass_fields__)


def test_an_instant_keeps_its_micros_and_shows_none_where_there_are_none() -> None:
    whole = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    assert instant_text(whole) == "2026-01-02T03:04:05Z"
    assert instant_text(whole.replace(microsecond=70)) == "2026-01-02T03:04:05.000070Z"


def test_an_instant_of_another_zone_is_a_mistake() -> None:
    elsewhere = datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1)))

    with pytest.raises(AssertionError):
        instant_text(elsewhere)


@pytest.mark.parametrize("make", [intent_body, evidence_body])
def test_the_key_of_a_body_can_be_read_and_written(
    make: Callable[[Ledger, int], tuple[bytes, bytes]],
) -> None:
    key, value = make(a_ledger("acme", []), 1)

    row = body_row(decode(value))

    assert record_key_of_body(row) == key
    assert body_key_of(key) == BodyKey(
        tenant_id=row.tenant_id, intent_id=row.intent_id, kind=row.kind
    )


@pytest.mark.parametrize("key", [b"acme", b"acme/x", b"acme/x/other", b"acme/x/intent/y", b"\xff"])
def test_a_key_that_names_no_body_is_none(key: bytes) -> None:
    assert body_key_of(key) is None


def test_an_outcome_that_decides_nothing_is_no_operation() -> None:
    key, value = outcome(a_ledger("acme", []), 1, status=OutcomeStatus.RETRY)

    assert operation_row(decode_as(Outcome, value), key=key, value=value) is None


def test_the_refusal_of_a_reused_key_never_takes_the_operation_s_row() -> None:
    key, value = outcome(a_ledger("acme", []), 1)

    assert operation_row(decode_as(Outcome, value), key=key + b"/00ff", value=value) is None

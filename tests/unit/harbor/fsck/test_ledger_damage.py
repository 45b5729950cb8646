"""Every damage to a ledger topic is found, under the seq of the entry that is bad."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harbor.fsck.findings import Finding, FindingKind
from harbor.fsck.reread import reread
from schemas.ids import TenantId
from schemas.messages.avro_codec import encode
from schemas.messages.events import LedgerEntry
from schemas.topics import ledger_key, ledger_topic
from tests.support.ledger_builder import KeyValue, LedgerBuilder, a_ledger, records_of
from tests.unit.harbor.fsck.world import Stored, fsck_one

# Ledgers are made once per seed and never changed: a damage is done to a copy of their records.
ledger_of = cache(a_ledger)
SEEDS = st.integers(min_value=0, max_value=11)


def first_bad(ledger: LedgerBuilder, records: list[KeyValue]) -> Finding:
    """Of a ledger whose topic holds these records instead; everything else is as it was."""
    stored = Stored.of(ledger, table_size=0)
    stored.ledger = records
    report = fsck_one(stored, has_tables=False)
    assert report.first_bad is not None
    return report.first_bad


def flipped(value: bytes, *, at: int, mask: int = 1) -> bytes:
    return value[:at] + bytes([value[at] ^ mask]) + value[at + 1 :]


def forged(entry: LedgerEntry) -> KeyValue:
    """A record as Harbor would write it."""
    return KeyValue(key=ledger_key(TenantId(entry.tenant_id), entry.seq), value=encode(entry))


@settings(deadline=None)
@given(seed=SEEDS, intents=st.integers(min_value=0, max_value=8))
def test_an_undamaged_ledger_is_read_to_its_states_pins_and_root(seed: int, intents: int) -> None:
    ledger = ledger_of(seed, intents=intents)

    reading = asyncio.run(reread(ledger.tenant_id, records_of(ledger.ledger)))

    assert reading.first_bad is None
    assert reading.size == len(ledger.entries)
    assert reading.root == ledger.frontier.root()
    assert dict(reading.states) == ledger.states
    assert reading.pins == ledger.pins
    assert reading.tenant == ledger.tenant


@settings(deadline=None)
@given(seed=SEEDS, choice=st.data())
def test_any_flipped_bit_is_found_at_its_entry(seed: int, choice: st.DataObject) -> None:
    ledger = ledger_of(seed, intents=4)
    records = list(ledger.ledger)
    seq = choice.draw(st.integers(min_value=1, max_value=len(records)), label="seq")
    record = records[seq - 1]
    in_key = choice.draw(st.booleans(), label="in the key")
    raw = record.key if in_key else record.value
    assert raw is not None
    at = choice.draw(st.integers(min_value=0, max_value=len(raw) - 1), label="byte")
    bit = choice.draw(st.integers(min_value=0, max_value=7), label="bit")
    changed = flipped(raw, at=at, mask=1 << bit)
    records[seq - 1] = replace(record, key=changed) if in_key else replace(record, value=changed)

    found = first_bad(ledger, records)

    assert found.seq == seq
    assert found.where == ledger_topic(ledger.tenant_id)
    assert found.kind in {
        FindingKind.DAMAGED,
        FindingKind.SCHEMA_UNKNOWN,
        FindingKind.IMPOSSIBLE,
    }


def remove(records: list[KeyValue], seq: int) -> None:
    del records[seq - 1]


def repeat_behind(records: list[KeyValue], seq: int) -> None:
    records.insert(seq, records[seq - 1])


def repeat_at_the_end(records: list[KeyValue], seq: int) -> None:
    records.append(records[seq - 1])


def swap_with_next(records: list[KeyValue], seq: int) -> None:
    records[seq - 1 : seq + 1] = reversed(records[seq - 1 : seq + 1])


def bury_in_place(records: list[KeyValue], seq: int) -> None:
    records[seq - 1] = replace(records[seq - 1], value=None)


def bury_behind_the_end(records: list[KeyValue], seq: int) -> None:
    records.append(replace(records[seq - 1], value=None))


def compact_away_a_republished(records: list[KeyValue], seq: int) -> None:
    records.append(records.pop(seq - 1))


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (remove, FindingKind.MISSING),
        (repeat_behind, FindingKind.DOUBLED),
        (repeat_at_the_end, FindingKind.DOUBLED),
        (swap_with_next, FindingKind.SWAPPED),
        (bury_in_place, FindingKind.TOMBSTONE),
        (bury_behind_the_end, FindingKind.TOMBSTONE),
        (compact_away_a_republished, FindingKind.MISSING),
    ],
)
@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, choice=st.data())
def test_any_record_that_is_not_where_it_belongs_is_named(
    damage: Callable[[list[KeyValue], int], None],
    kind: FindingKind,
    seed: int,
    choice: st.DataObject,
) -> None:
    ledger = ledger_of(seed, intents=3)
    records = list(ledger.ledger)
    # The last two would be another damage: nothing to swap with, nothing behind which to repeat.
    seq = choice.draw(st.integers(min_value=1, max_value=len(records) - 2), label="seq")
    damage(records, seq)

    found = first_bad(ledger, records)

    assert (found.seq, found.kind) == (seq, kind)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_entries_missing_at_the_end_are_named_by_the_tip(lost: int) -> None:
    ledger = a_ledger(5)
    size = len(ledger.entries)

    found = first_bad(ledger, ledger.ledger[:-lost])

    assert (found.seq, found.kind) == (size - lost + 1, FindingKind.MISSING)


def test_a_ledger_that_is_empty_beside_a_tip_misses_its_first_entry() -> None:
    found = first_bad(a_ledger(5), [])

    assert (found.seq, found.kind) == (1, FindingKind.MISSING)


@pytest.mark.parametrize("seq", [2, 5, 9])
def test_an_entry_inserted_with_a_good_chain_is_named(seq: int) -> None:
    ledger = a_ledger(2, intents=6)
    records = list(ledger.ledger)
    records.insert(seq - 1, forged(replace(ledger.entries[seq - 1], command_id="forged")))

    found = first_bad(ledger, records)

    assert (found.seq, found.kind) == (seq, FindingKind.INSERTED)


@pytest.mark.parametrize("seq", [2, 5, 9])
def test_an_entry_inserted_without_a_chain_is_named(seq: int) -> None:
    ledger = a_ledger(2, intents=6)
    records = list(ledger.ledger)
    records.insert(seq - 1, forged(replace(ledger.entries[seq - 1], prev_hash=b"\x99" * 32)))

    found = first_bad(ledger, records)

    assert (found.seq, found.kind) == (seq, FindingKind.INSERTED)


def test_an_entry_appended_behind_the_tip_is_named() -> None:
    ledger = a_ledger(2)
    size = len(ledger.entries)
    stranger = "00000000-0000-8000-8000-000000000001"
    intruder = replace(
        ledger.entries[1],
        seq=size + 1,
        prev_hash=ledger.tip().last_leaf_hash,
        intent_id=stranger,
    )

    found = first_bad(ledger, [*ledger.ledger, forged(intruder)])

    assert found.seq == size + 1
    assert found.kind is FindingKind.TIP_DOES_NOT_EXTEND


def test_another_tenants_entry_is_named_as_such() -> None:
    ledger, other = a_ledger(2), a_ledger(3, tenant_id="tenant-two")
    records = list(ledger.ledger)
    records.insert(4, other.ledger[4])

    found = first_bad(ledger, records)

    assert (found.seq, found.kind) == (5, FindingKind.WRONG_TENANT)


def test_a_value_under_another_seqs_key_is_damaged() -> None:
    ledger = a_ledger(2)
    records = list(ledger.ledger)
    records[3] = replace(records[3], key=ledger_key(TenantId("tenant-one"), 3))

    found = first_bad(ledger, records)

    assert (found.seq, found.kind) == (4, FindingKind.DAMAGED)


def test_bytes_that_are_no_entry_are_damaged() -> None:
    ledger = a_ledger(2)
    records = list(ledger.ledger)
    records[3] = replace(records[3], value=b"by hand")

    found = first_bad(ledger, records)

    assert (found.seq, found.kind) == (4, FindingKind.DAMAGED)


def test_an_entry_of_a_schema_that_this_release_does_not_know_is_said_to_be_so() -> None:
    ledger = a_ledger(2)
    records = list(ledger.ledger)
    records[3] = replace(records[3], value=b"\x00\x7f\xff\xff\xff" + b"later")

    found = first_bad(ledger, records)

    assert (found.seq, found.kind) == (4, FindingKind.SCHEMA_UNKNOWN)


def test_an_entry_that_no_history_can_contain_is_impossible() -> None:
    ledger = a_ledger(2)
    first = next(entry for entry in ledger.entries if entry.intent_id is not None)
    # Appended whole, with a good chain: created a second time.
    again = replace(first, seq=len(ledger.entries) + 1, prev_hash=ledger.tip().last_leaf_hash)

    found = first_bad(ledger, [*ledger.ledger, forged(again)])

    assert (found.seq, found.kind) == (again.seq, FindingKind.IMPOSSIBLE)


def test_an_event_about_no_intent_is_impossible() -> None:
    ledger = a_ledger(2)
    homeless = replace(
        ledger.entries[1],
        seq=len(ledger.entries) + 1,
        prev_hash=ledger.tip().last_leaf_hash,
        intent_id=None,
    )

    found = first_bad(ledger, [*ledger.ledger, forged(homeless)])

    assert (found.seq, found.kind) == (homeless.seq, FindingKind.IMPOSSIBLE)


def test_the_good_entries_before_a_break_are_still_compared() -> None:
    ledger = a_ledger(7, intents=8)
    stored = Stored.of(ledger)
    dice = random.Random(1)
    seq = dice.randint(6, len(ledger.entries) - 1)
    remove(stored.ledger, seq)
    stored.rows.entry_rows[3] = replace(stored.rows.entry_rows[3], actor_ref="somebody")

    report = fsck_one(stored)

    assert [finding.seq for finding in report.findings] == [3, seq]
    assert report.size == seq - 1

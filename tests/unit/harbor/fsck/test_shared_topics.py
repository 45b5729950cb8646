"""States, pins, tips and checkpoints that the entries do not imply are named with the seq they contradict."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.ids import IntentId
from schemas.intent_fold import Quarantine
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from schemas.messages.avro_codec import encode
from schemas.messages.tips import SignedCheckpoint
from schemas.topics import (
    INTENTS,
    TIPS,
    checkpoint_key,
    intent_key,
    party_key,
    tip_key,
)
from tests.support.builders import PAYEE, T0, TENANT
from tests.support.ledger_builder import DEPLOYMENT, KeyValue, LedgerBuilder, a_ledger
from tests.unit.harbor.fsck.world import (
    Stored,
    a_whole_ledger,
    first_intent,
    found,
    fsck_one,
    ledger_of,
)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(min_value=0, max_value=10_000), intents=st.integers(0, 6))
def test_an_undamaged_tenant_is_clean(seed: int, intents: int) -> None:
    ledger = a_ledger(seed, intents=intents)

    report = fsck_one(Stored.of(ledger))

    assert report.findings == ()
    assert report.size == report.table_size == len(ledger.entries)
    assert report.root == ledger.frontier.root()
    assert report.intents == len(ledger.states)


def test_a_state_with_another_amount_is_not_implied() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        state = ledger.states[first_intent(ledger)]
        key = intent_key(TENANT, IntentId(state.intent_id))
        stored.intents[key] = encode(replace(state, amount_minor=state.amount_minor + 1))

    ledger = a_whole_ledger()
    seq = ledger.states[first_intent(ledger)].last_seq
    assert found(damage) == [(seq, "not_implied", INTENTS)]


def test_a_state_that_missed_its_last_entry_is_stale_from_that_entry_on() -> None:
    ledger = LedgerBuilder()
    ledger.provision()
    intent_id = ledger.create(1)
    before = ledger.states[intent_id]
    ledger.fund(intent_id)
    ledger.commit()

    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.intents[intent_key(TENANT, IntentId(intent_id))] = encode(before)

    assert found(damage, ledger) == [(before.last_seq + 1, "stale", INTENTS)]


def test_a_state_that_is_gone_is_absent_from_its_first_entry_on() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.intents[intent_key(TENANT, IntentId(first_intent(ledger)))] = None

    ledger = a_whole_ledger()
    seq = ledger.states[first_intent(ledger)].created_seq
    assert found(damage) == [(seq, "absent", INTENTS)]


def test_a_state_that_no_entry_led_to_is_not_implied() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        state = replace(ledger.states[first_intent(ledger)], intent_id="stranger", last_seq=4)
        stored.intents[intent_key(TENANT, IntentId("stranger"))] = encode(state)

    assert found(damage) == [(4, "not_implied", INTENTS)]


@pytest.mark.parametrize("value", [b"by hand", encode(ledger_of(3, intents=6).tip())])
def test_a_state_that_is_none_is_damaged(value: bytes) -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.intents[intent_key(TENANT, IntentId(first_intent(ledger)))] = value

    ledger = a_whole_ledger()
    seq = ledger.states[first_intent(ledger)].created_seq
    assert found(damage) == [(seq, "damaged", INTENTS)]


def test_a_state_under_another_intents_key_is_damaged() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        first, second = list(ledger.states)[:2]
        key = intent_key(TENANT, IntentId(first))
        stored.intents[key] = encode(ledger.states[second])

    ledger = a_whole_ledger()
    seq = ledger.states[first_intent(ledger)].created_seq
    assert found(damage) == [(seq, "damaged", INTENTS)]


def test_a_pin_with_another_key_is_not_implied() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        did = next(iter(ledger.pins))
        pin = replace(ledger.pins[did], pubkey=b"\x66" * 32)
        stored.intents[party_key(TENANT, did)] = encode(pin)

    ledger = a_whole_ledger()
    seq = next(iter(ledger.pins.values())).since_seq
    assert found(damage) == [(seq, "not_implied", INTENTS)]


def test_a_pin_that_is_gone_is_absent() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.intents[party_key(TENANT, PAYEE.did)] = None

    assert found(damage) == [(a_whole_ledger().pins[PAYEE.did].since_seq, "absent", INTENTS)]


def test_a_tenants_row_with_another_origin_is_not_implied() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        assert ledger.tenant is not None
        stored.write_tenant(replace(ledger.tenant, origin="paybond/elsewhere/tenant-one"))

    assert found(damage) == [(1, "not_implied", INTENTS)]


def test_a_quarantine_is_told_and_is_no_finding() -> None:
    ledger = a_whole_ledger()
    stored = Stored.of(ledger)
    assert ledger.tenant is not None
    quarantine = Quarantine(reason="crashed_decide", since=T0)
    stored.write_tenant(replace(ledger.tenant, quarantine=quarantine))

    report = fsck_one(stored)

    assert report.is_clean
    assert report.quarantine == "crashed_decide"


def last_tip(stored: Stored, ledger: LedgerBuilder, **changes: object) -> None:
    tip = replace(ledger.tip(), **changes)  # type: ignore[arg-type]
    stored.tips[-1] = KeyValue(key=tip_key(TENANT), value=encode(tip))


@pytest.mark.parametrize("changes", [{"root": b"\x66" * 32}, {"last_leaf_hash": b"\x66" * 32}])
def test_a_tip_that_is_not_the_ledgers_end_is_named(changes: dict[str, object]) -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        last_tip(stored, ledger, **changes)

    assert found(damage) == [(len(a_whole_ledger().entries), "tip_does_not_extend", TIPS)]


def test_a_tip_with_another_frontier_is_named() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        hashes = (b"\x66" * 32,) * len(ledger.frontier.hashes)
        last_tip(stored, ledger, frontier=hashes)

    assert found(damage) == [(len(a_whole_ledger().entries), "tip_does_not_extend", TIPS)]


def test_a_tip_that_goes_back_does_not_extend_the_one_before() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.tips.append(stored.tips[1])

    ledger = ledger_of(3, intents=6)
    size = len(ledger.entries)
    findings = found(damage)
    assert {(kind, where) for _, kind, where in findings} == {("tip_does_not_extend", TIPS)}
    assert findings[0][0] < size


@pytest.mark.parametrize("value", [None, b"by hand"])
def test_a_tip_that_is_none_is_named(value: bytes | None) -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.tips.append(KeyValue(key=tip_key(TENANT), value=value))

    size = len(a_whole_ledger().entries)
    assert found(damage) == [(size + 1, "tip_does_not_extend", TIPS)]


def test_another_tenants_tip_under_this_key_is_named() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        tip = replace(ledger.tip(), tenant_id="tenant-two")
        stored.tips.append(KeyValue(key=tip_key(TENANT), value=encode(tip)))

    size = len(a_whole_ledger().entries)
    assert found(damage) == [(size + 1, "tip_does_not_extend", TIPS)]


def add_checkpoint(stored: Stored, signed: SignedCheckpoint, *, key: bytes | None = None) -> None:
    where = key or checkpoint_key(TENANT, signed.size)
    stored.checkpoints.append(KeyValue(key=where, value=encode(signed)))


def test_a_signed_root_that_is_not_the_entries_is_a_mismatch() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        signed = ledger.signed(root=b"\x66" * 32)
        stored.checkpoints[-1] = KeyValue(
            key=checkpoint_key(TENANT, signed.size), value=encode(signed)
        )
        # The views keep it waiting, behind the quarantine that they put the tenant in.
        del stored.rows.checkpoint_rows[signed.size]
        stored.rows.waiting.add(signed.size)

    size = len(a_whole_ledger().entries)
    assert found(damage) == [(size, "checkpoint_mismatch", "paybond.checkpoints")]


def test_two_signed_checkpoints_of_one_size_that_differ_are_an_equivocation() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        add_checkpoint(stored, ledger.signed(root=b"\x66" * 32))

    size = len(a_whole_ledger().entries)
    assert (size, "equivocation", "paybond.checkpoints") in found(damage)


def test_a_checkpoint_that_was_published_twice_is_no_finding() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        add_checkpoint(stored, ledger.signed())

    assert found(damage) == []


def test_a_checkpoint_ahead_of_the_ledger_is_a_mismatch() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        add_checkpoint(stored, ledger.signed(size=len(ledger.entries) + 3))

    size = len(a_whole_ledger().entries)
    assert found(damage) == [(size + 1, "checkpoint_mismatch", "paybond.checkpoints")]


def test_a_checkpoint_that_another_key_signed_is_not_believed() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        checkpoint = Checkpoint(
            origin=origin_of(DEPLOYMENT, TENANT), size=1, root=ledger.frontier.root()
        )
        note = sign_checkpoint(checkpoint, seed=b"\x13" * 32)
        add_checkpoint(stored, SignedCheckpoint(tenant_id=TENANT, size=1, note=note))

    assert found(damage) == [(1, "checkpoint_untrusted", "paybond.checkpoints")]


def test_a_checkpoint_under_another_sizes_key_is_not_believed() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        add_checkpoint(stored, ledger.signed(), key=checkpoint_key(TENANT, 2))

    assert found(damage) == [(2, "checkpoint_untrusted", "paybond.checkpoints")]


def test_a_note_that_says_another_size_than_its_record_is_not_believed() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        add_checkpoint(stored, replace(ledger.signed(), size=2))

    assert found(damage) == [(2, "checkpoint_untrusted", "paybond.checkpoints")]


@pytest.mark.parametrize("value", [None, b"by hand"])
def test_a_checkpoint_that_was_taken_away_or_is_none_is_named(value: bytes | None) -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.checkpoints.append(KeyValue(key=checkpoint_key(TENANT, 2), value=value))

    assert found(damage) == [(2, "checkpoint_untrusted", "paybond.checkpoints")]

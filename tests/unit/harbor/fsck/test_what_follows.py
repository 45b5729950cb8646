"""States, pins, tips, checkpoints and tables that the entries do not imply are named with the seq they contradict."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.ports import MemoryLogReader
from harbor.fsck.audit import Audit, TenantReport
from harbor.fsck.findings import FINDINGS_MAX, FindingKind
from harbor.fsck.memory_tables import MemoryRows
from harbor.fsck.report import document, exit_code, finding_lines, table
from harbor.fsck.shared_topics import LedgerKeys
from schemas.canonical import ed25519
from schemas.errors import BrokerUnavailableError
from schemas.ids import IntentId, TenantId
from schemas.intent_fold import Quarantine
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from schemas.ledger.tiles import TILE_WIDTH
from schemas.messages.avro_codec import encode
from schemas.messages.tips import SignedCheckpoint
from schemas.partitioner import partition_of
from schemas.topics import (
    INTENTS,
    TIPS,
    checkpoint_key,
    intent_key,
    ledger_key,
    party_key,
    tenant_key,
    tip_key,
)
from tests.support.builders import PAYEE, T0, TENANT
from tests.support.ledger_builder import DEPLOYMENT, KeyValue, LedgerBuilder, a_ledger
from tests.unit.harbor.fsck.world import (
    PARTITIONS,
    Stored,
    Witness,
    audit_of,
    fsck,
    fsck_one,
    kafka_of,
)

ledger_of = cache(a_ledger)
Damage = Callable[[Stored, LedgerBuilder], None]


def a_whole_ledger() -> LedgerBuilder:
    return ledger_of(3, intents=6)


def first_intent(ledger: LedgerBuilder) -> str:
    return next(iter(ledger.states))


def found(damage: Damage, ledger: LedgerBuilder | None = None) -> list[tuple[int, str, str]]:
    """(seq, kind, where) of everything that `fsck` finds after the damage."""
    whole = ledger or a_whole_ledger()
    stored = Stored.of(whole)
    damage(stored, whole)
    return [(f.seq, f.kind.value, f.where) for f in fsck_one(stored).findings]


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
        row = replace(ledger.tenant, origin="paybond/elsewhere/tenant-one")
        stored.intents[tenant_key(TENANT)] = encode(row)

    assert found(damage) == [(1, "not_implied", INTENTS)]


def test_a_quarantine_is_told_and_is_no_finding() -> None:
    ledger = a_whole_ledger()
    stored = Stored.of(ledger)
    assert ledger.tenant is not None
    quarantine = Quarantine(reason="crashed_decide", since=T0)
    stored.intents[tenant_key(TENANT)] = encode(replace(ledger.tenant, quarantine=quarantine))

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
        del stored.rows.checkpoint_rows[signed.size]

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


def change_entry_row(stored: Stored, _: LedgerBuilder) -> None:
    stored.rows.entry_rows[4] = replace(stored.rows.entry_rows[4], actor_ref="somebody")


def drop_entry_row(stored: Stored, _: LedgerBuilder) -> None:
    del stored.rows.entry_rows[4]


def drop_last_entry_row(stored: Stored, ledger: LedgerBuilder) -> None:
    del stored.rows.entry_rows[len(ledger.entries)]


def add_entry_row_behind(stored: Stored, ledger: LedgerBuilder) -> None:
    size = len(ledger.entries)
    stored.rows.entry_rows[size + 1] = replace(stored.rows.entry_rows[size], seq=size + 1)


def add_entry_row_before(stored: Stored, _: LedgerBuilder) -> None:
    stored.rows.entry_rows[0] = replace(stored.rows.entry_rows[1], seq=0)


def change_intent_row(stored: Stored, ledger: LedgerBuilder) -> None:
    intent_id = first_intent(ledger)
    row = stored.rows.intent_rows[intent_id]
    stored.rows.intent_rows[intent_id] = replace(row, held_minor=row.held_minor + 1)


def drop_intent_row(stored: Stored, ledger: LedgerBuilder) -> None:
    del stored.rows.intent_rows[first_intent(ledger)]


def add_intent_row(stored: Stored, ledger: LedgerBuilder) -> None:
    row = stored.rows.intent_rows[first_intent(ledger)]
    stored.rows.intent_rows["stranger"] = replace(row, intent_id="stranger", last_seq=2)


def change_tenant_row(stored: Stored, _: LedgerBuilder) -> None:
    assert stored.rows.tenant_row is not None
    stored.rows.tenant_row = replace(stored.rows.tenant_row, last_leaf_hash=b"\x66" * 32)


def push_tenant_row_ahead(stored: Stored, ledger: LedgerBuilder) -> None:
    assert stored.rows.tenant_row is not None
    ahead = len(ledger.entries) + 5
    stored.rows.tenant_row = replace(stored.rows.tenant_row, last_seq=ahead)


def change_totals(stored: Stored, _: LedgerBuilder) -> None:
    first = stored.rows.totals_rows[0]
    stored.rows.totals_rows[0] = replace(first, intents=first.intents + 1)


def drop_totals(stored: Stored, _: LedgerBuilder) -> None:
    stored.rows.totals_rows = [row for row in stored.rows.totals_rows if not row.intents]


def change_checkpoint_root(stored: Stored, _: LedgerBuilder) -> None:
    stored.rows.checkpoint_rows[1] = replace(stored.rows.checkpoint_rows[1], root=b"\x66" * 32)


def change_checkpoint_note(stored: Stored, _: LedgerBuilder) -> None:
    stored.rows.checkpoint_rows[1] = replace(stored.rows.checkpoint_rows[1], note="by hand")


_SIZE = len(ledger_of(3, intents=6).entries)
_FIRST = ledger_of(3, intents=6).states[first_intent(ledger_of(3, intents=6))]


@pytest.mark.parametrize(
    ("damage", "seq", "kind", "where"),
    [
        (change_entry_row, 4, "not_implied", "views.ledger_entries"),
        (drop_entry_row, 4, "absent", "views.ledger_entries"),
        (drop_last_entry_row, _SIZE, "absent", "views.ledger_entries"),
        (add_entry_row_behind, _SIZE + 1, "not_implied", "views.ledger_entries"),
        (add_entry_row_before, 0, "not_implied", "views.ledger_entries"),
        (change_intent_row, _FIRST.last_seq, "not_implied", "views.intents"),
        (drop_intent_row, _FIRST.created_seq, "absent", "views.intents"),
        (add_intent_row, 2, "not_implied", "views.intents"),
        (change_tenant_row, _SIZE, "not_implied", "views.tenants"),
        (change_totals, _SIZE, "not_implied", "views.intent_totals"),
        (drop_totals, _SIZE, "not_implied", "views.intent_totals"),
        (change_checkpoint_root, 1, "not_implied", "views.checkpoints"),
        (change_checkpoint_note, 1, "checkpoint_untrusted", "views.checkpoints"),
    ],
)
def test_a_row_that_its_entry_does_not_imply_is_named(
    damage: Damage, seq: int, kind: str, where: str
) -> None:
    findings = found(damage)

    assert findings[0] == (seq, kind, where)
    assert {finding[1:] for finding in findings} == {(kind, where)}


def test_tables_that_claim_more_entries_than_the_ledger_has_are_named() -> None:
    assert found(push_tenant_row_ahead)[0] == (_SIZE + 1, "not_implied", "views.tenants")


def test_rows_without_the_tenants_row_are_named() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.rows.tenant_row = None

    assert found(damage)[0] == (1, "absent", "views.tenants")


def a_long_ledger() -> LedgerBuilder:
    """More than one full tile of leaves, so that there is a tile above it."""
    return ledger_of(1, intents=80)


def test_full_tiles_and_those_above_them_are_clean() -> None:
    ledger = a_long_ledger()
    stored = Stored.of(ledger)
    assert len(ledger.entries) > TILE_WIDTH
    assert stored.rows.tile_rows.keys() == {(0, 0), (1, 0)}

    assert fsck_one(stored).findings == ()


@pytest.mark.parametrize("tile", [(0, 0), (1, 0)])
def test_a_tile_with_another_hash_is_not_implied(tile: tuple[int, int]) -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.rows.tile_rows[tile] = b"\x66" * len(stored.rows.tile_rows[tile])

    assert found(damage, a_long_ledger()) == [(1, "not_implied", "views.ledger_tiles")]


def test_a_tile_that_is_gone_is_absent_and_one_too_many_is_not_implied() -> None:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        stored.rows.tile_rows[0, 5] = stored.rows.tile_rows.pop((0, 0))

    assert found(damage, a_long_ledger()) == [
        (1, "absent", "views.ledger_tiles"),
        (5 * TILE_WIDTH + 1, "not_implied", "views.ledger_tiles"),
    ]


@pytest.mark.parametrize("size", [0, 1, 4, 9])
def test_tables_that_lag_are_no_finding(size: int) -> None:
    ledger = a_whole_ledger()
    stored = Stored.of(ledger, table_size=size)

    report = fsck_one(stored)

    assert report.findings == ()
    assert report.table_size == size


def test_states_and_tips_of_a_ledger_that_grows_while_it_is_read_are_no_finding() -> None:
    """The tips are read first; then a transaction commits; then the states and the ledger are read."""
    ledger = ledger_of(3, intents=6)
    stored = Stored.of(ledger)
    kafka = kafka_of(stored)
    grown = a_ledger(3, intents=6)
    grown.fund(grown.create(99))
    grown.commit()
    where = partition_of(TENANT, PARTITIONS)

    class Growing(MemoryLogReader):
        has_grown = False

        async def beginning_offset(self, topic: str, partition: int) -> int:
            if topic == INTENTS and not self.has_grown:
                self.has_grown = True
                topic_of_ledger = f"paybond.ledger.{TENANT}"
                for record in grown.ledger[len(ledger.ledger) :]:
                    kafka.append(topic_of_ledger, 0, key=record.key, value=record.value)
                for key, value in grown.intents.items():
                    kafka.append(INTENTS, where, key=key, value=value)
                kafka.append(TIPS, where, key=tip_key(TENANT), value=grown.tips[-1].value)
            return await super().beginning_offset(topic, partition)

    audit = audit_of(kafka, [stored])
    audit._reader = reader = Growing(kafka, process="fsck")
    audit._topics._reader = reader
    (report,) = asyncio.run(audit.run(None, Witness()))

    assert reader.has_grown
    assert report.findings == ()
    assert report.size == len(grown.entries) > len(ledger.entries)


def test_a_transaction_that_hangs_is_an_outage_and_not_a_finding() -> None:
    stored = Stored.of(a_whole_ledger())
    kafka = kafka_of(stored)
    producer = kafka.init_transactions("hanging")
    kafka.begin(producer)
    topic = f"paybond.ledger.{TENANT}"
    kafka.produce(producer, topic, 0, key=ledger_key(TENANT, _SIZE + 1), value=b"x", headers={})

    with pytest.raises(BrokerUnavailableError, match="hangs"):
        asyncio.run(audit_of(kafka, [stored]).run(None, Witness()))


def test_tenants_are_checked_each_by_itself_in_the_order_of_their_names() -> None:
    names = ["tenant-c", "tenant-a", "tenant-b"]
    stored = [Stored.of(a_ledger(7, tenant_id=name)) for name in names]
    change_entry_row(stored[0], a_ledger(7, tenant_id="tenant-c"))

    reports = fsck(*stored)

    assert [(report.tenant_id, report.is_clean) for report in reports] == [
        ("tenant-a", True),
        ("tenant-b", True),
        ("tenant-c", False),
    ]


def test_one_tenant_is_checked_alone() -> None:
    stored = [Stored.of(a_ledger(7, tenant_id=name)) for name in ("tenant-a", "tenant-b")]
    audit, witness = audit_of(kafka_of(*stored), stored), Witness()

    reports = asyncio.run(audit.run(TenantId("tenant-b"), witness))

    assert [report.tenant_id for report in reports] == ["tenant-b"]
    size = reports[0].size
    assert witness.said == [f"tenant-b began {size}", f"tenant-b ended {size}"]


def test_a_tip_without_a_ledger_topic_misses_the_whole_ledger() -> None:
    stored = Stored.of(a_whole_ledger())
    kafka = kafka_of(stored)
    kafka.delete_topic(f"paybond.ledger.{TENANT}")

    (report,) = asyncio.run(audit_of(kafka, [stored]).run(None, Witness()))

    assert report.first_bad is not None
    assert (report.first_bad.seq, report.first_bad.kind) == (1, FindingKind.MISSING)


def test_postgres_can_be_left_out() -> None:
    stored = Stored.of(a_whole_ledger())
    change_entry_row(stored, a_whole_ledger())

    report = fsck_one(stored, has_tables=False)

    assert report.is_clean
    assert report.table_size is None


def test_checkpoints_of_an_older_key_are_believed_beside_the_newest() -> None:
    stored = Stored.of(a_whole_ledger())
    old, new = (ed25519.public_key(seed) for seed in (b"\x77" * 32, b"\x78" * 32))
    audit = Audit(
        reader=MemoryLogReader(kafka_of(stored), process="fsck"),
        tables=None,
        clock=MemoryClock(T0),
        keys=LedgerKeys(deployment=DEPLOYMENT, public_keys=(new, old)),
        partitions=PARTITIONS,
    )

    (report,) = asyncio.run(audit.run(None, Witness()))

    assert report.is_clean
    assert report.checkpoints == len(stored.checkpoints)


def test_a_table_that_is_gone_does_not_fill_the_memory() -> None:
    ledger = ledger_of(1, intents=260)
    stored = Stored.of(ledger)
    stored.rows = MemoryRows(tenant_row=stored.rows.tenant_row)

    report = fsck_one(stored)

    entries = [f for f in report.findings if f.where == "views.ledger_entries"]
    assert len(ledger.entries) > FINDINGS_MAX
    assert len(entries) <= FINDINGS_MAX
    assert report.omitted > 0
    assert report.first_bad is not None
    assert report.first_bad.seq == 1


def a_report(damage: Damage | None = None) -> TenantReport:
    stored = Stored.of(a_whole_ledger())
    if damage is not None:
        damage(stored, a_whole_ledger())
    return fsck_one(stored)


def test_the_exit_code_says_clean_only_of_somebody_who_was_checked() -> None:
    assert exit_code([a_report()]) == 0
    assert exit_code([a_report(), a_report(drop_entry_row)]) == 1
    assert exit_code([]) == 1


def test_the_document_names_the_first_bad_seq_and_its_reason() -> None:
    bad = document([a_report(drop_entry_row)])
    good = document([a_report()])

    assert bad["ok"] is False
    assert (bad["tenants"][0]["first_bad_seq"], bad["tenants"][0]["reason"]) == (4, "absent")
    assert bad["tenants"][0]["findings"][0]["where"] == "views.ledger_entries"
    assert good["ok"] is True
    assert good["tenants"][0]["first_bad_seq"] is None
    assert good["checked"] == {
        "tenants": 1,
        "entries": _SIZE,
        "intents": len(a_whole_ledger().states),
    }


def test_the_screen_names_every_finding_and_a_line_per_tenant() -> None:
    report = a_report(drop_entry_row)

    assert finding_lines(report) == [
        "tenant-one seq 4: absent in views.ledger_entries: seq 4: it is not there"
    ]
    assert table([report]).row_count == 1


def test_a_clock_is_only_waited_on() -> None:
    """A transaction that ends in time is waited for: the audit goes on with what it committed."""
    stored = Stored.of(a_whole_ledger())
    kafka = kafka_of(stored)
    producer = kafka.init_transactions("slow")
    kafka.begin(producer)
    where = partition_of(TENANT, PARTITIONS)
    last = stored.tips.pop()
    kafka.produce(producer, TIPS, where, key=b"tenant-x", value=last.value, headers={})

    class Ending(MemoryClock):
        async def sleep(self, duration: timedelta) -> None:
            kafka.abort(producer)
            await super().sleep(duration)

    audit = audit_of(kafka, [stored])
    audit._topics._clock = Ending(T0)
    (report,) = asyncio.run(audit.run(None, Witness()))

    assert report.is_clean

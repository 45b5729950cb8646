"""Bodies, on their topic and in the table, against the digests of the ledger; operations against their outcomes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.ids import CommandId, IntentId
from schemas.messages.avro_codec import decode, encode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.events import EvidenceSubmitted, IntentCreated
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.tables.rows import BodyRow, OperationRow, operation_row
from schemas.topics import EVIDENCE, evidence_body_key, intent_body_key, outcome_key
from tests.support.builders import T0, TENANT, an_intent_id
from tests.support.ledger_builder import KeyValue, LedgerBuilder
from tests.unit.harbor.fsck.world import Stored, a_whole_ledger, found, fsck_one, ledger_of

BODIES, ROWS, OPERATIONS = EVIDENCE, "views.evidence", "views.operations"


def key_of(ledger: LedgerBuilder, kind: type) -> tuple[bytes, int]:
    """The first body of a kind whose intent lives on, and the seq of its entry."""
    event = IntentCreated if kind is IntentBody else EvidenceSubmitted
    make = intent_body_key if kind is IntentBody else evidence_body_key
    for entry in ledger.entries:
        intent_id = IntentId(entry.intent_id or "")
        if isinstance(entry.event, event) and not ledger.states[intent_id].is_final:
            return make(ledger.tenant_id, intent_id), entry.seq
    raise AssertionError("no such intent: take another seed")


def a_live_ledger() -> LedgerBuilder:
    """With a live intent that has evidence."""
    return ledger_of(0, intents=12)


def changed(kind: type, **changes: object) -> Callable[[Stored, LedgerBuilder], None]:
    def damage(stored: Stored, ledger: LedgerBuilder) -> None:
        key, _ = key_of(ledger, kind)
        stored.bodies[key] = encode(replace(decode(ledger.bodies[key]), **changes))
        stored.rows.body_rows.clear()

    return damage


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (IntentBody, {"budget": '{"currency":"usd","max_spend_usd":201}'}),
        (IntentBody, {"evidence_schema": "{}"}),
        (IntentBody, {"predicate": '{"root":{"op":"false"},"version":1}'}),
        (IntentBody, {"allowed_tools": ("travel.book",)}),
        (EvidenceBody, {"payload": '{"cost_cents":1,"status":"done"}'}),
        (EvidenceBody, {"artifacts": (b"\xac" * 32,)}),
        (EvidenceBody, {"salt": b"\x5b" * 32}),
        (EvidenceBody, {"payee_signature": b"\x0d" * 64}),
        (EvidenceBody, {"payee_pubkey": b"\x0d" * 32}),
        (EvidenceBody, {"evidence_id": "00000000-0000-8000-8000-000000000000"}),
    ],
)
def test_a_body_whose_digests_are_not_the_ledgers_is_named(
    kind: type, changes: dict[str, object]
) -> None:
    ledger = a_live_ledger()
    _, seq = key_of(ledger, kind)

    assert found(changed(kind, **changes), ledger) == [(seq, "not_implied", BODIES)]


def test_another_report_is_named_with_the_entry_of_its_evaluation() -> None:
    ledger = a_live_ledger()
    _, seq = key_of(ledger, EvidenceBody)

    assert found(changed(EvidenceBody, report='{"passed":false}'), ledger) == [
        (seq + 1, "not_implied", BODIES)
    ]


@pytest.mark.parametrize("kind", [IntentBody, EvidenceBody])
@pytest.mark.parametrize("how", ["gone", "erased"])
def test_a_body_that_a_live_intent_has_lost_is_named(kind: type, how: str) -> None:
    ledger = a_live_ledger()
    key, seq = key_of(ledger, kind)

    def damage(stored: Stored, _: LedgerBuilder) -> None:
        stored.rows.body_rows.clear()
        if how == "gone":
            del stored.bodies[key]
        else:
            stored.bodies[key] = None

    assert found(damage, ledger) == [(seq, "absent", BODIES)]


@pytest.mark.parametrize("value", [b"\x00junk", b"", encode(LedgerBuilder().signed())])
def test_a_body_that_is_none_is_damaged(value: bytes) -> None:
    ledger = a_live_ledger()
    key, seq = key_of(ledger, IntentBody)

    def damage(stored: Stored, _: LedgerBuilder) -> None:
        stored.bodies[key] = value
        stored.rows.body_rows.clear()

    assert found(damage, ledger) == [(seq, "damaged", BODIES)]


def test_a_body_that_no_entry_speaks_of_is_named() -> None:
    ledger = a_whole_ledger()
    key = intent_body_key(ledger.tenant_id, an_intent_id(99))
    body = replace(decode(next(iter(ledger.bodies.values()))), intent_id=an_intent_id(99))

    def damage(stored: Stored, _: LedgerBuilder) -> None:
        stored.bodies[key] = encode(body)

    assert found(damage, ledger) == [(len(ledger.entries) + 1, "not_implied", BODIES)]


def test_an_erased_body_of_a_final_intent_is_no_finding() -> None:
    ledger = a_whole_ledger()
    final = next(state for state in ledger.states.values() if state.is_final)
    key = intent_body_key(ledger.tenant_id, IntentId(final.intent_id))
    stored = Stored.of(ledger)
    # The tombstone comes behind the body, and the views have read it.
    stored.bodies.pop(key)
    stored.bodies[key] = None
    del stored.rows.body_rows[key]

    assert fsck_one(stored).findings == ()


Change = Callable[[BodyRow], BodyRow | None]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda row: replace(row, budget="{}"), "not_implied"),
        (lambda row: replace(row, allowed_tools=["another"]), "not_implied"),
        (lambda _: None, "absent"),
    ],
)
def test_a_row_that_is_not_the_topics_body_is_named(change: Change, kind: str) -> None:
    ledger = a_live_ledger()
    key, seq = key_of(ledger, IntentBody)

    def damage(stored: Stored, _: LedgerBuilder) -> None:
        row = change(stored.rows.body_rows.pop(key))
        if row is not None:
            stored.rows.body_rows[key] = row

    assert found(damage, ledger) == [(seq, kind, ROWS)]


def test_a_row_that_no_body_leads_to_is_named() -> None:
    ledger = a_whole_ledger()

    def damage(stored: Stored, _: LedgerBuilder) -> None:
        row = replace(next(iter(stored.rows.body_rows.values())), intent_id=an_intent_id(99))
        stored.rows.body_rows[intent_body_key(ledger.tenant_id, an_intent_id(99))] = row

    assert found(damage, ledger) == [(len(ledger.entries) + 1, "not_implied", ROWS)]


def an_outcome(number: int, **changes: object) -> Outcome:
    outcome = Outcome(
        command_id=f"00000000-0000-8000-8000-{number:012d}",
        tenant_id=TENANT,
        intent_id=an_intent_id(),
        command_kind="FundIntent",
        status=OutcomeStatus.ACCEPTED,
        input_hash=bytes(32),
        recorded_at=T0,
        decided_at=T0,
        ledger_seq=3,
    )
    return replace(outcome, **changes)  # type: ignore[arg-type]


def published(outcome: Outcome) -> KeyValue:
    key = outcome_key(TENANT, CommandId(outcome.command_id))
    return KeyValue(key=key, value=encode(outcome))


def row_of(outcome: Outcome) -> OperationRow:
    record = published(outcome)
    row = operation_row(outcome, key=record.key, value=record.value or b"")
    assert row is not None
    return row


ASKED = an_outcome(1)
DONE = an_outcome(1, status=OutcomeStatus.DONE, decided_at=T0 + timedelta(seconds=1), ledger_seq=4)
OTHER = an_outcome(2)


@pytest.mark.parametrize(
    ("rows", "findings"),
    [
        ([DONE, OTHER], []),
        ([ASKED, OTHER], [(4, "not_implied", OPERATIONS)]),
        ([replace(DONE, ledger_seq=5), OTHER], [(4, "not_implied", OPERATIONS)]),
        ([OTHER], [(4, "absent", OPERATIONS)]),
        ([DONE, OTHER, an_outcome(3)], [(0, "not_implied", OPERATIONS)]),
    ],
)
def test_an_operation_is_the_newest_outcome_of_its_command(
    rows: list[Outcome], findings: list[tuple[int, str, str]]
) -> None:
    def damage(stored: Stored, _: LedgerBuilder) -> None:
        # Published again later, an older outcome changes nothing.
        stored.outcomes = [published(one) for one in (ASKED, DONE, OTHER, ASKED)]
        stored.rows.operation_rows = {one.command_id: row_of(one) for one in rows}

    assert found(damage) == findings


def test_operations_that_the_views_have_not_read_yet_are_no_finding() -> None:
    stored = Stored.of(a_whole_ledger())
    stored.outcomes = [published(ASKED), published(OTHER)]

    assert fsck_one(stored).findings == ()


def test_an_old_operation_may_be_pruned() -> None:
    long_ago = T0 - timedelta(days=8)
    old = an_outcome(1, recorded_at=long_ago, decided_at=long_ago)
    stored = Stored.of(a_whole_ledger())
    stored.outcomes = [published(old), published(OTHER)]
    stored.rows.operation_rows = {OTHER.command_id: row_of(OTHER)}

    assert fsck_one(stored).findings == ()

"""The tenant's own row on `paybond.intents`, which no entry implies whole, against the row that reads have of it."""

from dataclasses import replace

import pytest

from harbor.fsck.tenant_states import StoredTenantState, compare_tenant_state
from schemas.intent_state import Quarantine, TenantState
from schemas.messages.avro_codec import decode_as, encode
from schemas.tables.rows import TenantStateRow
from schemas.topics import tenant_key
from tests.support.builders import T0
from tests.support.ledger_builder import LedgerBuilder
from tests.unit.harbor.fsck.world import Damage, Stored, found

ROWS = "views.tenant_states"
NEWEST = StoredTenantState(offset=5, value=b"newest")


def _stopped(ledger: LedgerBuilder) -> bytes:
    state = decode_as(TenantState, ledger.intents[tenant_key(ledger.tenant_id)])
    return encode(replace(state, quarantine=Quarantine(reason="crashed_decide", since=T0)))


def _stop_on_the_topic(stored: Stored, ledger: LedgerBuilder) -> None:
    stored.intents[tenant_key(ledger.tenant_id)] = _stopped(ledger)


def _stop_in_the_table(stored: Stored, ledger: LedgerBuilder) -> None:
    row = TenantStateRow(tenant_id=ledger.tenant_id, state=_stopped(ledger))
    stored.rows.tenant_state_row = row


def _stop_in_both(stored: Stored, ledger: LedgerBuilder) -> None:
    _stop_on_the_topic(stored, ledger)
    _stop_in_the_table(stored, ledger)


@pytest.mark.parametrize("damage", [_stop_on_the_topic, _stop_in_the_table])
def test_a_row_that_is_not_the_newest_record_is_named(damage: Damage) -> None:
    assert found(damage) == [(1, "not_implied", ROWS)]


def test_a_quarantine_that_both_have_is_no_finding() -> None:
    assert found(_stop_in_both) == []


@pytest.mark.parametrize(
    ("stored", "row", "rows_reached", "kinds"),
    [
        (NEWEST, b"newest", 6, []),
        (NEWEST, b"older", 6, ["not_implied"]),
        (NEWEST, None, 6, ["absent"]),
        # The views have not read it yet.
        (NEWEST, b"older", 5, []),
        (NEWEST, None, 5, []),
        (None, b"newest", 6, ["not_implied"]),
        (None, None, 6, []),
    ],
)
def test_a_row_is_compared_where_the_views_have_read_its_record(
    stored: StoredTenantState | None, row: bytes | None, rows_reached: int, kinds: list[str]
) -> None:
    told = None if row is None else TenantStateRow(tenant_id="acme", state=row)

    findings = compare_tenant_state(stored, told, rows_reached=rows_reached)

    assert [(one.seq, one.kind.value, one.where) for one in findings.kept] == [
        (1, kind, ROWS) for kind in kinds
    ]

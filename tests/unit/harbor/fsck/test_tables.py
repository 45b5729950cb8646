"""Rows in Postgres that the entries do not imply are named with the seq they contradict."""

from dataclasses import replace

import pytest

from schemas.ledger.tiles import TILE_WIDTH
from tests.support.ledger_builder import LedgerBuilder
from tests.unit.harbor.fsck.world import (
    Damage,
    Stored,
    change_entry_row,
    drop_entry_row,
    first_intent,
    found,
    fsck_one,
    ledger_of,
)


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


def drop_checkpoint_row(stored: Stored, _: LedgerBuilder) -> None:
    del stored.rows.checkpoint_rows[1]


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
        (drop_checkpoint_row, 1, "absent", "views.checkpoints"),
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

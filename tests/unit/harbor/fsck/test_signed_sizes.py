"""Signed sizes on `paybond.checkpoints` against those that the views have published or keep waiting."""

import pytest

from harbor.fsck.signed_sizes import compare_signed_sizes
from tests.unit.harbor.fsck.world import Stored, a_whole_ledger, fsck_one

ROWS = "views.checkpoints"


@pytest.mark.parametrize(
    ("signed", "sizes", "rows_reached", "missed"),
    [
        ({}, set(), 0, []),
        ({1: 0, 3: 1}, {1, 3}, 2, []),
        ({1: 0, 3: 1}, {3}, 2, [1]),
        ({3: 1, 1: 0}, set(), 2, [1, 3]),
        # The views have not read it yet.
        ({1: 0, 3: 1}, {1}, 1, []),
        # A size that the topic lacks is judged by its signature, not here.
        ({1: 0}, {1, 9}, 1, []),
    ],
)
def test_a_size_is_missed_where_the_views_have_read_its_record(
    signed: dict[int, int], sizes: set[int], rows_reached: int, missed: list[int]
) -> None:
    findings = compare_signed_sizes(signed, frozenset(sizes), rows_reached=rows_reached)

    assert [(one.seq, one.kind.value, one.where) for one in findings.kept] == [
        (size, "absent", ROWS) for size in missed
    ]


def test_a_size_that_waits_for_its_entries_is_no_finding() -> None:
    ledger = a_whole_ledger()
    stored = Stored.of(ledger)
    *_, newest = sorted(stored.rows.checkpoint_rows)
    del stored.rows.checkpoint_rows[newest]
    stored.rows.waiting.add(newest)

    assert fsck_one(stored).findings == ()


def test_a_signature_made_anew_behind_what_the_views_have_read_is_no_reason_to_look_away() -> None:
    """Compaction may not have come yet: the first copy was read, so its size must be there."""
    stored = Stored.of(a_whole_ledger())
    stored.checkpoints.append(stored.checkpoints[0])
    del stored.rows.checkpoint_rows[1]

    assert [(one.seq, one.where) for one in fsck_one(stored).findings] == [(1, ROWS)]

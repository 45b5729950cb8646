"""`views.checkpoints` against the signed sizes on `paybond.checkpoints`: each is published, or waits."""

from collections.abc import Mapping

from harbor.fsck.findings import Finding, FindingKind, FindingList

CHECKPOINT_ROWS = "views.checkpoints"


def compare_signed_sizes(
    signed: Mapping[int, int], sizes: frozenset[int], *, rows_reached: int
) -> FindingList:
    """`signed` = the first offset of each size; `sizes` hold the topic below `rows_reached`, waiting ones too.

    Rows of other sizes, notes and roots are judged by their signatures and by the entries.
    """
    found = FindingList()
    for size in sorted(signed.keys() - sizes):
        if signed[size] < rows_reached:
            detail = f"size {size}: it is neither there nor waiting for its entries"
            found.add(
                Finding(seq=size, kind=FindingKind.ABSENT, where=CHECKPOINT_ROWS, detail=detail)
            )
    return found

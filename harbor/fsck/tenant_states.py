"""`views.tenant_states` against the tenant's own row on `paybond.intents`: the newest record, byte for byte."""

from dataclasses import dataclass

from harbor.fsck.findings import Finding, FindingKind, FindingList
from schemas.tables.rows import TenantStateRow

ROWS = "views.tenant_states"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTenantState:
    """The newest record under `<tenant>/tenant`, as far as the topic was read."""

    offset: int
    value: bytes


def compare_tenant_state(
    stored: StoredTenantState | None, row: TenantStateRow | None, *, rows_reached: int
) -> FindingList:
    """`row` holds the topic below `rows_reached`; a record beyond it may be in it all the same, or not yet.

    The tables' checkpoint passes over the states of intents, and is noted with each tenant's row only.
    """
    found = FindingList()
    if stored is None:
        if row is not None:
            found.add(_finding(FindingKind.NOT_IMPLIED, "no record on the topic leads to it"))
    elif row is None:
        if stored.offset < rows_reached:
            found.add(_finding(FindingKind.ABSENT, "it is not there"))
    elif stored.offset < rows_reached and row.state != stored.value:
        found.add(_finding(FindingKind.NOT_IMPLIED, "it is not the newest record on the topic"))
    return found


def _finding(kind: FindingKind, detail: str) -> Finding:
    return Finding(seq=1, kind=kind, where=ROWS, detail=detail)

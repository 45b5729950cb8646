"""Folding a tenant's entries into the rows they make: what the views write and what `fsck` recomputes.

One entry at a time, so that a reader who meets a break still has all the rows before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import FoldError
from schemas.intent_fold import IntentState, TenantState, evolve, provision
from schemas.messages.events import LedgerEntry
from schemas.messages.shared import Environment, SettlementMode
from schemas.tables.rows import (
    EntryRow,
    IntentRow,
    TenantRow,
    TotalsChange,
    entry_row,
    intent_row,
    tenant_row,
    totals_changes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedRows:
    """`states` are those that changed; `intents` and `tenant` are their rows, in key order."""

    entries: tuple[EntryRow, ...]
    states: Mapping[str, IntentState]
    intents: tuple[IntentRow, ...]
    changes: tuple[TotalsChange, ...]
    tenant: TenantRow | None


class TableFold:
    """Of one tenant. `states`: those before the first entry, by intent id; one that is missing does not exist."""

    def __init__(self, *, tenant: TenantState | None, states: Mapping[str, IntentState]) -> None:
        self._tenant = tenant
        self._known = states
        self._changed: dict[str, IntentState] = {}
        self._entries: list[EntryRow] = []
        self._changes: list[TotalsChange] = []

    def add(self, entry: LedgerEntry, *, value: bytes, leaf_hash: bytes) -> None:
        """Raises FoldError, and then nothing of the entry is in the rows.

        An entry at or below its intent's `last_seq` is in the state already: a checkpoint was lowered. Its row alone
        is taken, no state and no counter.
        """
        tenant = self._tenant
        if entry.seq == 1:
            tenant = provision(entry)
        if tenant is None:
            raise FoldError(
                subject=f"{entry.tenant_id} seq {entry.seq}", reason="the tenant has no first entry"
            )
        if entry.intent_id is not None:
            self._fold_intent(entry.intent_id, entry)
        self._tenant = tenant
        self._entries.append(entry_row(entry, value=value, leaf_hash=leaf_hash))

    def rows(self) -> FoldedRows:
        """Of all entries added so far."""
        last = self._entries[-1] if self._entries else None
        return FoldedRows(
            entries=tuple(self._entries),
            states=dict(self._changed),
            intents=tuple(intent_row(self._changed[key]) for key in sorted(self._changed)),
            changes=tuple(self._changes),
            tenant=tenant_row(
                self._tenant,
                last_seq=last.seq,
                last_leaf_hash=last.leaf_hash,
                last_recorded_at=last.recorded_at,
            )
            if last is not None and self._tenant is not None
            else None,
        )

    @property
    def tenant(self) -> TenantState | None:
        return self._tenant

    def _fold_intent(self, intent_id: str, entry: LedgerEntry) -> None:
        before = self._changed.get(intent_id) or self._known.get(intent_id)
        if before is not None and entry.seq <= before.last_seq:
            return
        after = evolve(before, entry)
        self._changed[intent_id] = after
        self._changes.extend(totals_changes(before, after, seq=entry.seq))


def tenant_state(row: TenantRow) -> TenantState:
    """What entry 1 said, from the tenant's row."""
    return TenantState(
        tenant_id=row.tenant_id,
        environment=Environment(row.environment),
        settlement_config_version=row.settlement_config_version,
        settlement_mode=SettlementMode(row.settlement_mode),
        origin=row.origin,
        provisioned_at=row.provisioned_at,
    )

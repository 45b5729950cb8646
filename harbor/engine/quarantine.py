"""Tenants whose commands are answered 503: found at assignment (known to this process alone), or written by a poison.

One found at assignment is found again by the next owner, so it needs no record. One caused by a command stands in
`<tenant>/tenant` of `paybond.intents`. Either is released by a command, which re-checks first.
"""

from collections.abc import Mapping

from harbor.domain.decision import Refused
from harbor.domain.refusals import refuse
from harbor.engine.ports import Restored
from schemas.ids import TenantId
from schemas.intent_fold import TenantState


class Quarantines:
    """Those found at assignment, per owned partition."""

    def __init__(self) -> None:
        self._by_partition: dict[int, dict[TenantId, str]] = {}

    def take_over(self, restored: Restored) -> None:
        self._by_partition[restored.partition] = dict(restored.quarantined)

    def drop(self, partition: int) -> None:
        """The partition was revoked: its next owner looks for itself."""
        self._by_partition.pop(partition, None)

    def release(self, tenant_id: TenantId) -> None:
        """After the commit of the release."""
        for tenants in self._by_partition.values():
            tenants.pop(tenant_id, None)

    def current(self) -> Mapping[TenantId, str]:
        return {
            tenant_id: reason
            for tenants in self._by_partition.values()
            for tenant_id, reason in tenants.items()
        }


def reason_of(
    tenant_id: TenantId, state: TenantState | None, found: Mapping[TenantId, str]
) -> str | None:
    """Why this tenant is stopped, or None."""
    if tenant_id in found:
        return found[tenant_id]
    if state is not None and state.quarantine is not None:
        return state.quarantine.reason
    return None


def check_release(still_wrong: str | None) -> Refused | None:
    """`still_wrong` = what the re-check found. An operator's word does not make a broken ledger whole."""
    if still_wrong is None:
        return None
    return refuse("quarantine_stands", reason=still_wrong)

"""Permissions guard routes, roles are sets of them; nobody grants more than they hold."""

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Permission(StrEnum):
    INTENT_CREATE = "harbor.intent:create"
    INTENT_FUND = "harbor.intent:fund"
    INTENT_EVIDENCE = "harbor.intent:evidence"
    INTENT_CONFIRM = "harbor.intent:confirm"
    INTENT_READ = "harbor.intent:read"
    LEDGER_READ = "harbor.ledger:read"
    DISPUTE_OPEN = "dispute:open"
    DISPUTE_RESOLVE = "dispute:resolve"
    API_KEYS = "admin:api-keys"
    AGENT_KEYS = "admin:agent-keys"


ALL = frozenset(Permission)
_READ = frozenset({Permission.INTENT_READ, Permission.LEDGER_READ})
_WRITE = frozenset(
    {
        Permission.INTENT_CREATE,
        Permission.INTENT_FUND,
        Permission.INTENT_EVIDENCE,
        Permission.INTENT_CONFIRM,
    }
)

ROLES: Mapping[str, frozenset[Permission]] = {
    "tenant_admin": ALL,
    "operator": _READ | {Permission.DISPUTE_OPEN, Permission.DISPUTE_RESOLVE},
    "analyst": _READ,
    "harbor.read": _READ,
    "harbor.write": _READ | _WRITE,
}


def roles_of(permissions: Iterable[str]) -> list[str]:
    """The roles whose every permission is held, largest first: what `/v1/auth/principal` shows."""
    held = set(permissions)
    covered = [role for role, needed in ROLES.items() if needed <= held]
    return sorted(covered, key=lambda role: (-len(ROLES[role]), role))

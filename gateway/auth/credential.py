"""From the `Authorization` header to who asks; tenant and environment come from the key, never from a header."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.auth.api_key import KeyKind, Peppers, StoredKey, is_genuine, parse_bearer
from gateway.auth.permissions import Permission
from gateway.edge.refused import RefusedError
from schemas.ids import TenantId
from schemas.messages.shared import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who asks: verified, live, and with what it may do."""

    tenant_id: TenantId
    environment: Environment
    key_id: str
    kind: KeyKind
    permissions: frozenset[str]


class KeysById(Protocol):
    async def find(self, key_id: str) -> StoredKey | None:
        """Raises DatabaseUnavailableError."""


async def authenticate(
    authorization: Sequence[str], keys: KeysById, peppers: Peppers
) -> Credential:
    """`authorization` = every value of the header. Raises RefusedError (`credential_invalid`)."""
    presented = parse_bearer(authorization[0]) if len(authorization) == 1 else None
    if presented is None:
        raise RefusedError("credential_invalid")
    stored = await keys.find(presented.key_id)
    if not is_genuine(presented, stored, peppers) or stored is None:
        raise RefusedError("credential_invalid")
    return Credential(
        tenant_id=TenantId(stored.tenant_id),
        environment=stored.environment,
        key_id=stored.key_id,
        kind=stored.kind,
        permissions=stored.permissions,
    )


def assert_tenant(credential: Credential, tenant_headers: Sequence[str]) -> None:
    """`x-tenant-id` is an assertion: absent, or exactly the credential's tenant."""
    if any(value != credential.tenant_id for value in tenant_headers):
        raise RefusedError("tenant_mismatch")


def require(credential: Credential, permission: Permission) -> None:
    if permission not in credential.permissions:
        raise RefusedError("permission_denied", details={"permission": permission.value})

"""What may be registered, rotated and revoked, and how: API keys and trusted agent keys of one tenant.

Nobody grants more than they hold. Every change is answered only when Kafka has it; the secret is shown once and
stored nowhere, only its HMAC under the active pepper.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.auth.api_key import KeyKind, Peppers, bearer_of
from gateway.auth.credential import Credential
from gateway.auth.permissions import Permission
from gateway.commands.ports import Clock
from gateway.edge.refused import RefusedError
from gateway.outbox.acknowledgements import RowWriter
from gateway.outbox.rows import AgentKeyRow, ApiKeyRow, OwnedRow, RowKey, Table
from schemas.canonical import ed25519
from schemas.ids import TenantId
from schemas.messages.shared import Environment

_KEY_ID_BYTES = 16
_SECRET_BYTES = 32
# What an agent key's proof may be for, and the permission that whoever registers it must hold for it.
PURPOSES: dict[str, Permission] = {
    "harbor.intent.create": Permission.INTENT_CREATE,
    "harbor.intent.fund": Permission.INTENT_FUND,
    "harbor.intent.evidence.submit": Permission.INTENT_EVIDENCE,
    "harbor.intent.settlement.confirm": Permission.INTENT_CONFIRM,
    "protocol.mandate.import": Permission.INTENT_CREATE,
}
# Every seed of the published test vectors is one byte repeated: anybody holds these private keys.
PUBLISHED_KEYS = frozenset(
    ed25519.public_key(bytes([byte]) * ed25519.SEED_LENGTH) for byte in range(256)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """`bearer` is shown once, in the answer to whoever asked for it."""

    row: ApiKeyRow
    bearer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKeyRequest:
    key_id: str
    public_key: bytes
    purposes: tuple[str, ...]
    expires_at: datetime | None


class KeyAdmin:
    """All methods raise RefusedError and DatabaseUnavailableError. `random(n)` = n unpredictable bytes."""

    def __init__(
        self,
        *,
        rows: RowWriter,
        peppers: Peppers,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._rows = rows
        self._peppers = peppers
        self._clock = clock
        self._random = random

    async def create(
        self, by: Credential, *, kind: KeyKind, permissions: Iterable[str], label: str
    ) -> IssuedKey:
        """A key of the caller's own tenant and environment."""
        wanted = frozenset(permissions)
        _refuse_more_than_held(by, wanted)
        return await self.issue(
            by.tenant_id, environment=by.environment, kind=kind, permissions=wanted, label=label
        )

    async def issue(
        self,
        tenant_id: TenantId,
        *,
        environment: Environment,
        kind: KeyKind,
        permissions: frozenset[str],
        label: str,
    ) -> IssuedKey:
        """Without a grantor: for the command line, which makes a tenant's first key."""
        key_id = self._random(_KEY_ID_BYTES).hex()
        secret = self._random(_SECRET_BYTES).hex()
        bearer = bearer_of(kind=kind, environment=environment, key_id=key_id, secret=secret)
        pepper_id = self._peppers.active_id
        row = ApiKeyRow(
            tenant_id=tenant_id,
            key_id=key_id,
            environment=environment,
            kind=kind,
            permissions=tuple(sorted(permissions)),
            pepper_id=pepper_id,
            digest=self._peppers.digest(bearer, pepper_id=pepper_id),
            label=label,
            created_at=_whole_second(self._clock.now()),
        )
        await self._rows.change(row.key, lambda _present: row)
        return IssuedKey(row=row, bearer=bearer)

    async def rotate(self, by: Credential, key_id: str) -> IssuedKey:
        """A new key like the old one, then the end of the old one.

        In this order: if the new one is not known to be stored, the caller still has the old one. The old one opens
        nothing as soon as its end is written; Kafka gets that from the outbox, if not now then after its outage.
        """
        old = await self._rows.find(_api_key(by.tenant_id, key_id))
        if not isinstance(old, ApiKeyRow) or old.revoked_at is not None:
            raise RefusedError("not_found")
        new = await self.create(by, kind=old.kind, permissions=old.permissions, label=old.label)
        try:
            await self.revoke(by.tenant_id, key_id)
        except RefusedError as error:
            # Written, but not known to be in Kafka: a caller who rotates its own key would be left with neither.
            if error.code != "unavailable":
                raise
        return new

    async def revoke(self, tenant_id: TenantId, key_id: str) -> ApiKeyRow:
        """From now on it opens nothing; revoking again answers the same."""
        row = await self._rows.change(_api_key(tenant_id, key_id), self._revoked)
        assert isinstance(row, ApiKeyRow)
        return row

    async def register_agent_key(self, by: Credential, asked: AgentKeyRequest) -> AgentKeyRow:
        """Registering the same key again answers the same; another key under its id is refused."""
        if by.environment is Environment.LIVE and asked.public_key in PUBLISHED_KEYS:
            raise RefusedError(
                "body_invalid",
                "`public_key_hex` is a published test key: anybody can sign with it.",
                details={"member": "public_key_hex"},
            )
        _refuse_more_than_held(by, {PURPOSES[purpose] for purpose in asked.purposes})
        return await self.trust(by.tenant_id, asked)

    async def trust(self, tenant_id: TenantId, asked: AgentKeyRequest) -> AgentKeyRow:
        """Without a grantor: for the command line."""
        new = AgentKeyRow(
            tenant_id=tenant_id,
            key_id=asked.key_id,
            public_key=asked.public_key,
            purposes=tuple(sorted(set(asked.purposes))),
            expires_at=asked.expires_at,
            created_at=_whole_second(self._clock.now()),
        )

        def registered(present: OwnedRow | None) -> OwnedRow:
            if present is None:
                return new
            assert isinstance(present, AgentKeyRow)
            if replace(present, created_at=new.created_at) != new:
                raise RefusedError("agent_key_exists", details={"key_id": asked.key_id})
            # Written again, so that an answer always stands for an acknowledged row.
            return present

        row = await self._rows.change(new.key, registered)
        assert isinstance(row, AgentKeyRow)
        return row

    async def revoke_agent_key(self, tenant_id: TenantId, key_id: str) -> AgentKeyRow:
        """From now on its proofs are refused; its id is never registered again."""
        key = RowKey(table=Table.AGENT_KEYS, tenant_id=tenant_id, primary_key=key_id)
        row = await self._rows.change(key, self._revoked)
        assert isinstance(row, AgentKeyRow)
        return row

    def _revoked(self, present: OwnedRow | None) -> OwnedRow:
        if present is None:
            raise RefusedError("not_found")
        # Written again even if it is revoked: the first revocation may still be unacknowledged.
        return replace(present, revoked_at=present.revoked_at or _whole_second(self._clock.now()))


def _refuse_more_than_held(by: Credential, wanted: Iterable[str]) -> None:
    beyond = sorted(set(wanted) - by.permissions)
    if beyond:
        raise RefusedError(
            "permission_denied",
            "Nobody grants more than they hold.",
            details={"permissions": [str(permission) for permission in beyond]},
        )


def _api_key(tenant_id: TenantId, key_id: str) -> RowKey:
    return RowKey(table=Table.API_KEYS, tenant_id=tenant_id, primary_key=key_id)


def _whole_second(instant: datetime) -> datetime:
    """As it is shown, so that the stored time and the answer's are one."""
    return instant.replace(microsecond=0)

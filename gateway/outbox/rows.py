"""The rows that the gateway owns, and the JSON in which they travel through Kafka: whole, keyed hashes included.

`row_json` and `row_of` are inverses, so that a database rebuilt from the topic equals the one that was lost.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from gateway.auth.api_key import KeyKind
from schemas.errors import CodecError
from schemas.ids import TenantId
from schemas.instants import from_micros, to_micros
from schemas.messages.operations import GatewayRow
from schemas.messages.shared import Environment
from schemas.topics import gateway_row_key


class Table(StrEnum):
    API_KEYS = "api_keys"
    AGENT_KEYS = "agent_keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKey:
    """Which row: the record's key, and what writes of one row are ordered by."""

    table: Table
    tenant_id: TenantId
    primary_key: str

    @property
    def record_key(self) -> bytes:
        return gateway_row_key(self.table, self.tenant_id, self.primary_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRow:
    """`digest` = HMAC of the whole bearer under the pepper `pepper_id`; the bearer itself is nowhere."""

    tenant_id: TenantId
    key_id: str
    environment: Environment
    kind: KeyKind
    permissions: tuple[str, ...]
    pepper_id: str
    digest: bytes
    label: str
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def key(self) -> RowKey:
        return RowKey(table=Table.API_KEYS, tenant_id=self.tenant_id, primary_key=self.key_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKeyRow:
    """A trusted agent key: whose recognition proofs this tenant accepts, for which purposes."""

    tenant_id: TenantId
    key_id: str
    public_key: bytes
    purposes: tuple[str, ...]
    expires_at: datetime | None
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def key(self) -> RowKey:
        return RowKey(table=Table.AGENT_KEYS, tenant_id=self.tenant_id, primary_key=self.key_id)


OwnedRow = ApiKeyRow | AgentKeyRow

_CLASSES: dict[Table, type[ApiKeyRow] | type[AgentKeyRow]] = {
    Table.API_KEYS: ApiKeyRow,
    Table.AGENT_KEYS: AgentKeyRow,
}
_INSTANTS = frozenset({"created_at", "revoked_at", "expires_at"})
_BYTES = frozenset({"digest", "public_key"})
_TEXTS = frozenset({"permissions", "purposes"})


def row_json(row: OwnedRow) -> str:
    """Sorted members; bytes as hex, instants as microseconds since 1970."""
    members = {name: _to_json(name, value) for name, value in asdict(row).items()}
    return json.dumps(members, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def key_of(message: GatewayRow) -> RowKey:
    """Raises CodecError for a table that this release does not know."""
    try:
        table = Table(message.table)
    except ValueError as error:
        raise CodecError(f"gateway row of an unknown table {message.table!r}") from error
    return RowKey(
        table=table, tenant_id=TenantId(message.tenant_id), primary_key=message.primary_key
    )


def row_of(message: GatewayRow) -> OwnedRow | None:
    """The row that a record carries, None for a deletion. Raises CodecError."""
    key = key_of(message)
    if message.row_json is None:
        return None
    try:
        members = {
            name: _from_json(name, value) for name, value in json.loads(message.row_json).items()
        }
        row = _CLASSES[key.table](**members)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise CodecError(f"gateway row {key.record_key!r}: {error}") from error
    if row.key != key:
        raise CodecError(f"gateway row {key.record_key!r} says that it is {row.key.record_key!r}")
    return row


def message_of(row: OwnedRow, outbox_id: int) -> GatewayRow:
    return GatewayRow(
        table=row.key.table,
        tenant_id=row.key.tenant_id,
        primary_key=row.key.primary_key,
        outbox_id=outbox_id,
        row_json=row_json(row),
    )


def _to_json(name: str, value: Any) -> Any:
    if value is not None and name in _INSTANTS:
        return to_micros(value)
    return value.hex() if name in _BYTES else value


def _from_json(name: str, value: Any) -> Any:
    if value is not None and name in _INSTANTS:
        return from_micros(value)
    if name in _BYTES:
        return bytes.fromhex(value)
    if name in _TEXTS:
        return tuple(value)
    return {"environment": Environment, "kind": KeyKind}.get(name, lambda same: same)(value)

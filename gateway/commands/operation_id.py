"""Operation ids: a command id, the time, and a MAC, so that an id without an outcome is still told from a forged one.

`op_` + base64url(16 bytes command id ‖ 6 bytes milliseconds since 1970 ‖ 8 bytes HMAC-SHA-256 of both and tenant).
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from schemas.canonical.base64_strict import decode_url, encode_url
from schemas.errors import SignatureFormatError
from schemas.ids import CommandId, TenantId

KEPT = timedelta(days=7)
_PREFIX = "op_"
_BODY_BYTES = 22
_MAC_BYTES = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    command_id: CommandId
    started_at: datetime


def operation_id_of(key: bytes, tenant_id: TenantId, operation: Operation) -> str:
    milliseconds = (operation.started_at - _EPOCH) // timedelta(milliseconds=1)
    body = UUID(operation.command_id).bytes + milliseconds.to_bytes(6, "big")
    return _PREFIX + encode_url(body + _mac(key, tenant_id, body))


def read_operation_id(key: bytes, tenant_id: TenantId, text: str) -> Operation | None:
    """The operation, or None if this deployment never gave this id to this tenant."""
    try:
        raw = decode_url(text.removeprefix(_PREFIX), what="the operation id")
    except SignatureFormatError:
        return None
    body, mac = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
    is_whole = text.startswith(_PREFIX) and len(raw) == _BODY_BYTES + _MAC_BYTES
    if not is_whole or not hmac.compare_digest(mac, _mac(key, tenant_id, body)):
        return None
    started_at = _EPOCH + timedelta(milliseconds=int.from_bytes(body[16:], "big"))
    return Operation(command_id=CommandId(str(UUID(bytes=body[:16]))), started_at=started_at)


def _mac(key: bytes, tenant_id: TenantId, body: bytes) -> bytes:
    return hmac.digest(
        key, b"paybond.operation/" + tenant_id.encode() + b"/" + body, hashlib.sha256
    )[:_MAC_BYTES]

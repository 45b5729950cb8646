"""Operation ids: a command id, the time, and a MAC, so that an id without an outcome is still told from a forged one.

`op_` + base64url(16 bytes command id ‖ 6 bytes milliseconds since 1970 ‖ attempt ‖ 8 bytes HMAC-SHA-256 of all and
tenant). The attempt is 4 bytes of its body's hash ‖ 4 of its sender's, so that what another attempt under the same key
was told is not shown as its result; it is left out where it is not known, as in every id from before it was there.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.commands.attempt import Attempt
from schemas.canonical.base64_strict import decode_url, encode_url
from schemas.errors import SignatureFormatError
from schemas.ids import CommandId, TenantId

KEPT = timedelta(days=7)
_PREFIX = "op_"
_COMMAND_BYTES = 16
_TIME_BYTES = 6
# Nobody but the tenant itself could make two attempts alike.
_HASH_BYTES = 4
_MAC_BYTES = 8
_WITHOUT_ATTEMPT = _COMMAND_BYTES + _TIME_BYTES
_WITH_ATTEMPT = _WITHOUT_ATTEMPT + 2 * _HASH_BYTES
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`attempt` = the request that was given the id, cut to what the id has room for; None = not known."""

    command_id: CommandId
    started_at: datetime
    attempt: Attempt | None = None


def operation_id_of(key: bytes, tenant_id: TenantId, operation: Operation) -> str:
    milliseconds = (operation.started_at - _EPOCH) // timedelta(milliseconds=1)
    body = UUID(operation.command_id).bytes + milliseconds.to_bytes(_TIME_BYTES, "big")
    attempt = operation.attempt
    if attempt is not None and attempt.sender is not None:
        body += attempt.body[:_HASH_BYTES] + attempt.sender[:_HASH_BYTES]
    return _PREFIX + encode_url(body + _mac(key, tenant_id, body))


def read_operation_id(key: bytes, tenant_id: TenantId, text: str) -> Operation | None:
    """The operation, or None if this deployment never gave this id to this tenant."""
    try:
        raw = decode_url(text.removeprefix(_PREFIX), what="the operation id")
    except SignatureFormatError:
        return None
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    is_whole = text.startswith(_PREFIX) and len(body) in {_WITHOUT_ATTEMPT, _WITH_ATTEMPT}
    if not is_whole or not hmac.compare_digest(mac, _mac(key, tenant_id, body)):
        return None
    command_id = UUID(bytes=body[:_COMMAND_BYTES])
    milliseconds = int.from_bytes(body[_COMMAND_BYTES:_WITHOUT_ATTEMPT], "big")
    return Operation(
        command_id=CommandId(str(command_id)),
        started_at=_EPOCH + timedelta(milliseconds=milliseconds),
        attempt=_attempt(body[_WITHOUT_ATTEMPT:]),
    )


def _attempt(raw: bytes) -> Attempt | None:
    return Attempt(body=raw[:_HASH_BYTES], sender=raw[_HASH_BYTES:]) if raw else None


def _mac(key: bytes, tenant_id: TenantId, body: bytes) -> bytes:
    return hmac.digest(
        key, b"paybond.operation/" + tenant_id.encode() + b"/" + body, hashlib.sha256
    )[:_MAC_BYTES]

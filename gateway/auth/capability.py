"""The capability token: what a funded intent lets its holder ask for, made anew on each answer.

`base64url(claims ‖ HMAC-SHA-256)`, deterministic, opaque to clients; it never enters an entry, an outcome or a log.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass

from schemas.canonical.base64_strict import decode_url, encode_url
from schemas.errors import SignatureFormatError

_MAC_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityKey:
    key_id: str
    secret: bytes


def capability_token(key: CapabilityKey, *, tenant_id: str, intent_id: str) -> str:
    claims = json.dumps(
        {"v": 1, "kid": key.key_id, "tid": tenant_id, "intent": intent_id},
        separators=(",", ":"),
    ).encode()
    return encode_url(claims + hmac.digest(key.secret, claims, hashlib.sha256))


def is_capability_of(key: CapabilityKey, token: str, *, tenant_id: str, intent_id: str) -> bool:
    """Whether `token` is this key's for this intent; anything unreadable is simply not."""
    try:
        raw = decode_url(token, what="the capability token")
    except SignatureFormatError:
        return False
    expected = decode_url(
        capability_token(key, tenant_id=tenant_id, intent_id=intent_id), what="the token"
    )
    return len(raw) > _MAC_BYTES and hmac.compare_digest(raw, expected)

"""jd(x) of signing.md §1: BLAKE3-256 over canonical JSON."""

from enum import StrEnum

from blake3 import blake3

from schemas.canonical.literal_json import Json, canonical, normal, parse


class LiteralForm(StrEnum):
    """In which form a signature's numbers were hashed; received is tried first (signing.md §1)."""

    RECEIVED = "received"
    NORMAL = "normal"


def jd(value: Json) -> bytes:
    """32 bytes over `value` with its number literals as they are."""
    return jd_bytes(canonical(value))


def jd_bytes(canonical_bytes: bytes) -> bytes:
    """32 bytes over bytes that `canonical` made."""
    return blake3(canonical_bytes).digest()


def jd_normal(canonical_bytes: bytes) -> bytes:
    """32 bytes over the same document with every number in normal form."""
    return jd(normal(parse(canonical_bytes)))

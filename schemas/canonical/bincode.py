"""The bincode subset of signing.md §1: varint lengths, zigzag integers, text, uuid.

Arguments are trusted: a value outside its type's range is a programmer's mistake here.
"""

from uuid import UUID

I64_MIN = -(2**63)
I64_MAX = 2**63 - 1
U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1

_SINGLE_BYTE_MAX = 250
_U16_MAX = 2**16 - 1
_UUID_LENGTH = b"\x10"


def u8(value: int) -> bytes:
    return value.to_bytes(1, "little")


def varint(value: int) -> bytes:
    """0…250 in one byte, else a marker and 2, 4 or 8 bytes, little endian."""
    assert 0 <= value <= U64_MAX, value
    if value <= _SINGLE_BYTE_MAX:
        return value.to_bytes(1, "little")
    if value <= _U16_MAX:
        return b"\xfb" + value.to_bytes(2, "little")
    if value <= U32_MAX:
        return b"\xfc" + value.to_bytes(4, "little")
    return b"\xfd" + value.to_bytes(8, "little")


def i64(value: int) -> bytes:
    """Zigzag, then varint: small amounts of either sign stay short."""
    assert I64_MIN <= value <= I64_MAX, value
    return varint(value * 2 if value >= 0 else -value * 2 - 1)


def text(value: str) -> bytes:
    """The length counts UTF-8 bytes, not characters."""
    raw = value.encode()
    return varint(len(raw)) + raw


def uuid(value: str) -> bytes:
    return _UUID_LENGTH + UUID(value).bytes


def fixed32(value: bytes) -> bytes:
    """Digests and keys: raw, without a length."""
    assert len(value) == 32, len(value)
    return value

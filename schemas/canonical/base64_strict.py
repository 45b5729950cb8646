"""Base64 with exactly one spelling per value (RFC 4648 §3.5).

Lenient decoders skip foreign characters and stray bits, so that two texts would name one key. Here a
text is decoded, encoded again and compared.
"""

import binascii

from schemas.errors import SignatureFormatError

_URL_TO_STANDARD = str.maketrans("-_", "+/")
_STANDARD_TO_URL = bytes.maketrans(b"+/", b"-_")


def encode(raw: bytes) -> str:
    """Standard alphabet, padded."""
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def decode(text: str, *, what: str, length: int | None = None) -> bytes:
    """Standard alphabet, padded; `what` names the member, `length` its bytes.

    Raises SignatureFormatError.
    """
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise SignatureFormatError(what=what, reason="is not standard base64") from error
    if encode(raw) != text:
        raise SignatureFormatError(what=what, reason="is not the canonical spelling of its base64")
    if length is not None and len(raw) != length:
        raise SignatureFormatError(what=what, reason=f"is not {length} bytes in base64")
    return raw


def encode_url(raw: bytes) -> str:
    """URL-safe alphabet, unpadded."""
    encoded = binascii.b2a_base64(raw, newline=False).rstrip(b"=")
    return encoded.translate(_STANDARD_TO_URL).decode("ascii")


def decode_url(text: str, *, what: str) -> bytes:
    """URL-safe alphabet, unpadded. Raises SignatureFormatError."""
    padded = text.translate(_URL_TO_STANDARD) + "=" * (-len(text) % 4)
    try:
        raw = binascii.a2b_base64(padded, strict_mode=True)
    except ValueError as error:
        raise SignatureFormatError(what=what, reason="is not unpadded base64url") from error
    if encode_url(raw) != text:
        raise SignatureFormatError(what=what, reason="is not the canonical spelling of base64url")
    return raw

"""C2SP signed notes: a text, a blank line, signature lines (c2sp.org/signed-note).

A note is worth nothing until a *configured* key has signed it: the only way from bytes to text is `open_note`
with the keys one trusts. A key's name and hash choose the key; they prove nothing by themselves.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from schemas.canonical import base64_strict, ed25519
from schemas.errors import ConfigurationError, SignatureFormatError

# The specification asks for at least 16 signatures, of at most about 5 kB (post-quantum witnesses).
SIGNATURES_MAX = 16
NOTE_CHARACTERS_MAX = 131_072

_ED25519 = b"\x01"
_PUBLIC_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_KEY_HASH_BYTES = 4
_SIGNATURE_START = "— "
_TEXT_END = "\n\n"


class NoteRefusalReason(StrEnum):
    """Why a note, or the checkpoint in it, is not believed."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE_INVALID = "signature_invalid"
    NOT_A_CHECKPOINT = "not_a_checkpoint"
    ORIGIN_MISMATCH = "origin_mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRefusal:
    reason: NoteRefusalReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """An Ed25519 public key under a name; for a ledger the name is the origin."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        assert is_key_name(self.name)
        assert len(self.public_key) == _PUBLIC_KEY_BYTES

    @property
    def key_hash(self) -> bytes:
        """SHA-256(name ‖ newline ‖ 01 ‖ public key), first four bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[
            :_KEY_HASH_BYTES
        ]

    @property
    def vkey(self) -> str:
        """`<name>+<key hash in hex>+<base64(01 ‖ public key)>`, as verifiers are configured with it."""
        encoded = base64_strict.encode(_ED25519 + self.public_key)
        return f"{self.name}+{self.key_hash.hex()}+{encoded}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line, not yet verified."""

    name: str
    key_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedNote:
    """A note that is well formed; its text must not be used (`open_note`)."""

    text: str
    signatures: tuple[NoteSignature, ...]


def is_key_name(name: str) -> bool:
    return name != "" and "+" not in name and not any(c.isspace() for c in name) and _is_clean(name)


def parse_vkey(text: str) -> VerifierKey:
    """A verifier key from the configuration; raises ConfigurationError, which quotes it (it is public)."""
    # Base64 has `+` too, a name has none: the first two separate.
    name, _, rest = text.partition("+")
    hash_hex, _, encoded = rest.partition("+")
    typed_key = decode_base64(encoded)
    if not is_key_name(name) or typed_key is None:
        raise ConfigurationError(f"{text[:200]!r} is not <name>+<key hash>+<base64 key>")
    if typed_key[:1] != _ED25519 or len(typed_key) != 1 + _PUBLIC_KEY_BYTES:
        raise ConfigurationError(f"the verifier key of {name!r} is not an Ed25519 key")
    key = VerifierKey(name=name, public_key=typed_key[1:])
    if hash_hex != key.key_hash.hex():
        raise ConfigurationError(
            f"the verifier key of {name!r} has the key hash {key.key_hash.hex()}, "
            f"not {hash_hex[:16]!r}: name or key was changed"
        )
    return key


def sign_note(text: str, *, name: str, seed: bytes) -> str:
    """The note of `text` with one signature; the same arguments give the same bytes."""
    assert text.endswith("\n")
    assert _is_clean(text)
    key = VerifierKey(name=name, public_key=ed25519.public_key(seed))
    signature = ed25519.sign(seed, text.encode())
    encoded = base64_strict.encode(key.key_hash + signature)
    return f"{text}\n{_SIGNATURE_START}{name} {encoded}\n"


def parse_note(note: str) -> UnverifiedNote | NoteRefusal:
    """Only the form: see `open_note`."""
    if len(note) > NOTE_CHARACTERS_MAX:
        return _malformed(f"longer than {NOTE_CHARACTERS_MAX} characters")
    if not _is_clean(note):
        return _malformed("control characters or lone surrogates")
    # The last blank line separates, so a text may have blank lines of its own.
    text, separator, signature_block = note.rpartition(_TEXT_END)
    if not separator:
        return _malformed("no blank line between text and signatures")
    if not signature_block.endswith("\n"):
        return _malformed("no signature line, or the last one does not end in a newline")
    lines = signature_block[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        return _malformed(f"more than {SIGNATURES_MAX} signatures")
    signatures = []
    for line in lines:
        signature = _parse_signature_line(line)
        if signature is None:
            return _malformed(f"the signature line {line[:80]!r}")
        signatures.append(signature)
    return UnverifiedNote(text=text + "\n", signatures=tuple(signatures))


def open_note(note: str, trusted_keys: Iterable[VerifierKey]) -> str | NoteRefusal:
    """The text, if at least one of the keys signed it and none of them wrongly.

    Lines of other keys (witnesses, rotated keys) are ignored, as the specification demands, also when they share
    a name or a key hash, but not both, with a trusted key.
    """
    parsed = parse_note(note)
    if isinstance(parsed, NoteRefusal):
        return parsed
    known = {(key.name, key.key_hash): key for key in trusted_keys}
    is_signed = False
    for line in parsed.signatures:
        key = known.get((line.name, line.key_hash))
        if key is None:
            continue
        if len(line.signature) != _SIGNATURE_BYTES or not ed25519.verify(
            key.public_key, parsed.text.encode(), line.signature
        ):
            return NoteRefusal(
                reason=NoteRefusalReason.SIGNATURE_INVALID,
                detail=f"the signature of {key.vkey} is not over this text",
            )
        is_signed = True
    if not is_signed:
        names = ", ".join(f"{line.name}+{line.key_hash.hex()}" for line in parsed.signatures)
        return NoteRefusal(
            reason=NoteRefusalReason.UNKNOWN_KEY, detail=f"signed by no trusted key, only {names}"
        )
    return parsed.text


def decode_base64(text: str) -> bytes | None:
    """Standard base64 in its one spelling: padded, no blanks, no stray bits; else None."""
    try:
        return base64_strict.decode(text, what="it")
    except SignatureFormatError:
        return None


def _parse_signature_line(line: str) -> NoteSignature | None:
    if not line.startswith(_SIGNATURE_START):
        return None
    name, _, encoded = line.removeprefix(_SIGNATURE_START).partition(" ")
    raw = decode_base64(encoded)
    if not is_key_name(name) or raw is None or len(raw) <= _KEY_HASH_BYTES:
        return None
    return NoteSignature(name=name, key_hash=raw[:_KEY_HASH_BYTES], signature=raw[_KEY_HASH_BYTES:])


def _is_clean(text: str) -> bool:
    """UTF-8 can hold it, and it has no ASCII control character but the newline."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return all(character >= " " or character == "\n" for character in text)


def _malformed(detail: str) -> NoteRefusal:
    return NoteRefusal(reason=NoteRefusalReason.MALFORMED, detail=detail)

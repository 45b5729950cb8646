"""Whether a text that a program wrote holds what none may hold: a secret in any spelling, a credential, a signature.

Two nets: `Secret`s, whose values are known and are looked for in every spelling; and shapes, which find what nobody
knew of, such as the proof of one request. A finding never repeats what it found: it goes into a log itself.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import quote

# Shorter ones would be found in what is none.
_SECRET_BYTES_MIN = 8

_SHAPES: Final[Mapping[str, "re.Pattern[bytes]"]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "an API key": rb"paybond_[sr]k_(?:sandbox|live)_[0-9a-f]{32}_[0-9a-f]{8}",
        "a bearer": rb"(?i)bearer[ =:'\"]+[a-z0-9._~+/-]{16}",
        # Base64url of a JSON object: a proof header, a session token, a capability token.
        "a proof or token": rb"eyJ[A-Za-z0-9_-]{40}",
        "a signature in base64": rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{86}==",
        "a signature in hex": rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{128}(?![0-9A-Fa-f])",
        "a password in an address": rb"(?i)password=['\"]?[^\s'\"*]{4}|://[^\s/:@]+:[^\s/@]+@",
        "a password in SQL": rb"(?i)\bpassword\s+E?'(?!SCRAM-SHA-256)[^']",
        "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY",
        "a key of a rail": rb"\b[sr]k_(?:test|live)_\w{8}|\bwhsec_\w{8}|_secret_\w{8}",
        "a member of a signed body": (
            rb"\b(?:(?:principal|payee)_signature|ed25519_signature_hex|client_secret|capability_token)"
            rb"\\*['\"]?\s*[:=]\s*\\*b?['\"]?[A-Za-z0-9+/_-]{16}"
        ),
    }.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`what` names the secret or the shape; `line` counts from 1."""

    source: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Secret:
    """Something that only its owner may know, by a name that may be said aloud."""

    name: str
    value: bytes

    @classmethod
    def of(cls, name: str, text: str) -> "Secret":
        return cls(name=name, value=text.strip().encode())

    @cached_property
    def spellings(self) -> Mapping[bytes, str]:
        """Spelling → what it is; of a value that is hex also those of the bytes it stands for."""
        assert len(self.value) >= _SECRET_BYTES_MIN, f"{self.name} is too short to be looked for"
        try:
            meant = [bytes.fromhex(self.value.decode())]
        except ValueError:
            meant = []
        found: dict[bytes, str] = {}
        for value in (self.value, *meant):
            for written, spelling in _spellings(value):
                found.setdefault(written, spelling)
        return found


def search(text: bytes, secrets: Iterable[Secret] = (), *, source: str = "text") -> list[Finding]:
    """Every finding in one text, in the order of its lines."""
    found = {
        Finding(source=source, line=_line_of(text, at), what=f"{secret.name}, {spelling}")
        for secret in secrets
        for written, spelling in secret.spellings.items()
        for at in _places(text, written)
    }
    found |= {
        Finding(source=source, line=_line_of(text, match.start()), what=shape)
        for shape, pattern in _SHAPES.items()
        for match in pattern.finditer(text)
    }
    return sorted(found, key=lambda finding: (finding.line, finding.what))


def search_files(paths: Sequence[Path], secrets: Iterable[Secret] = ()) -> list[Finding]:
    known = list(secrets)
    return [
        finding for path in paths for finding in search(path.read_bytes(), known, source=path.name)
    ]


def _spellings(value: bytes) -> Iterator[tuple[bytes, str]]:
    yield value, "as it is"
    yield value.hex().encode(), "in hex"
    yield value.hex().upper().encode(), "in upper-case hex"
    yield repr(value)[2:-1].encode(), "as Python shows bytes"
    yield ", ".join(map(str, value)).encode(), "as a list of numbers"
    yield quote(value, safe="").encode(), "in a URL's way"
    for offset in range(3):
        yield _base64_inside(value, offset), "in base64"
        yield _base64_inside(value, offset).translate(bytes.maketrans(b"+/", b"-_")), "in base64url"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    yield repr(text)[1:-1].encode(), "as Python shows text"
    yield json.dumps(text)[1:-1].encode(), "as JSON shows text"
    yield json.dumps(json.dumps(text)[1:-1])[1:-1].encode(), "as JSON shows JSON"


def _base64_inside(value: bytes, offset: int) -> bytes:
    """Its base64 where `offset` other bytes stand before it: only the characters that are all its own."""
    encoded = base64.b64encode(bytes(offset) + value)
    first = -(-offset * 8 // 6)
    return encoded[first : (offset + len(value)) * 8 // 6]


def _places(text: bytes, written: bytes) -> Iterator[int]:
    at = text.find(written)
    while at >= 0:
        yield at
        at = text.find(written, at + 1)


def _line_of(text: bytes, at: int) -> int:
    return text.count(b"\n", 0, at) + 1

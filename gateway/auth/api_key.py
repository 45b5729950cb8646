"""API keys: how a bearer is read, and what is stored of it.

`paybond_sk_{sandbox|live}_<32 hex key id>_<64 hex secret>`; `rk` = restricted to scopes. Only HMAC-SHA-256 of the whole
bearer under a pepper is stored, with the pepper's id. An unknown id does the same work as a known one.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from schemas.messages.shared import Environment

_BEARER = re.compile(r"paybond_(sk|rk)_(sandbox|live)_([0-9a-f]{32})_([0-9a-f]{64})")
# What an unknown key id is compared with, so that its answer takes as long.
_NOBODY = bytes(32)


class KeyKind(StrEnum):
    STANDARD = "standard"
    RESTRICTED = "restricted"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedKey:
    """A bearer of the right form; nothing of it is verified yet."""

    kind: KeyKind
    environment: Environment
    key_id: str
    bearer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """What the registry knows of a key id. `digest` is under the pepper `pepper_id`."""

    key_id: str
    tenant_id: str
    environment: Environment
    kind: KeyKind
    permissions: frozenset[str]
    pepper_id: str
    digest: bytes
    is_revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Peppers:
    """Additive rotation: `active_id` stores new keys, every one of `keys` still verifies."""

    active_id: str
    keys: Mapping[str, bytes]

    def digest(self, bearer: str, *, pepper_id: str) -> bytes:
        return hmac.digest(self.keys[pepper_id], bearer.encode(), hashlib.sha256)


def parse_bearer(authorization: str) -> PresentedKey | None:
    """The key in an `Authorization` header, or None for anything that is no API key."""
    scheme, _, bearer = authorization.partition(" ")
    match = _BEARER.fullmatch(bearer)
    if scheme.lower() != "bearer" or match is None:
        return None
    return PresentedKey(
        kind=KeyKind.STANDARD if match[1] == "sk" else KeyKind.RESTRICTED,
        environment=Environment(match[2]),
        key_id=match[3],
        bearer=bearer,
    )


def is_genuine(presented: PresentedKey, stored: StoredKey | None, peppers: Peppers) -> bool:
    """Whether the bearer is the stored key's, and that one is live. Takes as long either way."""
    pepper_id = (
        stored.pepper_id if stored and stored.pepper_id in peppers.keys else peppers.active_id
    )
    computed = peppers.digest(presented.bearer, pepper_id=pepper_id)
    is_equal = hmac.compare_digest(computed, stored.digest if stored else _NOBODY)
    return (
        stored is not None
        and is_equal
        and not stored.is_revoked
        and stored.pepper_id == pepper_id
        and stored.environment is presented.environment
        and stored.kind is presented.kind
    )


def bearer_of(*, kind: KeyKind, environment: Environment, key_id: str, secret: str) -> str:
    letter = "sk" if kind is KeyKind.STANDARD else "rk"
    return f"paybond_{letter}_{environment}_{key_id}_{secret}"

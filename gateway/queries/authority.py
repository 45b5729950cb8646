"""Which keys speak for a ledger: the configured ones, never one found beside a signature.

One key signs all tenants' checkpoints; each tenant's verifier key bears its own origin as name (C2SP).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import ConfigurationError
from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint, open_checkpoint, origin_of, verifier_key_of
from schemas.ledger.signed_note import NoteRefusal, VerifierKey

ALGORITHM = "ed25519"
_PUBLIC_KEY_BYTES = 32


class KeyState(StrEnum):
    """The newest key signs; older ones stay published for ever, to verify what they signed."""

    ACTIVE = "active"
    VERIFY_ONLY = "verify_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerKey:
    key_id: str
    public_key: bytes
    state: KeyState


class LedgerAuthority:
    """`public_keys_hex` = the setting, oldest first. Raises ConfigurationError for what is no Ed25519 key."""

    def __init__(self, *, deployment: str, public_keys_hex: Sequence[str]) -> None:
        self._deployment = deployment
        keys = [_public_key(text) for text in public_keys_hex]
        if len(set(keys)) != len(keys):
            raise ConfigurationError("a ledger verifier key is configured twice")
        self.keys = tuple(
            LedgerKey(
                key_id=hashlib.sha256(key).hexdigest()[:16],
                public_key=key,
                state=KeyState.ACTIVE if key == keys[-1] else KeyState.VERIFY_ONLY,
            )
            for key in keys
        )

    def verifier_key(self, tenant_id: TenantId, key: LedgerKey) -> VerifierKey:
        return verifier_key_of(
            deployment=self._deployment, tenant_id=tenant_id, public_key=key.public_key
        )

    def open(self, tenant_id: TenantId, note: str) -> Checkpoint | NoteRefusal:
        """The checkpoint in a note, if one of the keys signed it for this tenant."""
        return open_checkpoint(
            note,
            origin=origin_of(self._deployment, tenant_id),
            trusted_keys=[self.verifier_key(tenant_id, key) for key in self.keys],
        )

    def members(self, tenant_id: TenantId) -> list[dict[str, object]]:
        """What `authority` shows. Limits in time or seq are null: a configured key counts until it is taken out."""
        return [
            {
                "key_id": key.key_id,
                "algorithm": ALGORITHM,
                "public_key_hex": key.public_key.hex(),
                "vkey": self.verifier_key(tenant_id, key).vkey,
                "state": key.state.value,
                "not_before": None,
                "not_after": None,
                "from_seq": None,
                "to_seq": None,
            }
            for key in self.keys
        ]


def _public_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise ConfigurationError(f"the ledger verifier key {text[:16]!r}… is not hex") from error
    if len(key) != _PUBLIC_KEY_BYTES:
        raise ConfigurationError(f"the ledger verifier key {text[:16]!r}… is not 32 bytes")
    return key

"""A checkpoint: origin, size and root of a tenant's tree, signed as a C2SP note (c2sp.org/tlog-checkpoint).

The origin is also the signing key's name, so one tenant's checkpoint can't be passed off as another's, even though
one key signs them all.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.canonical import base64_strict
from schemas.ids import TenantId
from schemas.ledger.merkle_tree import EMPTY_ROOT, HASH_BYTES
from schemas.ledger.signed_note import (
    NoteRefusal,
    NoteRefusalReason,
    VerifierKey,
    decode_base64,
    open_note,
    sign_note,
)

# At most 16 digits, like `seq` in a ledger key; no leading zero.
_SIZE_PATTERN = re.compile(r"0|[1-9][0-9]{0,15}")
_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        assert self.size >= 0
        assert len(self.root) == HASH_BYTES

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64_strict.encode(self.root)}\n"


def origin_of(deployment: str, tenant_id: TenantId) -> str:
    return f"paybond/{deployment}/{tenant_id}"


def verifier_key_of(*, deployment: str, tenant_id: TenantId, public_key: bytes) -> VerifierKey:
    """A configured public key as the verifier key of one tenant's ledger."""
    return VerifierKey(name=origin_of(deployment, tenant_id), public_key=public_key)


def sign_checkpoint(checkpoint: Checkpoint, *, seed: bytes) -> str:
    """The note; signing again gives the same bytes, so a new owner's copy is no second statement."""
    return sign_note(checkpoint.text(), name=checkpoint.origin, seed=seed)


def open_checkpoint(
    note: str, *, origin: str, trusted_keys: Iterable[VerifierKey]
) -> Checkpoint | NoteRefusal:
    """The checkpoint, if a trusted key named `origin` signed it and it speaks of that origin.

    Trusted keys of other names are not looked at: they are other tenants'.
    """
    text = open_note(note, [key for key in trusted_keys if key.name == origin])
    if isinstance(text, NoteRefusal):
        return text
    checkpoint = _parse_text(text)
    if isinstance(checkpoint, Checkpoint) and checkpoint.origin != origin:
        return NoteRefusal(
            reason=NoteRefusalReason.ORIGIN_MISMATCH,
            detail=f"the checkpoint is of {checkpoint.origin!r}, not of {origin!r}",
        )
    return checkpoint


def tlog_proof(leaf_index: int, proof: Sequence[bytes], checkpoint_note: str) -> str:
    """The text file that proves one entry offline (c2sp.org/tlog-proof), without extra data."""
    lines = ["c2sp.org/tlog-proof@v1", f"index {leaf_index}"]
    lines += [base64_strict.encode(node) for node in proof]
    return "\n".join(lines) + "\n\n" + checkpoint_note


def _parse_text(text: str) -> Checkpoint | NoteRefusal:
    """Extension lines are refused: ours have none, and what is not understood is not vouched for."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) != _LINES:
        return _not_a_checkpoint(f"it has {len(lines)} lines, not {_LINES}")
    origin, size_text, root_text = lines
    if not origin:
        return _not_a_checkpoint("the origin is empty")
    if _SIZE_PATTERN.fullmatch(size_text) is None:
        return _not_a_checkpoint(f"the size is {size_text[:32]!r}")
    root = decode_base64(root_text)
    if root is None or len(root) != HASH_BYTES:
        return _not_a_checkpoint("the root is not the base64 of 32 bytes")
    if size_text == "0" and root != EMPTY_ROOT:
        return _not_a_checkpoint("the root is not that of the empty tree")
    return Checkpoint(origin=origin, size=int(size_text), root=root)


def _not_a_checkpoint(detail: str) -> NoteRefusal:
    return NoteRefusal(reason=NoteRefusalReason.NOT_A_CHECKPOINT, detail=detail)

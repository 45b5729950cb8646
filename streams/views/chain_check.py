"""Whether a record continues its tenant's ledger, and whether a signed checkpoint speaks of that ledger: pure.

Reading a record checks, in this order: it has a value, the value is an entry, tenant, seq, key, `prev_hash`.
"""

from dataclasses import dataclass

from schemas.errors import ChainBreakError, CheckpointMismatchError
from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint, open_checkpoint, origin_of, verifier_key_of
from schemas.ledger.entry_chain import ChainEnd, Link, check_link, leaf_hash
from schemas.ledger.signed_note import NoteRefusal
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import LedgerEntry
from schemas.topics import ledger_key


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEntry:
    """`value` is what was hashed."""

    entry: LedgerEntry
    value: bytes
    end: ChainEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKeys:
    """The ledger keys that are believed, whatever stands beside a signature."""

    deployment: str
    public_keys: tuple[bytes, ...]


def next_entry(
    end: ChainEnd, *, tenant_id: TenantId, key: bytes | None, value: bytes | None
) -> CheckedEntry:
    """The entry after `end`. Raises ChainBreakError, CodecError, UnknownSchemaError."""
    if value is None:
        raise ChainBreakError(
            tenant_id=tenant_id, seq=end.seq + 1, reason="the record is a tombstone"
        )
    entry = decode_as(LedgerEntry, value)
    link = Link(
        tenant_id=TenantId(entry.tenant_id),
        seq=entry.seq,
        prev_hash=entry.prev_hash,
        record_key=key,
        value=value,
    )
    return CheckedEntry(entry=entry, value=value, end=check_link(end, link, tenant_id=tenant_id))


def known_entry(
    end: ChainEnd, *, tenant_id: TenantId, key: bytes | None, value: bytes | None
) -> CheckedEntry:
    """An entry that is read again, at or below `end`: whether it is the same one, the tables tell by its leaf hash.

    Raises ChainBreakError, CodecError, UnknownSchemaError.
    """
    if value is None:
        raise ChainBreakError(tenant_id=tenant_id, seq=end.seq, reason="the record is a tombstone")
    entry = decode_as(LedgerEntry, value)
    if entry.tenant_id != tenant_id or key != ledger_key(tenant_id, entry.seq):
        raise ChainBreakError(
            tenant_id=tenant_id,
            seq=entry.seq,
            reason=f"the record's key is {key!r}, its tenant {entry.tenant_id!r}",
        )
    if not 1 <= entry.seq <= end.seq:
        raise ChainBreakError(
            tenant_id=tenant_id,
            seq=entry.seq,
            reason=f"a record below the checkpoint has a seq above the checkpoint's {end.seq}",
        )
    return CheckedEntry(
        entry=entry, value=value, end=ChainEnd(seq=entry.seq, leaf_hash=leaf_hash(value))
    )


def trusted_checkpoint(
    note: str, *, tenant_id: TenantId, size: int, keys: TrustedKeys
) -> Checkpoint:
    """What a configured key signed for this tenant. Raises CheckpointMismatchError; nobody's fault but the note's."""
    opened = open_checkpoint(
        note,
        origin=origin_of(keys.deployment, tenant_id),
        trusted_keys=[
            verifier_key_of(deployment=keys.deployment, tenant_id=tenant_id, public_key=key)
            for key in keys.public_keys
        ],
    )
    if isinstance(opened, NoteRefusal):
        raise CheckpointMismatchError(
            tenant_id=tenant_id, size=size, reason=f"{opened.reason.value}: {opened.detail}"
        )
    if opened.size != size:
        raise CheckpointMismatchError(
            tenant_id=tenant_id, size=size, reason=f"the note is signed for size {opened.size}"
        )
    return opened


def check_root(*, tenant_id: str, size: int, signed: bytes, computed: bytes) -> None:
    """Raises CheckpointMismatchError if the entries have another root than the one that was signed."""
    if signed != computed:
        raise CheckpointMismatchError(
            tenant_id=tenant_id,
            size=size,
            reason=f"signed root {signed.hex()}, root of the entries {computed.hex()}",
        )

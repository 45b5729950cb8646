"""How one entry hangs on the one before it: leaf hash, `prev_hash`, dense `seq`.

The bytes hashed are the record's value as it lies on the topic, never a re-encoding, so that a consumer can
check the chain with nothing but SHA-256.
"""

import hashlib
from dataclasses import dataclass

from schemas.errors import ChainBreakError
from schemas.ids import TenantId
from schemas.topics import ledger_key

ZERO_HASH = bytes(32)
"""`prev_hash` of entry 1: there is nothing before it."""

# RFC 6962 §2.1 separates leaves (00) from nodes (01), so that no node can be passed off as an entry.
_LEAF_PREFIX = b"\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEnd:
    """Where a tenant's chain stands: the last entry's `seq` and leaf hash."""

    seq: int
    leaf_hash: bytes


CHAIN_START = ChainEnd(seq=0, leaf_hash=ZERO_HASH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What an entry says of its own place. `value` = the record's exact bytes, `record_key` = its Kafka key."""

    tenant_id: TenantId
    seq: int
    prev_hash: bytes
    record_key: bytes | None
    value: bytes


def leaf_hash(value: bytes) -> bytes:
    """SHA-256(00 ‖ record value), RFC 6962 §2.1."""
    return hashlib.sha256(_LEAF_PREFIX + value).digest()


def check_link(end: ChainEnd, link: Link, *, tenant_id: TenantId) -> ChainEnd:
    """The chain with `link` appended; `tenant_id` is the one whose topic the record lies on.

    Checked in this order, so that the reason names the first thing that is wrong: tenant, seq, key, prev_hash.
    Raises ChainBreakError.
    """
    expected_seq = end.seq + 1
    if link.tenant_id != tenant_id:
        raise ChainBreakError(
            tenant_id=tenant_id,
            seq=expected_seq,
            reason=f"the entry names the tenant {link.tenant_id!r}",
        )
    if link.seq != expected_seq:
        raise ChainBreakError(
            tenant_id=tenant_id, seq=expected_seq, reason=f"the entry has seq {link.seq}"
        )
    if link.record_key != ledger_key(tenant_id, expected_seq):
        raise ChainBreakError(
            tenant_id=tenant_id, seq=expected_seq, reason=f"the record's key is {link.record_key!r}"
        )
    if link.prev_hash != end.leaf_hash:
        raise ChainBreakError(
            tenant_id=tenant_id,
            seq=expected_seq,
            reason=f"prev_hash is {link.prev_hash.hex()}, "
            f"the entry before it has leaf hash {end.leaf_hash.hex()}",
        )
    return ChainEnd(seq=expected_seq, leaf_hash=leaf_hash(link.value))

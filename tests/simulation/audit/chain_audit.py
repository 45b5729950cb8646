"""One tenant's ledger as the auditor hashes it: chain, tree, tip and checkpoints, each entry looked at once."""

import hashlib

from harbor.adapters.memory.partition_log import StoredRecord
from schemas.canonical import ed25519
from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint, open_checkpoint, origin_of, verifier_key_of
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import LedgerEntry
from schemas.messages.tips import SignedCheckpoint, Tip
from tests.simulation.audit.rules import Rule, ViolationError
from tests.support.harbor_world import DEPLOYMENT, LEDGER_SEED

_PUBLIC_KEY = ed25519.public_key(LEDGER_SEED)


class ChainAudit:
    """`roots[n]` = the root of the first n entries (RFC 6962)."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.roots: list[bytes] = [hashlib.sha256().digest()]
        self.checkpoints: dict[int, bytes] = {}
        self._keys: set[bytes] = set()
        self._last_leaf = bytes(32)
        # Perfect subtrees from left to right, as (height, hash).
        self._subtrees: list[tuple[int, bytes]] = []

    @property
    def size(self) -> int:
        return len(self.roots) - 1

    def add(self, record: StoredRecord) -> LedgerEntry:
        key, value = record.key or b"", record.value or b""
        if key in self._keys:
            raise ViolationError(Rule.LEDGER_KEY_ONCE, f"{key.decode()} at offset {record.offset}")
        self._keys.add(key)
        entry = decode_as(LedgerEntry, value)
        seq = self.size + 1
        if entry.tenant_id != self.tenant_id:
            raise ViolationError(
                Rule.TENANT, f"{entry.tenant_id}'s entry on the ledger of {self.tenant_id}"
            )
        if entry.seq != seq or key != f"{self.tenant_id}/{seq:016d}".encode():
            raise ViolationError(
                Rule.CHAIN, f"{self.tenant_id}: seq {entry.seq} under {key.decode()}, {seq} is next"
            )
        if entry.prev_hash != self._last_leaf:
            raise ViolationError(Rule.CHAIN, f"{self.tenant_id}/{seq}: prev_hash is another's")
        self._last_leaf = hashlib.sha256(b"\0" + value).digest()
        self._grow(self._last_leaf)
        return entry

    def check_tip(self, tip: Tip) -> None:
        told = (tip.size, tip.root, tip.last_leaf_hash, tip.frontier)
        frontier = tuple(node for _, node in self._subtrees)
        if told != (self.size, self.roots[-1], self._last_leaf, frontier):
            raise ViolationError(
                Rule.TIP, f"{self.tenant_id}: the tip says {tip.size}, the ledger has {self.size}"
            )

    def check_checkpoint(self, record: StoredRecord, signed: SignedCheckpoint) -> None:
        value = record.value or b""
        before = self.checkpoints.get(signed.size)
        if before is not None:
            if before != value:
                raise ViolationError(Rule.CHECKPOINT_SAME, f"{self.tenant_id}, size {signed.size}")
            return
        tenant_id = TenantId(self.tenant_id)
        key = verifier_key_of(deployment=DEPLOYMENT, tenant_id=tenant_id, public_key=_PUBLIC_KEY)
        origin = origin_of(DEPLOYMENT, tenant_id)
        opened = open_checkpoint(signed.note, origin=origin, trusted_keys=[key])
        if not isinstance(opened, Checkpoint) or opened.size != signed.size:
            raise ViolationError(Rule.CHECKPOINT_SIGNED, f"{self.tenant_id}: {opened}")
        if opened.size > self.size:
            raise ViolationError(
                Rule.CHECKPOINT_ROOT, f"{self.tenant_id}: {opened.size} of {self.size} committed"
            )
        if opened.root != self.roots[opened.size]:
            raise ViolationError(Rule.CHECKPOINT_ROOT, f"{self.tenant_id}, size {opened.size}")
        if record.key != f"{self.tenant_id}/{signed.size:016d}".encode():
            raise ViolationError(Rule.CHECKPOINT_ROOT, f"{record.key!r} for size {signed.size}")
        self.checkpoints[signed.size] = value

    def _grow(self, leaf: bytes) -> None:
        self._subtrees.append((0, leaf))
        while len(self._subtrees) > 1 and self._subtrees[-1][0] == self._subtrees[-2][0]:
            height, right = self._subtrees.pop()
            _, left = self._subtrees.pop()
            self._subtrees.append((height + 1, _node(left, right)))
        root = self._subtrees[-1][1]
        for _, left in reversed(self._subtrees[:-1]):
            root = _node(left, root)
        self.roots.append(root)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()

"""The RFC 6962 tree, kept as its frontier: an append costs O(log n), whatever the ledger's length.

The frontier is the list of roots of the complete subtrees that `size` falls into by its binary digits, left to
right, largest first. It is all that is needed to append and to know the root.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from schemas.errors import StateMismatchError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

_NODE_PREFIX = b"\x01"


def hash_children(left: bytes, right: bytes) -> bytes:
    """SHA-256(01 ‖ left ‖ right), RFC 6962 §2.1."""
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """`hashes[0]` covers the most leaves. One hash for each binary 1 of `size`."""

    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        assert self.size >= 0
        assert len(self.hashes) == self.size.bit_count()

    @classmethod
    def restored(cls, *, subject: str, size: int, hashes: Sequence[bytes]) -> Self:
        """A frontier that was stored. `subject` names whose it is in the StateMismatchError of a wrong one."""
        if size < 0 or len(hashes) != size.bit_count():
            raise StateMismatchError(
                subject=subject, reason=f"a frontier of size {size} can't have {len(hashes)} hashes"
            )
        if any(len(node) != HASH_BYTES for node in hashes):
            raise StateMismatchError(
                subject=subject, reason=f"a hash of the frontier is not {HASH_BYTES} bytes long"
            )
        return cls(size=size, hashes=tuple(hashes))

    @classmethod
    def unpacked(cls, *, subject: str, size: int, packed: bytes) -> Self:
        """The inverse of `packed`. Raises StateMismatchError."""
        hashes = [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)]
        return cls.restored(subject=subject, size=size, hashes=hashes)

    def packed(self) -> bytes:
        """The hashes, concatenated: one column beside `size`."""
        return b"".join(self.hashes)

    def append(self, leaf_hash: bytes) -> "Frontier":
        return self.extend((leaf_hash,))

    def extend(self, leaf_hashes: Iterable[bytes]) -> "Frontier":
        appender = Appender(self)
        for leaf_hash in leaf_hashes:
            appender.append(leaf_hash)
        return appender.frontier()

    def root(self) -> bytes:
        return join(self.hashes) if self.hashes else EMPTY_ROOT


EMPTY_FRONTIER = Frontier(size=0, hashes=())


class Appender:
    """A frontier that changes in place: for a loop over many entries."""

    __slots__ = ("_hashes", "_size")

    def __init__(self, frontier: Frontier) -> None:
        self._size = frontier.size
        self._hashes = list(frontier.hashes)

    @property
    def size(self) -> int:
        return self._size

    def append(self, leaf_hash: bytes) -> list[bytes]:
        """The hashes of the subtrees that this leaf completes: `[h]` covers 2**h leaves, `[0]` is the leaf.

        A complete subtree never changes again, so each may be stored for ever.
        """
        assert len(leaf_hash) == HASH_BYTES
        completed = [leaf_hash]
        # As in a binary counter: each trailing 1 of the size is a subtree that the new one merges with.
        carry = self._size
        while carry & 1:
            completed.append(hash_children(self._hashes.pop(), completed[-1]))
            carry >>= 1
        self._hashes.append(completed[-1])
        self._size += 1
        return completed

    def frontier(self) -> Frontier:
        return Frontier(size=self._size, hashes=tuple(self._hashes))


def join(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size, left to right; at least one."""
    assert hashes
    node = hashes[-1]
    for left in reversed(hashes[:-1]):
        node = hash_children(left, node)
    return node


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1 over leaf hashes, in one pass."""
    return EMPTY_FRONTIER.extend(leaf_hashes).root()

"""RFC 6962 §2.1 written down as the RFC writes it: recursion over a list, no frontier, no ranges."""

import hashlib
from collections.abc import Sequence


class ReferenceTree:
    """The tree over the first n leaves, for every n. Nodes are remembered, so that all sizes stay affordable."""

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        self.leaf_hashes = leaf_hashes
        self._nodes: dict[tuple[int, int], bytes] = {}

    def root(self, size: int) -> bytes:
        return self._hash(0, size) if size else hashlib.sha256(b"").digest()

    def inclusion(self, leaf_index: int, size: int) -> list[bytes]:
        return self._path(leaf_index, 0, size)

    def consistency(self, from_size: int, to_size: int) -> list[bytes]:
        return self._subproof(from_size, 0, to_size, is_complete=True) if from_size else []

    def _hash(self, first: int, end: int) -> bytes:
        """MTH(D[first:end])."""
        if end - first == 1:
            return self.leaf_hashes[first]
        if (first, end) not in self._nodes:
            k = _largest_power_of_two_below(end - first)
            left, right = self._hash(first, first + k), self._hash(first + k, end)
            self._nodes[first, end] = hashlib.sha256(b"\x01" + left + right).digest()
        return self._nodes[first, end]

    def _path(self, m: int, first: int, end: int) -> list[bytes]:
        """PATH(m, D[first:end])."""
        if end - first == 1:
            return []
        k = _largest_power_of_two_below(end - first)
        if m < k:
            return [*self._path(m, first, first + k), self._hash(first + k, end)]
        return [*self._path(m - k, first + k, end), self._hash(first, first + k)]

    def _subproof(self, m: int, first: int, end: int, *, is_complete: bool) -> list[bytes]:
        """SUBPROOF(m, D[first:end], b)."""
        if m == end - first:
            return [] if is_complete else [self._hash(first, end)]
        k = _largest_power_of_two_below(end - first)
        if m <= k:
            left = self._subproof(m, first, first + k, is_complete=is_complete)
            return [*left, self._hash(first + k, end)]
        right = self._subproof(m - k, first + k, end, is_complete=False)
        return [*right, self._hash(first, first + k)]


def leaves(count: int) -> list[bytes]:
    """Distinct leaf hashes: the tree's shape is what is tested, not what the records say."""
    return [hashlib.sha256(b"\x00" + index.to_bytes(8, "big")).digest() for index in range(count)]


def _largest_power_of_two_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k

"""Inclusion and consistency proofs of RFC 6962: which parts of the tree they consist of, and how to check them.

A proof is a list of ranges of leaves whose hashes are given; where the hashes come from (a list of leaves, or
tiles: `schemas.ledger.tiles`) is a separate matter, so both makers share the same arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.ledger.merkle_tree import EMPTY_ROOT, HASH_BYTES, hash_children, root_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRange:
    """Leaves `first` to `end` − 1; in a proof always a node of the tree, or its unfinished right edge."""

    first: int
    end: int


def inclusion_ranges(leaf_index: int, size: int) -> list[LeafRange]:
    """PATH of RFC 6962 §2.1.1: the siblings on the way from the leaf to the root, the leaf's own first."""
    assert 0 <= leaf_index < size
    ranges = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if leaf_index < middle:
            ranges.append(LeafRange(first=middle, end=end))
            end = middle
        else:
            ranges.append(LeafRange(first=first, end=middle))
            first = middle
    ranges.reverse()
    return ranges


def consistency_ranges(from_size: int, to_size: int) -> list[LeafRange]:
    """PROOF of RFC 6962 §2.1.2. From the empty tree, and between equal sizes, there is nothing to prove."""
    assert 0 <= from_size <= to_size
    if from_size == 0:
        return []
    ranges = []
    first, end = 0, to_size
    # While only left turns were taken, the old tree is itself a node whose hash the verifier has.
    is_old_root = True
    while from_size != end:
        middle = first + _split(end - first)
        if from_size <= middle:
            ranges.append(LeafRange(first=middle, end=end))
            end = middle
        else:
            ranges.append(LeafRange(first=first, end=middle))
            first = middle
            is_old_root = False
    if not is_old_root:
        ranges.append(LeafRange(first=first, end=end))
    ranges.reverse()
    return ranges


def inclusion_proof_of(leaf_hashes: Sequence[bytes], leaf_index: int) -> list[bytes]:
    """From the leaves themselves, O(n): the reference that every faster way is compared with."""
    return [
        root_of(leaf_hashes[part.first : part.end])
        for part in inclusion_ranges(leaf_index, len(leaf_hashes))
    ]


def consistency_proof_of(leaf_hashes: Sequence[bytes], from_size: int) -> list[bytes]:
    """From the leaves of the newer tree, O(n); see `inclusion_proof_of`."""
    return [
        root_of(leaf_hashes[part.first : part.end])
        for part in consistency_ranges(from_size, len(leaf_hashes))
    ]


def verify_inclusion(
    *, leaf_hash: bytes, leaf_index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether the tree with this root and size has this leaf at this index: RFC 9162 §2.1.3.2."""
    if not 0 <= leaf_index < size or not _are_hashes(leaf_hash, *proof):
        return False
    index, last = leaf_index, size - 1
    node = leaf_hash
    for sibling in proof:
        if last == 0:
            return False
        if index & 1 or index == last:
            node = hash_children(sibling, node)
            # On the right edge the levels without a sibling are left out of the proof.
            while index & 1 == 0 and index != 0:
                index, last = index >> 1, last >> 1
        else:
            node = hash_children(node, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(
    *, from_size: int, from_root: bytes, to_size: int, to_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the newer tree begins with all of the older one: RFC 9162 §2.1.4.2.

    Beyond the RFC: the empty tree is the beginning of every tree, with an empty proof and only with its own root.
    """
    if not 0 <= from_size <= to_size or not _are_hashes(from_root, to_root, *proof):
        return False
    if from_size in (0, to_size):
        is_start = from_root == (EMPTY_ROOT if from_size == 0 else to_root)
        is_end = to_size != 0 or to_root == EMPTY_ROOT
        return not proof and is_start and is_end
    if not proof:
        return False

    # A tree of a power of two is one node of the newer one: its hash is known and not in the proof.
    path = [from_root, *proof] if from_size & (from_size - 1) == 0 else list(proof)
    index, last = from_size - 1, to_size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            old, new = hash_children(sibling, old), hash_children(sibling, new)
            while index & 1 == 0 and index != 0:
                index, last = index >> 1, last >> 1
        else:
            new = hash_children(new, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and old == from_root and new == to_root


def _split(width: int) -> int:
    """The largest power of two smaller than `width`, which is at least 2."""
    return 1 << ((width - 1).bit_length() - 1)


def _are_hashes(*nodes: bytes) -> bool:
    return all(len(node) == HASH_BYTES for node in nodes)

"""Inclusion and consistency proofs against the RFC's own recursion, and nothing else verifies."""

import base64
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.ledger.merkle_proofs import (
    consistency_proof_of,
    inclusion_proof_of,
    verify_consistency,
    verify_inclusion,
)
from schemas.ledger.merkle_tree import EMPTY_ROOT, hash_children
from tests.unit.schemas.canonical.vectors import EDGE
from tests.unit.schemas.ledger.reference_tree import ReferenceTree, leaves

SIZE_MAX = 1_025
LEAVES = leaves(SIZE_MAX)
REFERENCE = ReferenceTree(LEAVES)
FOREIGN = b"\xee" * 32


def is_included(leaf_index: int, size: int, proof: Sequence[bytes], leaf: bytes) -> bool:
    return verify_inclusion(
        leaf_hash=leaf,
        leaf_index=leaf_index,
        size=size,
        proof=proof,
        root=REFERENCE.root(size),
    )


def is_consistent(from_size: int, to_size: int, proof: Sequence[bytes]) -> bool:
    return verify_consistency(
        from_size=from_size,
        from_root=REFERENCE.root(from_size),
        to_size=to_size,
        to_root=REFERENCE.root(to_size),
        proof=proof,
    )


def telling_sizes(size: int) -> set[int]:
    """Numbers up to `size` where the tree's shape changes: its ends, its split, the tiles' borders."""
    split = 1 << max(size - 1, 1).bit_length() - 1
    around = {0, 1, 2, size // 3, size // 2, size - 2, size - 1, size, split, size & (size - 1)}
    around |= {split - 1, split + 1, 255, 256, 257, 511, 512, 513}
    return {number for number in around if 0 <= number <= size}


def tampered(proof: Sequence[bytes]) -> list[list[bytes]]:
    """Each hash changed, each left out, one too many at each end, two exchanged."""
    hashes = list(proof)
    ways = [[*hashes, FOREIGN], [FOREIGN, *hashes]]
    for at, node in enumerate(hashes):
        ways.append([*hashes[:at], bytes([node[0] ^ 1]) + node[1:], *hashes[at + 1 :]])
        ways.append([*hashes[:at], *hashes[at + 1 :]])
        ways.append([*hashes[:at], node[:-1], *hashes[at + 1 :]])
    if len(hashes) > 1:
        ways.append([hashes[1], hashes[0], *hashes[2:]])
    return ways


def test_the_inclusion_vector_is_made_and_verifies() -> None:
    merkle = EDGE["merkle"]
    vector = merkle["inclusion"]
    hashes = [bytes.fromhex(leaf) for leaf in merkle["leaf_hashes_hex"]]

    proof = inclusion_proof_of(hashes, vector["leaf_index"])

    assert [base64.b64encode(node).decode() for node in proof] == vector["proof"]
    assert verify_inclusion(
        leaf_hash=hashes[vector["seq"] - 1],
        leaf_index=vector["leaf_index"],
        size=vector["tree_size"],
        proof=proof,
        root=bytes.fromhex(merkle["roots_hex"][vector["tree_size"]]),
    )


def test_the_consistency_vector_is_made_and_verifies() -> None:
    merkle = EDGE["merkle"]
    vector = merkle["consistency"]
    hashes = [bytes.fromhex(leaf) for leaf in merkle["leaf_hashes_hex"]]

    proof = consistency_proof_of(hashes[: vector["to_size"]], vector["from_size"])

    assert [base64.b64encode(node).decode() for node in proof] == vector["proof"]
    assert verify_consistency(
        from_size=vector["from_size"],
        from_root=bytes.fromhex(merkle["roots_hex"][vector["from_size"]]),
        to_size=vector["to_size"],
        to_root=bytes.fromhex(merkle["roots_hex"][vector["to_size"]]),
        proof=proof,
    )


def test_every_leaf_of_every_small_tree_is_proved() -> None:
    for size in range(1, 66):
        for leaf_index in range(size):
            proof = inclusion_proof_of(LEAVES[:size], leaf_index)

            assert proof == REFERENCE.inclusion(leaf_index, size)
            assert is_included(leaf_index, size, proof, LEAVES[leaf_index])


def test_every_pair_of_small_trees_is_proved() -> None:
    for to_size in range(66):
        for from_size in range(to_size + 1):
            proof = consistency_proof_of(LEAVES[:to_size], from_size)

            assert proof == REFERENCE.consistency(from_size, to_size)
            assert is_consistent(from_size, to_size, proof)


def test_reference_proofs_of_every_size_to_1025_verify() -> None:
    for size in range(1, SIZE_MAX + 1):
        for other in telling_sizes(size):
            assert is_consistent(other, size, REFERENCE.consistency(other, size))
            if other < size:
                assert is_included(other, size, REFERENCE.inclusion(other, size), LEAVES[other])


@given(size=st.integers(1, SIZE_MAX), data=st.data())
def test_an_inclusion_proof_proves_nothing_else(size: int, data: st.DataObject) -> None:
    leaf_index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(-1, size + 1).filter(lambda index: index != leaf_index))
    proof = REFERENCE.inclusion(leaf_index, size)

    assert not is_included(leaf_index, size, proof, FOREIGN)
    assert not is_included(other, size, proof, LEAVES[leaf_index])
    for forged in tampered(proof):
        assert not is_included(leaf_index, size, forged, LEAVES[leaf_index])


@given(to_size=st.integers(2, SIZE_MAX), data=st.data())
def test_a_consistency_proof_proves_nothing_else(to_size: int, data: st.DataObject) -> None:
    from_size = data.draw(st.integers(1, to_size - 1))
    proof = REFERENCE.consistency(from_size, to_size)

    for forged in tampered(proof):
        assert not is_consistent(from_size, to_size, forged)
    for from_root, to_root in (
        (FOREIGN, REFERENCE.root(to_size)),
        (REFERENCE.root(from_size), FOREIGN),
    ):
        assert not verify_consistency(
            from_size=from_size,
            from_root=from_root,
            to_size=to_size,
            to_root=to_root,
            proof=proof,
        )


@settings(max_examples=10, deadline=None)
@given(size=st.integers(SIZE_MAX, 6_000), data=st.data())
def test_larger_trees_are_proved_too(size: int, data: st.DataObject) -> None:
    many = leaves(size)
    reference = ReferenceTree(many)
    leaf_index = data.draw(st.integers(0, size - 1))
    from_size = data.draw(st.integers(0, size))

    inclusion = inclusion_proof_of(many, leaf_index)
    consistency = consistency_proof_of(many, from_size)

    assert inclusion == reference.inclusion(leaf_index, size)
    assert consistency == reference.consistency(from_size, size)
    assert verify_inclusion(
        leaf_hash=many[leaf_index],
        leaf_index=leaf_index,
        size=size,
        proof=inclusion,
        root=reference.root(size),
    )
    assert verify_consistency(
        from_size=from_size,
        from_root=reference.root(from_size),
        to_size=size,
        to_root=reference.root(size),
        proof=consistency,
    )


def test_a_node_is_not_taken_for_a_leaf_hash_of_another_length() -> None:
    assert not is_included(0, 1, [], LEAVES[0][:-1])


@pytest.mark.parametrize(
    ("from_size", "from_root", "to_size", "to_root", "proof"),
    [
        (2, REFERENCE.root(2), 1, REFERENCE.root(1), []),
        (-1, EMPTY_ROOT, 1, REFERENCE.root(1), []),
        (0, FOREIGN, 3, REFERENCE.root(3), []),
        (0, EMPTY_ROOT, 3, REFERENCE.root(3), [FOREIGN]),
        (0, EMPTY_ROOT, 0, FOREIGN, []),
        (0, FOREIGN, 0, FOREIGN, []),
        (3, REFERENCE.root(3), 3, REFERENCE.root(2), []),
        (3, REFERENCE.root(3), 3, REFERENCE.root(3), [FOREIGN]),
        (3, REFERENCE.root(3), 4, REFERENCE.root(4), []),
        (4, REFERENCE.root(4), 5, REFERENCE.root(5), []),
    ],
)
def test_consistency_that_cannot_be_is_refused(
    from_size: int, from_root: bytes, to_size: int, to_root: bytes, proof: list[bytes]
) -> None:
    assert not verify_consistency(
        from_size=from_size,
        from_root=from_root,
        to_size=to_size,
        to_root=to_root,
        proof=proof,
    )


def test_the_empty_tree_begins_every_tree() -> None:
    assert is_consistent(0, 0, [])
    assert is_consistent(0, 7, [])


def test_a_leaf_outside_the_tree_is_not_included() -> None:
    assert not is_included(0, 0, [], LEAVES[0])
    assert not is_included(1, 1, [], LEAVES[1])


@pytest.mark.parametrize(("size", "root_size"), [(4, 2), (2, 4), (1, 2), (3, 2)])
def test_a_proof_must_be_as_long_as_the_size_demands(size: int, root_size: int) -> None:
    # The root is that of another size, so that only the length of the way is wrong.
    root = REFERENCE.root(root_size)

    assert not verify_inclusion(
        leaf_hash=LEAVES[0],
        leaf_index=0,
        size=size,
        proof=REFERENCE.inclusion(0, root_size),
        root=root,
    )
    assert not verify_consistency(
        from_size=1,
        from_root=REFERENCE.root(1),
        to_size=size,
        to_root=root,
        proof=REFERENCE.consistency(1, root_size),
    )


def test_a_way_that_goes_on_above_the_root_is_refused() -> None:
    # Without this, a signed root could be explained by a taller tree than its size allows.
    inclusion = REFERENCE.inclusion(3, 7)
    consistency = REFERENCE.consistency(3, 7)

    assert not verify_inclusion(
        leaf_hash=LEAVES[3],
        leaf_index=3,
        size=7,
        proof=[*inclusion, FOREIGN],
        root=hash_children(FOREIGN, REFERENCE.root(7)),
    )
    assert not verify_consistency(
        from_size=3,
        from_root=hash_children(FOREIGN, REFERENCE.root(3)),
        to_size=7,
        to_root=hash_children(FOREIGN, REFERENCE.root(7)),
        proof=[*consistency, FOREIGN],
    )

"""The frontier gives the root that RFC 6962 gives, at every size."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import StateMismatchError
from schemas.ledger.merkle_tree import (
    EMPTY_FRONTIER,
    EMPTY_ROOT,
    Appender,
    Frontier,
    hash_children,
    root_of,
)
from tests.unit.schemas.canonical.vectors import EDGE
from tests.unit.schemas.ledger.reference_tree import ReferenceTree, leaves

LEAVES = leaves(1_025)
REFERENCE = ReferenceTree(LEAVES)


def test_roots_are_those_of_the_vectors() -> None:
    merkle = EDGE["merkle"]
    frontier = EMPTY_FRONTIER
    roots = [frontier.root().hex()]
    for leaf in merkle["leaf_hashes_hex"]:
        frontier = frontier.append(bytes.fromhex(leaf))
        roots.append(frontier.root().hex())

    assert roots == merkle["roots_hex"]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert EMPTY_FRONTIER.root() == EMPTY_ROOT == root_of([])


def test_the_root_of_every_size_to_1025_is_the_reference_root() -> None:
    frontier = EMPTY_FRONTIER
    for size, leaf in enumerate(LEAVES, start=1):
        frontier = frontier.append(leaf)

        assert frontier.size == size
        assert frontier.root() == REFERENCE.root(size)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1_026, 5_000), cut=st.integers(0, 1_025))
def test_appending_in_two_parts_equals_appending_at_once(size: int, cut: int) -> None:
    many = leaves(size)

    frontier = EMPTY_FRONTIER.extend(many[:cut]).extend(many[cut:])

    assert frontier == EMPTY_FRONTIER.extend(many)
    assert frontier.root() == ReferenceTree(many).root(size)


def test_an_appender_names_the_subtrees_that_a_leaf_completes() -> None:
    appender = Appender(EMPTY_FRONTIER)
    one, two, three, four = LEAVES[:4]
    pair, other_pair = hash_children(one, two), hash_children(three, four)

    completed = [appender.append(leaf) for leaf in LEAVES[:4]]

    assert completed == [
        [one],
        [two, pair],
        [three],
        [four, other_pair, hash_children(pair, other_pair)],
    ]
    assert appender.size == 4


@given(size=st.integers(0, 1_025))
def test_a_stored_frontier_comes_back_as_it_was(size: int) -> None:
    frontier = EMPTY_FRONTIER.extend(LEAVES[:size])

    assert Frontier.unpacked(subject="t", size=size, packed=frontier.packed()) == frontier
    assert Frontier.restored(subject="t", size=size, hashes=list(frontier.hashes)) == frontier


@pytest.mark.parametrize(
    ("size", "packed"),
    [
        (-1, bytes(32)),
        (0, bytes(32)),
        (1, b""),
        (2, bytes(64)),
        (3, bytes(32)),
        (1, bytes(31)),
        (1, bytes(33)),
        (3, bytes(63)),
    ],
)
def test_a_stored_frontier_that_cannot_be_is_refused(size: int, packed: bytes) -> None:
    with pytest.raises(StateMismatchError, match="tenant-vec"):
        Frontier.unpacked(subject="tenant-vec", size=size, packed=packed)

"""Proofs from tiles equal proofs from leaves, and read no more than they say."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import StateMismatchError
from schemas.ledger.merkle_proofs import LeafRange
from schemas.ledger.merkle_tree import EMPTY_FRONTIER, EMPTY_ROOT, Frontier
from schemas.ledger.tiles import (
    TILE_WIDTH,
    FetchedTiles,
    TileId,
    TilePlan,
    consistency_proof,
    inclusion_proof,
    root_from_tiles,
    tile_updates,
    tiles_completed,
    tiles_for_consistency,
    tiles_for_inclusion,
    tiles_for_root,
)
from tests.unit.schemas.ledger.reference_tree import ReferenceTree, leaves


class TileTable:
    """The view's two tables as the updates describe them: rows of tiles, and rows of leaf hashes."""

    def __init__(self) -> None:
        self.frontier: Frontier = EMPTY_FRONTIER
        self.rows: dict[TileId, bytes] = {}
        self.leaf_rows: list[bytes] = []

    def grow(self, new_leaves: list[bytes]) -> None:
        growth = tile_updates(self.frontier, new_leaves)
        self.leaf_rows += new_leaves
        for run in growth.runs:
            tile_id = TileId(level=run.level, tile=run.tile)
            before = self.rows.get(tile_id, b"")
            assert len(before) == 32 * run.offset
            self.rows[tile_id] = before + run.hashes
        for tile in growth.full_leaf_tiles:
            members = self.leaf_rows[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]
            assert len(members) == TILE_WIDTH
            self.rows[TileId(level=0, tile=tile)] = b"".join(members)
        self.frontier = growth.frontier

    def fetch(self, plan: TilePlan) -> FetchedTiles:
        """Exactly what the plan names, so that a proof that needs more fails."""
        part = plan.leaves
        return FetchedTiles(
            subject="tenant-vec",
            tiles={tile_id: self.rows[tile_id] for tile_id in plan.tiles},
            leaves=part,
            leaf_bytes=b"".join(self.leaf_rows[part.first : part.end]) if part else b"",
        )


def table_of(all_leaves: list[bytes], cuts: list[int]) -> TileTable:
    table = TileTable()
    for first, end in zip([0, *cuts], [*cuts, len(all_leaves)], strict=True):
        table.grow(all_leaves[first:end])
    return table


# Two full level-1 tiles, a level-2 tile that grows, and a ragged edge on every level.
LARGE = 2 * 65_536 + 3 * 256 + 77
LARGE_LEAVES = leaves(LARGE)
LARGE_REFERENCE = ReferenceTree(LARGE_LEAVES)
LARGE_TABLE = table_of(LARGE_LEAVES, [1, 255, 256, 257, 65_535, 65_536, 70_000, 131_073])


def test_tables_hold_every_complete_subtree_once() -> None:
    lengths = {tile_id: len(row) // 32 for tile_id, row in LARGE_TABLE.rows.items()}

    expected = {TileId(level=0, tile=tile): 256 for tile in range(515)}
    expected |= {TileId(level=1, tile=0): 256, TileId(level=1, tile=1): 256}
    expected |= {TileId(level=1, tile=2): 3, TileId(level=2, tile=0): 2}
    assert lengths == expected


def test_the_frontier_after_an_update_is_that_of_plain_appends() -> None:
    assert LARGE_TABLE.frontier == EMPTY_FRONTIER.extend(LARGE_LEAVES)


@given(cuts=st.lists(st.integers(0, 1_500), max_size=8).map(sorted))
def test_tables_do_not_depend_on_how_entries_came_in_batches(cuts: list[int]) -> None:
    table = table_of(LARGE_LEAVES[:1_500], cuts)

    assert table.rows == table_of(LARGE_LEAVES[:1_500], []).rows


def test_tiles_give_the_root_and_the_proofs_of_every_size_to_1025() -> None:
    random_indexes = random.Random(6962)
    table = table_of(LARGE_LEAVES[:1_025], [])
    assert root_from_tiles(0, table.fetch(tiles_for_root(0))) == EMPTY_ROOT
    for size in range(1, 1_026):
        root = root_from_tiles(size, table.fetch(tiles_for_root(size)))
        leaf_index = random_indexes.randrange(size)
        from_size = random_indexes.randrange(size + 1)
        included = inclusion_proof(
            leaf_index, size, table.fetch(tiles_for_inclusion(leaf_index, size))
        )
        consistent = consistency_proof(
            from_size, size, table.fetch(tiles_for_consistency(from_size, size))
        )

        assert root == LARGE_REFERENCE.root(size)
        assert included == LARGE_REFERENCE.inclusion(leaf_index, size)
        assert consistent == LARGE_REFERENCE.consistency(from_size, size)


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, LARGE) | st.sampled_from([65_535, 65_536, 65_537, LARGE]), data=st.data()
)
def test_tiles_of_a_grown_tree_prove_every_earlier_size(size: int, data: st.DataObject) -> None:
    leaf_index = data.draw(st.integers(0, size - 1))
    from_size = data.draw(st.integers(0, size))

    plan = tiles_for_inclusion(leaf_index, size)
    other_plan = tiles_for_consistency(from_size, size)

    assert inclusion_proof(leaf_index, size, LARGE_TABLE.fetch(plan)) == LARGE_REFERENCE.inclusion(
        leaf_index, size
    )
    assert consistency_proof(
        from_size, size, LARGE_TABLE.fetch(other_plan)
    ) == LARGE_REFERENCE.consistency(from_size, size)
    assert root_from_tiles(size, LARGE_TABLE.fetch(tiles_for_root(size))) == LARGE_REFERENCE.root(
        size
    )


def reads(plan: TilePlan) -> int:
    return len(plan.tiles) + (plan.leaves is not None)


@given(size=st.integers(1, 1_000_000), data=st.data())
def test_a_proof_in_a_million_entries_reads_at_most_five_tiles(
    size: int, data: st.DataObject
) -> None:
    leaf_index = data.draw(st.integers(0, size - 1))
    from_size = data.draw(st.integers(0, size))

    assert reads(tiles_for_inclusion(leaf_index, size)) <= 5
    assert reads(tiles_for_consistency(from_size, size)) <= 5


def test_the_worst_inclusion_proof_reads_five_tiles() -> None:
    plan = tiles_for_inclusion(0, 1_000_000)

    assert plan == TilePlan(
        tiles=(
            TileId(level=0, tile=0),
            TileId(level=1, tile=0),
            TileId(level=1, tile=15),
            TileId(level=2, tile=0),
        ),
        leaves=LeafRange(first=999_936, end=1_000_000),
    )


def test_a_leaf_tile_is_read_as_a_tile_once_it_is_full() -> None:
    assert tiles_for_inclusion(0, 255).tiles == ()
    assert tiles_for_inclusion(0, 256).tiles == (TileId(level=0, tile=0),)
    assert tiles_for_inclusion(0, 256).leaves is None


@given(sizes=st.lists(st.integers(0, 200_000), min_size=2, max_size=2).map(sorted))
def test_a_tile_is_completed_exactly_when_its_last_leaf_comes(sizes: list[int]) -> None:
    before, after = sizes

    completed = tiles_completed(before, after)

    level_0 = [TileId(level=0, tile=tile) for tile in range(before // 256, after // 256)]
    level_1 = [TileId(level=1, tile=tile) for tile in range(before // 65_536, after // 65_536)]
    assert completed == level_0 + level_1


def test_the_first_tile_of_level_2_takes_16_million_entries() -> None:
    assert tiles_completed(256**3 - 1, 256**3) == [
        TileId(level=0, tile=65_535),
        TileId(level=1, tile=255),
        TileId(level=2, tile=0),
    ]


def test_a_missing_tile_is_a_mismatch() -> None:
    fetched = FetchedTiles(subject="tenant-vec", tiles={})

    with pytest.raises(StateMismatchError, match=r"tenant-vec.*tile 0 of level 0 is missing"):
        inclusion_proof(0, 256, fetched)


def test_a_tile_that_is_too_short_is_a_mismatch() -> None:
    short = b"".join(LARGE_LEAVES[:255])
    fetched = FetchedTiles(subject="tenant-vec", tiles={TileId(level=0, tile=0): short})

    with pytest.raises(StateMismatchError, match="ends before hash 255"):
        inclusion_proof(0, 256, fetched)


@pytest.mark.parametrize(
    ("leaf_range", "rows", "reason"),
    [
        (None, 0, "were not read"),
        (LeafRange(first=1, end=3), 2, "were not read"),
        (LeafRange(first=0, end=5), 4, "are not all there"),
    ],
)
def test_missing_leaf_rows_are_a_mismatch(
    leaf_range: LeafRange | None, rows: int, reason: str
) -> None:
    fetched = FetchedTiles(
        subject="tenant-vec",
        tiles={},
        leaves=leaf_range,
        leaf_bytes=b"".join(LARGE_LEAVES[:rows]),
    )

    with pytest.raises(StateMismatchError, match=reason):
        inclusion_proof(0, 5, fetched)


def test_leaves_of_another_place_give_another_proof() -> None:
    plan = tiles_for_inclusion(0, 5)
    fetched = replace(
        LARGE_TABLE.fetch(plan), leaf_bytes=b"".join(LARGE_LEAVES[plan_start(plan) + 1 :][:4])
    )

    assert inclusion_proof(0, 5, fetched) != LARGE_REFERENCE.inclusion(0, 5)


def plan_start(plan: TilePlan) -> int:
    assert plan.leaves is not None
    return plan.leaves.first

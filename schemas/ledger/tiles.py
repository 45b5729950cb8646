"""The tree cut into tiles of 256 hashes (C2SP tlog-tiles), so that a proof is a few reads, not a walk over rows.

Tile `(level, tile)` holds the hashes of the complete subtrees of 256**level leaves with the numbers 256·tile to
256·tile + 255. A hash never changes once its subtree is complete; a tile only gets longer. What is stored:

- level 0: a tile when all its 256 leaves exist. Until then its leaves are read from the rows of the entries, so
  that an append does not rewrite a growing row.
- level ≥ 1: a row from its first hash on, which gets one hash longer each time a tile of the level below becomes
  full: once in 256 entries. So the right edge needs no rebuilding from leaves.

A tree of 1,000,000 entries has three levels; a proof reads one tile of each on the leaf's way and one of each but
the highest on the right edge: at most 5, the partial leaves included.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.errors import StateMismatchError
from schemas.ledger.merkle_proofs import LeafRange, consistency_ranges, inclusion_ranges
from schemas.ledger.merkle_tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    Appender,
    Frontier,
    hash_children,
    join,
)

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TileId:
    level: int
    tile: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRun:
    """Hashes to append to a row of level ≥ 1, which holds `offset` hashes before.

    Idempotent as `… ON CONFLICT DO UPDATE SET hashes = old || new WHERE length(old) = 32 * offset`.
    """

    level: int
    tile: int
    offset: int
    hashes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrowth:
    """What new leaves change. `full_leaf_tiles`: level-0 tiles to be written once, from the rows of their leaves."""

    frontier: Frontier
    runs: tuple[TileRun, ...]
    full_leaf_tiles: range


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePlan:
    """What to read for a proof, all in one go: rows of `tiles`, and rows of leaves of the one partial leaf tile.

    A row of level ≥ 1 may be longer than the proof's size needs; the rest is ignored.
    """

    tiles: tuple[TileId, ...]
    leaves: LeafRange | None


class TileReader(Protocol):
    """Stored hashes, concatenated. Both may raise IntegrityError."""

    def tile_hashes(self, level: int, tile: int) -> bytes:
        """The row of a tile: full at level 0, at least as long as the asked size implies above."""
        ...

    def leaf_hashes(self, leaves: LeafRange) -> bytes:
        """Leaf hashes of the partial level-0 tile."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedTiles:
    """A TileReader over what a TilePlan's reads brought back. `subject` says whose it is in errors."""

    subject: str
    tiles: Mapping[TileId, bytes]
    leaves: LeafRange | None = None
    leaf_bytes: bytes = b""

    def tile_hashes(self, level: int, tile: int) -> bytes:
        """Raises StateMismatchError if the row is missing."""
        hashes = self.tiles.get(TileId(level=level, tile=tile))
        if hashes is None:
            raise StateMismatchError(
                subject=self.subject, reason=f"tile {tile} of level {level} is missing"
            )
        return hashes

    def leaf_hashes(self, leaves: LeafRange) -> bytes:
        """Raises StateMismatchError if a row is missing."""
        have = self.leaves
        if have is None or not have.first <= leaves.first <= leaves.end <= have.end:
            raise StateMismatchError(
                subject=self.subject,
                reason=f"leaves {leaves.first} to {leaves.end - 1} were not read",
            )
        if len(self.leaf_bytes) != (have.end - have.first) * HASH_BYTES:
            raise StateMismatchError(
                subject=self.subject,
                reason=f"leaves {have.first} to {have.end - 1} are not all there",
            )
        start = (leaves.first - have.first) * HASH_BYTES
        return self.leaf_bytes[start : start + (leaves.end - leaves.first) * HASH_BYTES]


def tile_updates(frontier: Frontier, leaf_hashes: Iterable[bytes]) -> TileGrowth:
    """What is to be stored when `leaf_hashes` come after `frontier`; needs no tile that was stored before."""
    appender = Appender(frontier)
    runs: list[TileRun] = []
    open_runs: dict[TileId, tuple[int, list[bytes]]] = {}
    for leaf_hash in leaf_hashes:
        leaf_index = appender.size
        # Every eighth height is the bottom of a tile; a leaf that completes none costs nothing here.
        for above, node in enumerate(appender.append(leaf_hash)[TILE_HEIGHT::TILE_HEIGHT]):
            level = above + 1
            tile, offset = divmod(leaf_index >> (TILE_HEIGHT * level), TILE_WIDTH)
            open_runs.setdefault(TileId(level=level, tile=tile), (offset, []))[1].append(node)
    for tile_id, (offset, hashes) in sorted(open_runs.items()):
        runs.append(
            TileRun(level=tile_id.level, tile=tile_id.tile, offset=offset, hashes=b"".join(hashes))
        )
    return TileGrowth(
        frontier=appender.frontier(),
        runs=tuple(runs),
        full_leaf_tiles=range(frontier.size // TILE_WIDTH, appender.size // TILE_WIDTH),
    )


def tiles_completed(before_size: int, after_size: int) -> list[TileId]:
    """The tiles that get their 256th hash when the tree grows, in order of level and number."""
    assert 0 <= before_size <= after_size
    completed = []
    level = 0
    leaves_per_tile = TILE_WIDTH
    while leaves_per_tile <= after_size:
        completed += [
            TileId(level=level, tile=tile)
            for tile in range(before_size // leaves_per_tile, after_size // leaves_per_tile)
        ]
        level += 1
        leaves_per_tile *= TILE_WIDTH
    return completed


def tiles_for_inclusion(leaf_index: int, size: int) -> TilePlan:
    """What `inclusion_proof` will read."""
    return _plan(inclusion_ranges(leaf_index, size), size)


def tiles_for_consistency(from_size: int, to_size: int) -> TilePlan:
    """What `consistency_proof` will read."""
    return _plan(consistency_ranges(from_size, to_size), to_size)


def tiles_for_root(size: int) -> TilePlan:
    """What `root_from_tiles` will read."""
    return _plan([LeafRange(first=0, end=size)], size)


def inclusion_proof(leaf_index: int, size: int, reader: TileReader) -> list[bytes]:
    """RFC 6962 §2.1.1, the leaf's sibling first. Raises IntegrityError if stored hashes are missing."""
    return [_range_hash(part, size, reader) for part in inclusion_ranges(leaf_index, size)]


def consistency_proof(from_size: int, to_size: int, reader: TileReader) -> list[bytes]:
    """RFC 6962 §2.1.2. Raises IntegrityError if stored hashes are missing."""
    return [_range_hash(part, to_size, reader) for part in consistency_ranges(from_size, to_size)]


def root_from_tiles(size: int, reader: TileReader) -> bytes:
    """The root that the stored hashes have at `size`: for a check against a signed checkpoint."""
    return _range_hash(LeafRange(first=0, end=size), size, reader) if size else EMPTY_ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """One complete subtree as the hashes of one tile it consists of: a power of two of them."""

    tile_id: TileId
    offset: int
    width: int

    def is_partial_leaves(self, size: int) -> bool:
        return self.tile_id.level == 0 and (self.tile_id.tile + 1) * TILE_WIDTH > size

    def leaves(self) -> LeafRange:
        first = self.tile_id.tile * TILE_WIDTH + self.offset
        return LeafRange(first=first, end=first + self.width)


def _slices(part: LeafRange) -> list[_Slice]:
    """The complete subtrees of a range, left to right: one for each binary 1 of its width."""
    slices = []
    first = part.first
    while first < part.end:
        height = (part.end - first).bit_length() - 1
        assert first % (1 << height) == 0
        level, height_in_tile = divmod(height, TILE_HEIGHT)
        tile, offset = divmod(first >> (TILE_HEIGHT * level), TILE_WIDTH)
        slices.append(
            _Slice(tile_id=TileId(level=level, tile=tile), offset=offset, width=1 << height_in_tile)
        )
        first += 1 << height
    return slices


def _plan(parts: Sequence[LeafRange], size: int) -> TilePlan:
    slices = [piece for part in parts for piece in _slices(part)]
    leaves = [piece.leaves() for piece in slices if piece.is_partial_leaves(size)]
    return TilePlan(
        tiles=tuple(
            sorted({piece.tile_id for piece in slices if not piece.is_partial_leaves(size)})
        ),
        leaves=LeafRange(
            first=min(part.first for part in leaves), end=max(part.end for part in leaves)
        )
        if leaves
        else None,
    )


def _range_hash(part: LeafRange, size: int, reader: TileReader) -> bytes:
    return join([_subtree_hash(piece, size, reader) for piece in _slices(part)])


def _subtree_hash(piece: _Slice, size: int, reader: TileReader) -> bytes:
    if piece.is_partial_leaves(size):
        hashes = reader.leaf_hashes(piece.leaves())
    else:
        start = piece.offset * HASH_BYTES
        stored = reader.tile_hashes(piece.tile_id.level, piece.tile_id.tile)
        hashes = stored[start : start + piece.width * HASH_BYTES]
    if len(hashes) != piece.width * HASH_BYTES:
        raise StateMismatchError(
            subject=f"tile {piece.tile_id.tile} of level {piece.tile_id.level}",
            reason=f"it ends before hash {piece.offset + piece.width - 1}",
        )
    nodes = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    while len(nodes) > 1:
        nodes = [hash_children(*nodes[at : at + 2]) for at in range(0, len(nodes), 2)]
    return nodes[0]

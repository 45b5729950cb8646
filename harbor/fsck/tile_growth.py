"""Stored tiles against the leaves: each tile is made again as the tree grows, and compared when it is full or last."""

from collections.abc import Mapping

from harbor.fsck.findings import Finding, FindingKind
from schemas.ledger.merkle_tree import root_of
from schemas.ledger.tiles import TILE_WIDTH

TILES = "views.ledger_tiles"


class TileGrowthCheck:
    """`stored` = hashes by (level, tile) at `size` leaves; `append` those leaves, then `finish`."""

    def __init__(self, stored: Mapping[tuple[int, int], bytes], *, size: int) -> None:
        self._left = dict(stored)
        self._size = size
        self._leaves = 0
        # Per level the hashes of its last, growing tile, and how many tiles are full before it.
        self._growing: list[list[bytes]] = [[]]
        self._full: list[int] = [0]
        self._findings: list[Finding] = []

    def append(self, leaf_hash: bytes) -> None:
        self._leaves += 1
        level, node = 0, leaf_hash
        while True:
            if level == len(self._growing):
                self._growing.append([])
                self._full.append(0)
            self._growing[level].append(node)
            if len(self._growing[level]) < TILE_WIDTH:
                return
            hashes, self._growing[level] = self._growing[level], []
            self._compare(level, self._full[level], b"".join(hashes))
            self._full[level] += 1
            # The root over nodes of one height is the node above them all.
            level, node = level + 1, root_of(hashes)

    def finish(self) -> list[Finding]:
        """Level 0 has rows of full tiles only; what lies above begins with its first hash."""
        for level in range(1, len(self._growing)):
            if self._growing[level]:
                self._compare(level, self._full[level], b"".join(self._growing[level]))
        for level, tile in sorted(self._left):
            self._tell(FindingKind.NOT_IMPLIED, level, tile, "no leaves imply it")
        return self._findings

    def _compare(self, level: int, tile: int, hashes: bytes) -> None:
        stored = self._left.pop((level, tile), None)
        if stored is None:
            self._tell(FindingKind.ABSENT, level, tile, "it is not there")
        elif stored != hashes:
            self._tell(FindingKind.NOT_IMPLIED, level, tile, "its hashes are not the entries'")

    def _tell(self, kind: FindingKind, level: int, tile: int, detail: str) -> None:
        first_leaf = tile * TILE_WIDTH ** (level + 1)
        self._findings.append(
            Finding(
                seq=first_leaf + 1,
                kind=kind,
                where=TILES,
                detail=f"tile {tile} of level {level}: {detail}",
            )
        )

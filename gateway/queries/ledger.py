"""The ledger from the read tables: tip, entries, chain check and proofs, each checked again before it is served.

The tables are rebuilt from Kafka by another program; a proof that does not verify here is never handed out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.adapters.postgres_reads import Query, Row, TenantReads
from gateway.edge.refused import RefusedError
from gateway.queries.authority import LedgerAuthority
from schemas.errors import ChainBreakError, CheckpointMismatchError
from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint
from schemas.ledger.entry_chain import CHAIN_START, ChainEnd, Link, check_link, leaf_hash
from schemas.ledger.merkle_proofs import verify_consistency, verify_inclusion
from schemas.ledger.merkle_tree import EMPTY_ROOT, HASH_BYTES, Appender, Frontier
from schemas.ledger.signed_note import NoteRefusal
from schemas.ledger.tiles import (
    FetchedTiles,
    TileId,
    TilePlan,
    consistency_proof,
    inclusion_proof,
    root_from_tiles,
    tiles_for_consistency,
    tiles_for_inclusion,
    tiles_for_root,
)
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import LedgerEntry
from schemas.topics import ledger_key
from streams.runtime.postgres import sql_blocks

_SQL = sql_blocks("gateway.queries", "ledger.sql")
# One request's continuity check: 10,000 entries are about 10 MB and a second of hashing and decoding.
VERIFIED_MAX = 10_000
_VERIFIED_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """`seq` 0: nothing is there yet."""

    seq: int
    entry_hash: bytes
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    seq: int
    size: int
    root: bytes
    leaf_hash: bytes
    proof: Sequence[bytes]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    from_size: int
    to_size: int
    proof: Sequence[bytes]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuity:
    """`to_seq` is how far the check came; `first_bad_seq` None = all of it holds."""

    from_seq: int
    to_seq: int
    checked: int
    first_bad_seq: int | None = None
    reason: str | None = None


class LedgerReads:
    """All methods raise DatabaseUnavailableError, and IntegrityError if the tables contradict themselves."""

    def __init__(self, reads: TenantReads, authority: LedgerAuthority) -> None:
        self._reads = reads
        self._authority = authority

    async def tip(self, tenant_id: TenantId) -> Tip:
        """The newest entry, with the root over all entries up to it."""
        last = await self._reads.fetch_one(tenant_id, _SQL["last_entry"])
        if last is None:
            return Tip(seq=0, entry_hash=CHAIN_START.leaf_hash, root=EMPTY_ROOT)
        size = int(last["seq"])
        plan = tiles_for_root(size)
        tiles, leaves = await self._reads.fetch_all(tenant_id, _plan_queries(plan))
        root = root_from_tiles(size, _fetched(tenant_id, plan, tiles, leaves))
        return Tip(seq=size, entry_hash=_checked_leaf(tenant_id, last), root=root)

    async def entries(self, tenant_id: TenantId, *, after_seq: int, limit: int) -> list[Row]:
        rows = await self._reads.fetch(tenant_id, _SQL["entries"], after_seq=after_seq, limit=limit)
        for row in rows:
            _checked_leaf(tenant_id, row)
        return rows

    async def newest_checkpoint(self, tenant_id: TenantId) -> tuple[Checkpoint, str] | None:
        """The largest published checkpoint and its note, verified with the configured keys."""
        row = await self._reads.fetch_one(tenant_id, _SQL["newest_checkpoint"])
        return None if row is None else (self._opened(tenant_id, row), row["note"])

    async def inclusion(self, tenant_id: TenantId, *, seq: int, size: int | None) -> InclusionProof:
        """Raises RefusedError (`entry_not_found`, `checkpoint_not_found`). One round trip when `size` is given."""
        tree_size = size if size is not None else await self._newest_size(tenant_id)
        # A leaf outside the tree has no plan; what is missing is told from the rows alone.
        plan = tiles_for_inclusion(seq - 1, tree_size) if seq <= tree_size else _EMPTY_PLAN
        entries, checkpoints, tiles, leaves = await self._reads.fetch_all(
            tenant_id,
            [
                Query(text=_SQL["entry"], values={"seq": seq}),
                Query(text=_SQL["checkpoint"], values={"size": tree_size}),
                *_plan_queries(plan),
            ],
        )
        if size is not None and not checkpoints:
            raise RefusedError("checkpoint_not_found", details={"size": size})
        if not entries:
            raise RefusedError("entry_not_found", details={"seq": seq})
        if seq > tree_size:
            code = "checkpoint_not_found" if size is None else "entry_not_found"
            raise RefusedError(code, details={"seq": seq, "size": tree_size})
        leaf = _checked_leaf(tenant_id, entries[0])
        checkpoint = self._opened(tenant_id, checkpoints[0])
        proof = inclusion_proof(seq - 1, tree_size, _fetched(tenant_id, plan, tiles, leaves))
        if not verify_inclusion(
            leaf_hash=leaf, leaf_index=seq - 1, size=tree_size, proof=proof, root=checkpoint.root
        ):
            raise CheckpointMismatchError(
                tenant_id=tenant_id, size=tree_size, reason=f"entry {seq} is not under its root"
            )
        return InclusionProof(
            seq=seq,
            size=tree_size,
            root=checkpoint.root,
            leaf_hash=leaf,
            proof=proof,
            note=checkpoints[0]["note"],
        )

    async def consistency(
        self, tenant_id: TenantId, *, from_size: int, to_size: int | None
    ) -> ConsistencyProof:
        """`from_size` 0 is the empty tree. Raises RefusedError (`checkpoint_not_found`)."""
        end = to_size if to_size is not None else await self._newest_size(tenant_id)
        if from_size > end:
            raise RefusedError("checkpoint_not_found", details={"from": from_size, "to": end})
        plan = tiles_for_consistency(from_size, end)
        older, newer, tiles, leaves = await self._reads.fetch_all(
            tenant_id,
            [
                Query(text=_SQL["checkpoint"], values={"size": from_size}),
                Query(text=_SQL["checkpoint"], values={"size": end}),
                *_plan_queries(plan),
            ],
        )
        if not newer or (from_size > 0 and not older):
            missing = from_size if newer else end
            raise RefusedError("checkpoint_not_found", details={"size": missing})
        from_root = self._opened(tenant_id, older[0]).root if older else EMPTY_ROOT
        checkpoint = self._opened(tenant_id, newer[0])
        proof = consistency_proof(from_size, end, _fetched(tenant_id, plan, tiles, leaves))
        if not verify_consistency(
            from_size=from_size,
            from_root=from_root,
            to_size=end,
            to_root=checkpoint.root,
            proof=proof,
        ):
            raise CheckpointMismatchError(
                tenant_id=tenant_id, size=end, reason=f"it does not continue size {from_size}"
            )
        return ConsistencyProof(
            from_size=from_size, to_size=end, proof=proof, note=newer[0]["note"]
        )

    async def continuity(
        self, tenant_id: TenantId, *, from_seq: int, to_seq: int | None
    ) -> Continuity:
        """Re-reads a run of entries: tenant, seq, prev_hash of each; from entry 1 on also every checkpoint's root."""
        last = await self._reads.fetch_one(tenant_id, _SQL["last_entry"])
        newest = 0 if last is None else int(last["seq"])
        end = min(newest if to_seq is None else to_seq, from_seq + VERIFIED_MAX - 1)
        if to_seq is not None and to_seq > newest:
            raise RefusedError("entry_not_found", details={"seq": to_seq})
        run = _Run(tenant_id, from_seq=from_seq)
        if from_seq > 1 and from_seq <= end:
            run.start_after(await self._reads.fetch_one(tenant_id, _SQL["entry"], seq=from_seq - 1))
        rows = await self._reads.fetch(
            tenant_id, _SQL["checkpoints_between"], from_seq=from_seq, to_seq=end
        )
        notes = {int(row["size"]): row for row in rows} if from_seq == 1 else {}
        first = from_seq
        while first <= end and run.holds():
            page_end = min(first + _VERIFIED_PAGE - 1, end)
            page = await self._reads.fetch(
                tenant_id, _SQL["values"], from_seq=first, to_seq=page_end
            )
            for seq in range(first, page_end + 1):
                row = page[seq - first] if seq - first < len(page) else None
                self._check(run, seq, row, notes.get(seq))
                if not run.holds():
                    break
            first = page_end + 1
        return run.result(end)

    def _check(self, run: "_Run", seq: int, row: Row | None, checkpoint: Row | None) -> None:
        run.append(seq, row)
        if checkpoint is None or not run.holds():
            return
        try:
            root = self._opened(run.tenant_id, checkpoint).root
        except CheckpointMismatchError as error:
            run.break_at(seq, error.reason)
            return
        if root != run.root():
            run.break_at(seq, "the checkpoint of this size has another root")

    async def _newest_size(self, tenant_id: TenantId) -> int:
        row = await self._reads.fetch_one(tenant_id, _SQL["newest_checkpoint"])
        if row is None:
            raise RefusedError("checkpoint_not_found")
        return int(row["size"])

    def _opened(self, tenant_id: TenantId, row: Row) -> Checkpoint:
        """Believed only if a configured key signed it, under this tenant's origin, for this size."""
        checkpoint = self._authority.open(tenant_id, row["note"])
        if isinstance(checkpoint, NoteRefusal):
            raise CheckpointMismatchError(
                tenant_id=tenant_id, size=int(row["size"]), reason=checkpoint.detail
            )
        if checkpoint.size != row["size"] or checkpoint.root != bytes(row["root"]):
            raise CheckpointMismatchError(
                tenant_id=tenant_id, size=int(row["size"]), reason="the row is not its note's"
            )
        return checkpoint


class _Run:
    """The chain as far as it was followed."""

    def __init__(self, tenant_id: TenantId, *, from_seq: int) -> None:
        self.tenant_id = tenant_id
        self._from_seq = from_seq
        self._end = CHAIN_START
        self._tree = Appender(Frontier(size=0, hashes=()))
        self._checked = 0
        self._break: tuple[int, str] | None = None

    def holds(self) -> bool:
        return self._break is None

    def start_after(self, row: Row | None) -> None:
        if row is None:
            self.break_at(self._from_seq - 1, "the entry is missing")
            return
        self._end = ChainEnd(seq=int(row["seq"]), leaf_hash=leaf_hash(bytes(row["value"])))

    def append(self, seq: int, row: Row | None) -> None:
        if row is None or row["seq"] != seq:
            self.break_at(seq, "the entry is missing")
            return
        value = bytes(row["value"])
        entry = decode_as(LedgerEntry, value)
        tenant_id = TenantId(entry.tenant_id)
        link = Link(
            tenant_id=tenant_id,
            seq=entry.seq,
            prev_hash=entry.prev_hash,
            record_key=ledger_key(tenant_id, entry.seq),
            value=value,
        )
        try:
            self._end = check_link(self._end, link, tenant_id=self.tenant_id)
        except ChainBreakError as error:
            self.break_at(seq, error.reason)
            return
        self._tree.append(self._end.leaf_hash)
        self._checked += 1

    def root(self) -> bytes:
        return self._tree.frontier().root()

    def break_at(self, seq: int, reason: str) -> None:
        self._break = (seq, reason)

    def result(self, to_seq: int) -> Continuity:
        first_bad_seq, reason = self._break or (None, None)
        return Continuity(
            from_seq=self._from_seq,
            to_seq=to_seq,
            checked=self._checked,
            first_bad_seq=first_bad_seq,
            reason=reason,
        )


_EMPTY_PLAN = TilePlan(tiles=(), leaves=None)


def _plan_queries(plan: TilePlan) -> list[Query]:
    leaves = plan.leaves
    return [
        Query(
            text=_SQL["tiles"],
            values={
                "levels": [tile.level for tile in plan.tiles],
                "tiles": [tile.tile for tile in plan.tiles],
            },
        ),
        Query(
            text=_SQL["leaves"],
            values={"first": leaves.first if leaves else 0, "end": leaves.end if leaves else 0},
        ),
    ]


def _fetched(
    tenant_id: TenantId, plan: TilePlan, tiles: Sequence[Row], leaves: Sequence[Row]
) -> FetchedTiles:
    return FetchedTiles(
        subject=f"the ledger of {tenant_id}",
        tiles={TileId(level=row["level"], tile=row["tile"]): bytes(row["hashes"]) for row in tiles},
        leaves=plan.leaves,
        leaf_bytes=b"".join(bytes(row["leaf_hash"]) for row in leaves),
    )


def _checked_leaf(tenant_id: TenantId, row: Row) -> bytes:
    """The leaf hash of the entry's bytes, which is also what the column has to say."""
    computed = leaf_hash(bytes(row["value"]))
    if computed != bytes(row["leaf_hash"]):
        raise ChainBreakError(
            tenant_id=tenant_id, seq=int(row["seq"]), reason="the stored leaf hash is another one"
        )
    assert len(computed) == HASH_BYTES
    return computed

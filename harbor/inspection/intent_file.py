"""All that Kafka knows of one intent: its entries with their proofs, its state, effects and outcomes. Reads only.

    1. the tenant's newest signed checkpoint, which a configured key must have signed
    2. its ledger from the first record, chain checked: the intent's entries are kept, of the others the leaf hash
    3. state, effects and outcomes

The checkpoint comes first, so that the ledger read after it is at least as long.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from harbor.engine.ports import LogReader
from harbor.fsck.compare import SignedSize
from harbor.fsck.findings import Finding
from harbor.fsck.reread import Rereading
from harbor.fsck.shared_topics import LedgerKeys, open_note
from harbor.inspection.issued_effects import IssuedEffect, read_effects
from harbor.inspection.states import read_states
from schemas.errors import IntegrityError
from schemas.ids import IntentId, TenantId
from schemas.intent_fold import IntentState, TenantState
from schemas.ledger.merkle_tree import EMPTY_FRONTIER, root_of
from schemas.ledger.tiles import (
    TILE_WIDTH,
    FetchedTiles,
    TileId,
    inclusion_proof,
    tile_updates,
    tiles_for_inclusion,
)
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import LedgerEntry
from schemas.messages.outcomes import Outcome
from schemas.messages.tips import SignedCheckpoint
from schemas.partitioner import partition_of
from schemas.topics import CHECKPOINTS, OUTCOMES, checkpoint_key, ledger_topic, tenant_of_key


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """The newest checkpoint: `note` is what was signed, `size` and `root` what it says."""

    size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledEntry:
    """`proof` = inclusion under the signed head; null for an entry that no checkpoint covers yet."""

    entry: LedgerEntry
    value: bytes
    leaf_hash: bytes
    proof: tuple[bytes, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentFile:
    """`state` is the fold of `entries`; `topic_state` is Harbor's own, which must say the same.

    `problems` = in words, whatever does not agree: then nothing in here may be taken for proven.
    """

    tenant_id: TenantId
    intent_id: IntentId
    tenant: TenantState | None
    state: IntentState | None
    topic_state: IntentState | None
    entries: tuple[FiledEntry, ...]
    size: int
    head: SignedHead | None
    effects: tuple[IssuedEffect, ...]
    outcomes: tuple[Outcome, ...]
    problems: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Ledger:
    leaves: list[bytes] = field(default_factory=list)
    kept: list[tuple[LedgerEntry, bytes, bytes]] = field(default_factory=list)
    state: IntentState | None = None
    first_bad: Finding | None = None


async def read_intent_file(
    reader: LogReader,
    tenant_id: TenantId,
    intent_id: IntentId,
    *,
    keys: LedgerKeys | None,
    partitions: int,
) -> IntentFile:
    """`keys` None = no checkpoint is believed, and nothing is proven. Raises BrokerUnavailableError."""
    partition = partition_of(tenant_id, partitions)
    head, problems = await _newest_head(reader, tenant_id, partition, keys)  # 1
    ledger = await _ledger(reader, tenant_id, intent_id)  # 2
    if ledger.first_bad is not None:
        bad = ledger.first_bad
        problems.append(f"the ledger is bad from seq {bad.seq}: {bad.kind.value}, {bad.detail}")
    if head is not None:
        wrong = _head_problem(head, ledger.leaves)
        if wrong is not None:
            problems.append(wrong)
            head = None
    states = await read_states(  # 3
        reader, tenant_id, partitions=partitions, intent_id=intent_id
    )
    problems += [f"{key.decode()}: {why}" for key, why in states.unreadable.items()]
    topic_state = states.intents.get((tenant_id, intent_id))
    problems += _state_problems(ledger, topic_state)
    effects = await read_effects(reader, tenant_id, partitions=partitions, intent_id=intent_id)
    return IntentFile(
        tenant_id=tenant_id,
        intent_id=intent_id,
        tenant=states.tenants.get(tenant_id),
        state=ledger.state,
        topic_state=topic_state,
        entries=tuple(_filed(ledger, head)),
        size=len(ledger.leaves),
        head=head,
        effects=tuple(effects.values()),
        outcomes=tuple(await _outcomes(reader, tenant_id, intent_id, partition)),
        problems=tuple(problems),
    )


async def _newest_head(
    reader: LogReader, tenant_id: TenantId, partition: int, keys: LedgerKeys | None
) -> tuple[SignedHead | None, list[str]]:
    newest: SignedCheckpoint | None = None
    problems: list[str] = []
    start = await reader.beginning_offset(CHECKPOINTS, partition)
    end = await reader.stable_offset(CHECKPOINTS, partition)
    async for record in reader.read(CHECKPOINTS, partition, start=start, end=end):
        if record.key is None or tenant_of_key(record.key) != tenant_id:
            continue
        try:
            signed = decode_as(SignedCheckpoint, record.value or b"")
        except IntegrityError as error:
            problems.append(f"{record.key.decode()}: {error}")
            continue
        is_in_place = record.key == checkpoint_key(tenant_id, signed.size)
        if is_in_place and (newest is None or signed.size > newest.size):
            newest = signed
    if newest is None or keys is None:
        return None, problems
    opened = open_note(
        newest.note, tenant_id=tenant_id, size=newest.size, keys=keys, where=CHECKPOINTS
    )
    if isinstance(opened, SignedSize):
        return SignedHead(size=opened.size, root=opened.root, note=newest.note), problems
    return None, [*problems, f"the checkpoint of size {newest.size}: {opened.detail}"]


async def _ledger(reader: LogReader, tenant_id: TenantId, intent_id: IntentId) -> _Ledger:
    found = _Ledger()
    topic = ledger_topic(tenant_id)
    if topic not in await reader.ledger_topics():
        return found
    start = await reader.beginning_offset(topic, 0)
    end = await reader.stable_offset(topic, 0)
    rereading = Rereading(tenant_id, reader.read(topic, 0, start=start, end=end))
    async with aclosing(rereading.steps()) as steps:
        async for step in steps:
            found.leaves.append(step.leaf_hash)
            if step.entry.intent_id == intent_id:
                found.kept.append((step.entry, step.value, step.leaf_hash))
                found.state = step.after
    found.first_bad = rereading.reading().first_bad
    return found


def _head_problem(head: SignedHead, leaves: Sequence[bytes]) -> str | None:
    if head.size > len(leaves):
        return f"size {head.size} was signed, {len(leaves)} good entries are there"
    if root_of(leaves[: head.size]) != head.root:
        return f"the signed root of size {head.size} is not that of the entries"
    return None


def _state_problems(ledger: _Ledger, topic_state: IntentState | None) -> list[str]:
    """A state read after the ledger may be newer, never older, and never another of the same seq."""
    folded = ledger.state
    if folded is None:
        return [] if topic_state is None else ["there is a state, but no entry of this intent"]
    if topic_state is None or topic_state.last_seq < folded.last_seq:
        return [f"the state on the topic is behind seq {folded.last_seq}"]
    if topic_state.last_seq == folded.last_seq and topic_state != folded:
        return [f"the state on the topic is not what the entries up to {folded.last_seq} imply"]
    return []


def _filed(ledger: _Ledger, head: SignedHead | None) -> list[FiledEntry]:
    tiles = {} if head is None else _tiles(ledger.leaves[: head.size])
    return [
        FiledEntry(
            entry=entry,
            value=value,
            leaf_hash=leaf,
            proof=None
            if head is None or entry.seq > head.size
            else tuple(_proof(entry.seq - 1, head.size, tiles, ledger.leaves)),
        )
        for entry, value, leaf in ledger.kept
    ]


def _tiles(leaves: Sequence[bytes]) -> dict[TileId, bytes]:
    """Every tile of the tree, so that a proof costs the same wherever its entry lies."""
    growth = tile_updates(EMPTY_FRONTIER, leaves)
    tiles = {TileId(level=run.level, tile=run.tile): run.hashes for run in growth.runs}
    for tile in growth.full_leaf_tiles:
        full = leaves[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]
        tiles[TileId(level=0, tile=tile)] = b"".join(full)
    return tiles


def _proof(
    leaf_index: int, size: int, tiles: Mapping[TileId, bytes], leaves: Sequence[bytes]
) -> list[bytes]:
    part = tiles_for_inclusion(leaf_index, size).leaves
    fetched = FetchedTiles(
        subject="the ledger",
        tiles=tiles,
        leaves=part,
        leaf_bytes=b"" if part is None else b"".join(leaves[part.first : part.end]),
    )
    return inclusion_proof(leaf_index, size, fetched)


async def _outcomes(
    reader: LogReader, tenant_id: TenantId, intent_id: IntentId, partition: int
) -> list[Outcome]:
    """The newest per key, in the order of decision; the topic keeps 7 days."""
    newest: dict[bytes, Outcome] = {}
    start = await reader.beginning_offset(OUTCOMES, partition)
    end = await reader.stable_offset(OUTCOMES, partition)
    async for record in reader.read(OUTCOMES, partition, start=start, end=end):
        if record.key is None or record.value is None or tenant_of_key(record.key) != tenant_id:
            continue
        try:
            outcome = decode_as(Outcome, record.value)
        except IntegrityError:
            continue
        if outcome.intent_id == intent_id:
            newest[record.key] = outcome
    return sorted(newest.values(), key=lambda outcome: (outcome.decided_at, outcome.command_id))

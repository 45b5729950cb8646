"""Whether a tenant's tip, ledger, states, local store and served checkpoints can all be true. Pure, but for reading.

What does not agree is never repaired: the tenant is stopped with the reason, and everything stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from harbor.engine.ports import LogReader, LogRecord
from schemas.errors import CodecError, StateMismatchError, UnknownSchemaError
from schemas.ids import TenantId
from schemas.intent_fold import IntentState, PartyPin, TenantState
from schemas.ledger.entry_chain import leaf_hash
from schemas.ledger.merkle_tree import Frontier
from schemas.messages.avro_codec import decode, decode_as
from schemas.messages.events import LedgerEntry
from schemas.messages.tips import SignedCheckpoint, Tip
from schemas.partitioner import partition_of
from schemas.topics import (
    CHECKPOINTS,
    TIPS,
    ledger_key,
    ledger_topic,
    tenant_of_key,
    tenant_of_ledger_topic,
)

# The last entry and the one that it follows.
_END_RECORDS = 2


@dataclass(slots=True, kw_only=True)
class StatesSeen:
    """What the states of a partition say of each tenant, collected while they are read."""

    newest_seq: dict[TenantId, int] = field(default_factory=dict)
    tenants: dict[TenantId, TenantState] = field(default_factory=dict)
    unreadable: dict[TenantId, str] = field(default_factory=dict)

    def see(self, key: bytes, value: bytes) -> object | None:
        """The message, or None where it can't be read: then its tenant is in doubt."""
        tenant_id = tenant_of_key(key)
        try:
            message = decode(value)
        except (CodecError, UnknownSchemaError) as error:
            self.unreadable[tenant_id] = f"the record {key.decode(errors='replace')}: {error}"
            return None
        match message:
            case IntentState():
                self._reach(tenant_id, message.last_seq)
            case PartyPin():
                self._reach(tenant_id, message.since_seq)
            case TenantState():
                self.tenants[tenant_id] = message
                self._reach(tenant_id, 1)
            case _:
                pass
        found: object = message
        return found

    def _reach(self, tenant_id: TenantId, seq: int) -> None:
        self.newest_seq[tenant_id] = max(self.newest_seq.get(tenant_id, 0), seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that is known of one tenant. `newest_seq` and `served_size` are 0 where nothing was seen.

    `tip` and `end` (the ledger's last two records) are the topics', `stored_tip` is the local store's, None where it
    has none.
    """

    tip: Tip | None
    end: Sequence[LogRecord]
    has_topic: bool
    stored_tip: Tip | None = None
    newest_seq: int = 0
    served_size: int = 0
    unreadable: str | None = None


def disagreement(tenant_id: TenantId, standing: Standing) -> str | None:
    """Why these can't all be true, or None. In this order: readable, both ends there, the end itself, who is ahead."""
    if standing.unreadable is not None:
        return standing.unreadable
    tip, end = standing.tip, standing.end
    if tip is None and not end:
        return _of_nothing(standing)
    if not standing.has_topic:
        return f"there is a tip, but no topic {ledger_topic(tenant_id)}"
    if tip is None:
        return "the ledger has entries, but there is no tip"
    if not end:
        return f"the tip says {tip.size} entries, the ledger has none"
    return _of_end(tenant_id, tip, end) or _of_followers(tip, standing)


def is_store_ahead(stored: Tip, tip: Tip | None) -> bool:
    """Whether the local store has what the topic lost, or something else at the same size."""
    if tip is None or stored.size > tip.size:
        return True
    return stored.size == tip.size and stored.last_leaf_hash != tip.last_leaf_hash


def _of_nothing(standing: Standing) -> str | None:
    """A ledger topic without entries is no tenant yet, and nothing may speak of one."""
    if standing.newest_seq > 0:
        return f"a state stands at seq {standing.newest_seq}, but tip and ledger are empty"
    if standing.stored_tip is not None:
        return f"the local store has {standing.stored_tip.size} entries, tip and ledger none"
    if standing.served_size > 0:
        return f"a checkpoint of size {standing.served_size} was served, tip and ledger are empty"
    return None


def _of_end(tenant_id: TenantId, tip: Tip, end: Sequence[LogRecord]) -> str | None:
    last = end[-1]
    if last.value is None:
        return f"a tombstone ends the ledger at offset {last.offset}"
    try:
        entry = decode_as(LedgerEntry, last.value)
        frontier = Frontier.restored(subject=tenant_id, size=tip.size, hashes=tip.frontier)
    except (CodecError, UnknownSchemaError, StateMismatchError) as error:
        return f"the end of the ledger (offset {last.offset}): {error}"
    if entry.tenant_id != tenant_id or last.key != ledger_key(tenant_id, entry.seq):
        return f"the ledger's last record is {last.key!r} of {entry.tenant_id!r}, seq {entry.seq}"
    if entry.seq != tip.size:
        return f"the tip says {tip.size} entries, the ledger ends with seq {entry.seq}"
    if leaf_hash(last.value) != tip.last_leaf_hash:
        return f"the ledger's last entry (seq {entry.seq}) is not the tip's"
    if frontier.root() != tip.root:
        return f"the tip's frontier does not give its root at size {tip.size}"
    # The last leaf of an odd tree is a subtree of its own.
    if tip.size % 2 == 1 and frontier.hashes[-1] != tip.last_leaf_hash:
        return f"the tip's frontier does not end in its last leaf at size {tip.size}"
    return _of_predecessor(entry, end)


def _of_predecessor(entry: LedgerEntry, end: Sequence[LogRecord]) -> str | None:
    """A second copy right behind the first changes neither the ledger's end nor its order: what it follows tells."""
    *before, last = end
    if not before:
        return None if entry.seq == 1 else f"no entry stands before the ledger's last ({entry.seq})"
    (previous,) = before
    if previous.key == last.key:
        return (
            f"the ledger's last entry (seq {entry.seq}) is there twice: "
            f"offsets {previous.offset} and {last.offset}"
        )
    if previous.value is None or leaf_hash(previous.value) != entry.prev_hash:
        return f"the ledger's last entry (seq {entry.seq}) does not follow what is before it"
    return None


def _of_followers(tip: Tip, standing: Standing) -> str | None:
    if standing.newest_seq > tip.size:
        return f"a state stands at seq {standing.newest_seq}, the ledger ends at {tip.size}"
    stored = standing.stored_tip
    if stored is not None and is_store_ahead(stored, tip):
        return (
            f"the local store stands at seq {stored.size}, the ledger ends otherwise at {tip.size}"
        )
    if standing.served_size > tip.size:
        return (
            f"a checkpoint of size {standing.served_size} was served, the ledger ends at {tip.size}"
        )
    return None


def tenants_of_partition(
    topics: frozenset[str], *, partition: int, partitions: int
) -> frozenset[TenantId]:
    named = map(tenant_of_ledger_topic, topics)
    return frozenset(
        tenant_id
        for tenant_id in named
        if tenant_id is not None and partition_of(tenant_id, partitions) == partition
    )


async def ledger_end(reader: LogReader, tenant_id: TenantId) -> tuple[LogRecord, ...]:
    """What `Standing.end` is. Raises BrokerUnavailableError."""
    return await reader.last_records(ledger_topic(tenant_id), 0, most=_END_RECORDS)


async def tips_on_topic(
    reader: LogReader, partition: int, *, end: int, states: StatesSeen
) -> dict[TenantId, Tip]:
    """Every tenant's tip; one record per tenant once compacted. Raises BrokerUnavailableError."""
    tips: dict[TenantId, Tip] = {}
    start = await reader.beginning_offset(TIPS, partition)
    async for record in reader.read(TIPS, partition, start=start, end=end):
        if record.key is not None and record.value is not None:
            tip = states.see(record.key, record.value)
            if isinstance(tip, Tip):
                tips[tenant_of_key(record.key)] = tip
    return tips


@dataclass(slots=True, kw_only=True)
class Served:
    """Per tenant the largest size of which somebody may hold a signed checkpoint; `known_to` = up to which offset."""

    sizes: dict[TenantId, int] = field(default_factory=dict)
    known_to: int


async def served_sizes(
    reader: LogReader, partition: int, *, start: int, end: int, states: StatesSeen
) -> Served:
    """A checkpoint that can't be read puts its tenant in doubt (`states`), and what follows it is to be read again."""
    served = Served(known_to=end)
    async for record in reader.read(CHECKPOINTS, partition, start=start, end=end):
        if record.key is None or record.value is None:
            continue
        signed = states.see(record.key, record.value)
        if isinstance(signed, SignedCheckpoint):
            tenant_id = TenantId(signed.tenant_id)
            served.sizes[tenant_id] = max(served.sizes.get(tenant_id, 0), signed.size)
        else:
            served.known_to = min(served.known_to, record.offset)
    return served

"""Every acknowledged command against the ledger topics as any consumer reads them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from deploy.local.demo_proof import read_from_kafka
from schemas.ids import TenantId
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import LedgerEntry, event_type_of
from tests.e2e.kills.acknowledgements import Told

# What a command of this purpose that was answered 200 or 201 has put into the ledger, once.
_ENTRY_OF = {
    "harbor.intent.create": "intent_created",
    "harbor.intent.fund": "settlement_rail_requested",
    "harbor.intent.evidence.submit": "evidence_submitted",
    "harbor.intent.settlement.confirm": "settlement_rail_requested",
}
# An intent has each of these at most once in its life.
_ONCE = frozenset(
    {"intent_created", "settlement_hold_placed", "evidence_submitted", "predicate_evaluated"}
)
_FINAL = frozenset({"released", "refunded", "resolved_split", "escalated_external"})
_ACCEPTED = 202


def entries_of(bootstrap: str, tenant_id: str) -> list[LedgerEntry]:
    """In the order of the topic."""
    records = read_from_kafka(bootstrap, TenantId(tenant_id))
    return [decode_as(LedgerEntry, record.value) for record in records.values()]


def ledgers_of(bootstrap: str) -> Mapping[str, Sequence[LedgerEntry]]:
    """By tenant, of both that a local stack has."""
    return {tenant: entries_of(bootstrap, tenant) for tenant in ("tenant-vec", "tenant-two")}


def faults_of_all(ledgers: Mapping[str, Sequence[LedgerEntry]], told: Sequence[Told]) -> list[str]:
    return [
        fault
        for tenant, entries in ledgers.items()
        for fault in faults_of(entries, [one for one in told if one.tenant_id == tenant])
    ]


def faults_of(entries: Sequence[LedgerEntry], told: Sequence[Told]) -> list[str]:
    """What must not be, in words; `told` are the answers of this ledger's tenant."""
    return [*_commands_not_once(entries, told), *_doubled(entries), *_scattered(entries)]


def _commands_not_once(entries: Sequence[LedgerEntry], told: Sequence[Told]) -> Iterator[str]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        found[entry.command_id][event_type_of(entry.event)] += 1
    for command_id, answer in _decided(told).items():
        expected = _ENTRY_OF[answer.purpose]
        times = found[command_id][expected]
        if times != 1:
            yield f"{command_id}: answered {answer.status}, but {expected} is there {times} times"


def _decided(told: Sequence[Told]) -> Mapping[str, Told]:
    """Also what was only accepted (202) is in the ledger: accepted means that the rail was asked."""
    return {
        answer.command_id: answer
        for answer in told
        if answer.is_decided
        or (answer.status == _ACCEPTED and _ENTRY_OF[answer.purpose] == "settlement_rail_requested")
    }


def _doubled(entries: Sequence[LedgerEntry]) -> Iterator[str]:
    times: Counter[tuple[str | None, str]] = Counter()
    for entry in entries:
        kind = event_type_of(entry.event)
        times[entry.intent_id, "final" if kind in _FINAL else kind] += 1
    for (intent_id, kind), count in times.items():
        if count > 1 and (kind in _ONCE or kind == "final"):
            yield f"intent {intent_id}: {kind} is there {count} times"


def _scattered(entries: Sequence[LedgerEntry]) -> Iterator[str]:
    """A command is decided in one transaction: its entries are neighbours."""
    last_at: dict[str, int] = {}
    for entry in entries:
        before = last_at.get(entry.command_id)
        if before is not None and before != entry.seq - 1:
            yield f"{entry.command_id}: decided again at seq {entry.seq}, first up to {before}"
        last_at[entry.command_id] = entry.seq
    if [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
        yield "the topic's order is not the order of seq, without a gap"

"""What one transaction carries, and what follows once it committed. Values, and the builder of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harbor.engine.batch_lookup import StoreKey, View
from harbor.engine.batch_output import position_record
from harbor.engine.due_index import due_key_of
from harbor.engine.intake import Rejected, RejectReason
from harbor.engine.ports import InputRecord, OutputRecord
from schemas.ids import TenantId
from schemas.intent_fold import IntentState
from schemas.messages.outcomes import OutcomeStatus
from schemas.messages.tips import Tip
from schemas.topics import INTENTS, POSITIONS, TIPS, position_key, tip_key

StoreWrites = Mapping[int, Mapping[StoreKey, bytes | None]]

# Their records are the overlay's last values; all other topics get each record as it was decided.
_LAST_VALUE_TOPICS = frozenset({INTENTS, TIPS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """For metrics: how the commands of a batch ended. `republished` counts repeats."""

    by_status: Mapping[OutcomeStatus, int]
    refusals: Mapping[str, int]
    rejects: Mapping[RejectReason, int]
    republished: int
    entries: int

    @property
    def alarms(self) -> Mapping[RejectReason, int]:
        return {reason: count for reason, count in self.rejects.items() if reason.is_alarm}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """`output` goes into the transaction, with `next_offsets`. The rest counts only after its commit.

    `writes` for the local store, `tips` to be signed, tenants `released` from the process's own quarantine.
    """

    output: tuple[OutputRecord, ...]
    next_offsets: Mapping[int, int]
    writes: StoreWrites
    tips: tuple[Tip, ...]
    released: frozenset[TenantId]
    quarantined: frozenset[TenantId]
    tally: Tally


@dataclass(slots=True)
class ResultBuilder:
    output: list[OutputRecord] = field(default_factory=list)
    next_offsets: dict[int, int] = field(default_factory=dict)
    tips: list[Tip] = field(default_factory=list)
    released: set[TenantId] = field(default_factory=set)
    quarantined: set[TenantId] = field(default_factory=set)
    by_status: dict[OutcomeStatus, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    rejects: dict[RejectReason, int] = field(default_factory=dict)
    republished: int = 0
    entries: int = 0
    due_writes: dict[int, dict[StoreKey, bytes | None]] = field(default_factory=dict)

    def index_due(self, partition: int, before: IntentState | None, after: IntentState) -> None:
        """The index by due time moves with the state, in the same write."""
        old = None if before is None else due_key_of(before)
        new = due_key_of(after)
        if old == new:
            return
        writes = self.due_writes.setdefault(partition, {})
        if old is not None:
            writes[old] = None
        if new is not None:
            writes[new] = b""

    def advance(self, record: InputRecord) -> None:
        """Each input record moves its partition's position, whatever became of it."""
        expected = self.next_offsets.get(record.partition, 0)
        assert record.offset >= expected, (
            "records of a partition come in the order of their offsets"
        )
        self.next_offsets[record.partition] = record.offset + 1

    def reject(self, rejected: Rejected, letter: OutputRecord) -> None:
        self.output.append(letter)
        self.rejects[rejected.reason] = self.rejects.get(rejected.reason, 0) + 1

    def count(self, status: OutcomeStatus, refusal_code: str | None) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1
        if refusal_code is not None:
            self.refusals[refusal_code] = self.refusals.get(refusal_code, 0) + 1

    def extend_ledger(self, partition: int, tip: Tip, view: View) -> None:
        """One tip per touched tenant and batch."""
        self.tips.append(tip)
        view.put(partition, (TIPS, tip_key(TenantId(tip.tenant_id))), tip)

    def finished(self, view: View) -> BatchResult:
        writes: dict[int, dict[StoreKey, bytes | None]] = {}
        for partition, key, value in view.changes():
            topic, record_key = key
            writes.setdefault(partition, {})[key] = value
            if topic in _LAST_VALUE_TOPICS:
                self.output.append(
                    OutputRecord(topic=topic, partition=partition, key=record_key, value=value)
                )
        for partition, due in self.due_writes.items():
            writes.setdefault(partition, {}).update(due)
        for partition, next_offset in self.next_offsets.items():
            position = position_record(partition, next_offset)
            self.output.append(position)
            writes.setdefault(partition, {})[POSITIONS, position_key(partition)] = position.value
        return BatchResult(
            output=tuple(self.output),
            next_offsets=dict(self.next_offsets),
            writes=writes,
            tips=tuple(self.tips),
            released=frozenset(self.released),
            quarantined=frozenset(self.quarantined),
            tally=Tally(
                by_status=self.by_status,
                refusals=self.refusals,
                rejects=self.rejects,
                republished=self.republished,
                entries=self.entries,
            ),
        )

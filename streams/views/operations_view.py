"""`paybond.outcomes` into `/v1/operations/{id}`: the newest answer per command, for seven days by record time."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from schemas.errors import CodecError
from schemas.messages.avro_codec import decode_as
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.tables.rows import OperationRow, operation_row
from schemas.topics import OUTCOMES, tenant_of_key
from streams.runtime.batch_loop import Clock
from streams.runtime.checkpoints import Advance
from streams.runtime.dead_letters import DeadLetters
from streams.runtime.metrics import Metrics
from streams.runtime.records import Record, TopicPartition
from streams.views.tables import OperationChange, OperationTables
from streams.views.topic_view import TopicView

KEPT = timedelta(days=7)
PRUNE_INTERVAL = timedelta(minutes=10)
# Short transactions: a reader never waits for the broom.
PRUNED_ROWS_MAX = 5_000


class OperationsView(TopicView[OperationTables, OperationChange]):
    name = "outcomes"
    topic = OUTCOMES

    def __init__(
        self, *, tables: OperationTables, dead_letters: DeadLetters, clock: Clock, metrics: Metrics
    ) -> None:
        super().__init__(tables=tables, dead_letters=dead_letters, clock=clock, metrics=metrics)
        self._prune_due: datetime | None = None

    async def idle(self, owned: Collection[TopicPartition]) -> None:
        now = self._clock.now()
        if not owned or (self._prune_due is not None and now < self._prune_due):
            return
        pruned = await self._tables.prune_operations(before=now - KEPT, rows_max=PRUNED_ROWS_MAX)
        # A full slice means that there is more.
        self._prune_due = now if pruned == PRUNED_ROWS_MAX else now + PRUNE_INTERVAL

    def _read(self, record: Record, is_known: bool) -> OperationChange | None:  # noqa: FBT001 – RecordWriter's call
        return operation_change(record, is_known=is_known, oldest=self._clock.now() - KEPT)

    async def _write(
        self, advances: Sequence[Advance], changes: Sequence[OperationChange]
    ) -> Mapping[TopicPartition, int]:
        newest: dict[tuple[str, str], OperationChange] = {}
        for change in changes:
            key = change.row.tenant_id, change.row.command_id
            before = newest.get(key)
            if before is None or replaces(change.row, before.row):
                newest[key] = change
        return await self._tables.store_operations(
            advances, [newest[key] for key in sorted(newest)]
        )


def operation_change(record: Record, *, is_known: bool, oldest: datetime) -> OperationChange | None:
    """None for what is no operation, or too old for one. Raises CodecError, UnknownSchemaError."""
    if record.key is None:
        raise CodecError("an outcome without a key")
    if record.value is None:
        return None
    outcome = decode_as(Outcome, record.value)
    if tenant_of_key(record.key) != outcome.tenant_id:
        raise CodecError(f"the key {record.key!r} is not that of {outcome.tenant_id}'s outcome")
    row = operation_row(outcome, key=record.key, value=record.value)
    if row is None or row.recorded_at < oldest:
        return None
    return OperationChange(row=row, at=record.at, is_known=is_known)


def replaces(newer: OperationRow, older: OperationRow) -> bool:
    """Whether a row takes the place of another: the later decision, and at one time a final one of `accepted`.

    The tables' SQL says the same. An outcome published again changes nothing.
    """
    if newer.decided_at != older.decided_at:
        return newer.decided_at > older.decided_at
    accepted = OutcomeStatus.ACCEPTED.value
    return older.status == accepted and newer.status != accepted

"""`views.operations` against the outcomes on the topic: of each command the newest decision, for seven days."""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

from harbor.engine.ports import LogRecord
from harbor.fsck.findings import Finding, FindingKind, FindingList
from schemas.errors import IntegrityError
from schemas.messages.avro_codec import decode_as
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.tables.rows import OperationRow, operation_row

ROWS = "views.operations"
# Rows older than 7 days are pruned, by another clock than ours and not at once.
_SURELY_KEPT = timedelta(days=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDecision:
    """The newest outcome of a command, as far as the topic was read; `seq` 0 where it wrote no entry."""

    offset: int
    token: bytes
    seq: int
    status: str
    recorded_at: datetime
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFact:
    """A row, as far as it has to be told from another."""

    token: bytes
    recorded_at: datetime


def stored_decision(record: LogRecord) -> tuple[str, StoredDecision] | None:
    """Command id and decision; None for what is no operation's outcome, or can't be read (a dead letter's matter)."""
    try:
        outcome = decode_as(Outcome, record.value or b"")
    except IntegrityError:
        return None
    row = operation_row(outcome, key=record.key or b"", value=record.value or b"")
    if row is None:
        return None
    return row.command_id, StoredDecision(
        offset=record.offset,
        token=operation_token(row),
        seq=outcome.ledger_seq or 0,
        status=row.status,
        recorded_at=row.recorded_at,
        decided_at=row.decided_at,
    )


def is_newer(newer: StoredDecision, older: StoredDecision) -> bool:
    """As the views judge it: the later decision, and at one time a final one over `accepted`."""
    if newer.decided_at != older.decided_at:
        return newer.decided_at > older.decided_at
    accepted = OutcomeStatus.ACCEPTED.value
    return older.status == accepted and newer.status != accepted


def operation_token(row: OperationRow) -> bytes:
    """Equal rows have equal ones."""
    return hashlib.sha256(repr(astuple(row)).encode()).digest()


def compare_operations(
    decisions: Mapping[str, StoredDecision],
    rows: Mapping[str, OperationFact],
    *,
    rows_reached: int,
    now: datetime,
) -> FindingList:
    """`rows` hold the topic below `rows_reached`; a decision beyond it may not have come yet."""
    found = FindingList()
    for command_id in sorted(rows.keys() | decisions.keys()):
        decision, row = decisions.get(command_id), rows.get(command_id)
        if decision is None:
            if row is None or row.recorded_at <= now - _SURELY_KEPT:
                continue
            detail = f"{command_id}: no outcome on the topic leads to it"
            found.add(Finding(seq=0, kind=FindingKind.NOT_IMPLIED, where=ROWS, detail=detail))
        elif decision.offset >= rows_reached:
            continue
        elif row is None:
            if decision.recorded_at > now - _SURELY_KEPT:
                detail = f"{command_id}: it is not there"
                found.add(
                    Finding(seq=decision.seq, kind=FindingKind.ABSENT, where=ROWS, detail=detail)
                )
        elif row.token != decision.token:
            detail = f"{command_id}: it is not the newest outcome on the topic"
            found.add(
                Finding(seq=decision.seq, kind=FindingKind.NOT_IMPLIED, where=ROWS, detail=detail)
            )
    return found

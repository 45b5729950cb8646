"""Step 2, the look-up: the stored outcome and the spender of the nonce, overlay first, then store. Pure.

The rule itself is `harbor.domain.idempotency`; here it is asked about the right records, within the window of 24 h.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from harbor.domain.idempotency import DecideAnew, Mismatch, NonceReplayed, Replay, look_up
from harbor.engine.batch_lookup import View, is_kept
from harbor.engine.intake import Received
from schemas.ids import CommandId
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.replacing import replace
from schemas.topics import OUTCOMES, mismatch_outcome_key, outcome_key

# The finest step of an outcome's times.
_LATER = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAnswer:
    """Decided before: this is what was answered, and whether it lies beside another input's answer.

    `has_moved_on` = a poll's answer is that of the operation which has ended since, and has to be kept anew.
    """

    outcome: Outcome
    is_mismatch: bool = False
    has_moved_on: bool = False


def decided_after(stored: Outcome | None, instant: datetime) -> datetime:
    """When a command's new answer is decided: later than its last one, also where the broker's clock stepped back.

    Who keeps the newest answer (the read tables) goes by this time.
    """
    return instant if stored is None else max(instant, stored.decided_at + _LATER)


def find_repeat(
    received: Received, view: View
) -> FirstAnswer | Mismatch | NonceReplayed | DecideAnew:
    spent = received.command.spent
    partition, tenant_id = received.record.partition, received.tenant_id
    owner = None if spent is None else view.nonce_spender(partition, tenant_id, spent)
    stored = _stored(received, view, is_mismatch=False)
    present = None if stored is None else _present(stored, received, view)
    found = look_up(present, received.command, owner)
    match found:
        case Replay(outcome):
            return FirstAnswer(outcome=outcome, has_moved_on=outcome is not stored)
        case Mismatch():
            refused = _stored(received, view, is_mismatch=True)
            repeat = look_up(refused, received.command, None)
            if isinstance(repeat, Replay):
                return FirstAnswer(outcome=repeat.outcome, is_mismatch=True)
            return found
        case NonceReplayed() | DecideAnew():
            return found


def _present(stored: Outcome, received: Received, view: View) -> Outcome:
    """A poll asked for nothing itself: once the operation that it named has ended, its end is the poll's answer."""
    if stored.operation_command_id is None:
        return stored
    asked_by = CommandId(stored.operation_command_id)
    asking = view.outcome(received.record.partition, received.tenant_id, asked_by)
    if asking is None or not is_kept(asking, now=received.record.timestamp):
        return stored
    if asking.status is OutcomeStatus.ACCEPTED:
        return stored
    return replace(
        stored,
        status=asking.status,
        refusal=asking.refusal,
        answer=asking.answer,
        ledger_seq=asking.ledger_seq,
        decided_at=decided_after(stored, asking.decided_at),
        operation_command_id=None,
    )


def _stored(received: Received, view: View, *, is_mismatch: bool) -> Outcome | None:
    tenant_id, command_id = received.tenant_id, received.command_id
    key = (
        mismatch_outcome_key(tenant_id, command_id, received.command.input_hash)
        if is_mismatch
        else outcome_key(tenant_id, command_id)
    )
    outcome = view.get(Outcome, received.record.partition, (OUTCOMES, key))
    if outcome is None or not is_kept(outcome, now=received.record.timestamp):
        return None
    return outcome

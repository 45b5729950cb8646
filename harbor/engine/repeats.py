"""Step 2, the look-up: the stored outcome and the spender of the nonce, overlay first, then store. Pure.

The rule itself is `harbor.domain.idempotency`; here it is asked about the right records, within the window of 24 h.
"""

from dataclasses import dataclass

from harbor.domain.idempotency import DecideAnew, Mismatch, NonceReplayed, Replay, look_up
from harbor.engine.batch_lookup import View, is_kept
from harbor.engine.intake import Received
from schemas.messages.outcomes import Outcome
from schemas.topics import OUTCOMES, mismatch_outcome_key, outcome_key


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAnswer:
    """Decided before: this is what was answered, and whether it lies beside another input's answer."""

    outcome: Outcome
    is_mismatch: bool = False


def find_repeat(
    received: Received, view: View
) -> FirstAnswer | Mismatch | NonceReplayed | DecideAnew:
    spent = received.command.spent
    partition, tenant_id = received.record.partition, received.tenant_id
    owner = None if spent is None else view.nonce_spender(partition, tenant_id, spent)
    found = look_up(_stored(received, view, is_mismatch=False), received.command, owner)
    match found:
        case Replay(outcome):
            return FirstAnswer(outcome=outcome)
        case Mismatch():
            refused = _stored(received, view, is_mismatch=True)
            repeat = look_up(refused, received.command, None)
            if isinstance(repeat, Replay):
                return FirstAnswer(outcome=repeat.outcome, is_mismatch=True)
            return found
        case NonceReplayed() | DecideAnew():
            return found


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

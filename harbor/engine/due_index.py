"""The store's index by due time: what time brings next to an intent, one key per intent, written with its state.

A key that a newer state has outdated is found by the tick, which looks at the state before it acts.
"""

from schemas.due import next_due
from schemas.instants import to_micros
from schemas.intent_fold import IntentState

DUE = "due"


def due_key_of(intent: IntentState) -> tuple[str, bytes] | None:
    """`<due micros, 20 digits>/<tenant>/<intent>`, or None where time brings nothing."""
    due = next_due(intent)
    if due is None:
        return None
    micros = to_micros(due.at)
    return DUE, f"{micros:020d}/{intent.tenant_id}/{intent.intent_id}".encode()

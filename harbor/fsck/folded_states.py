"""The states of a ledger while it is read: live ones as they are, final ones packed, so that a million fit.

A final state hardly ever changes again; its bytes are about a quarter of the object.
"""

from collections.abc import Iterator, Mapping

from schemas.intent_fold import IntentState
from schemas.messages.avro_codec import decode_as, encode


class FoldedStates(Mapping[str, IntentState]):
    """By intent id."""

    def __init__(self) -> None:
        self._live: dict[str, IntentState] = {}
        self._final: dict[str, bytes] = {}

    def put(self, intent_id: str, state: IntentState) -> None:
        if state.is_final:
            self._live.pop(intent_id, None)
            self._final[intent_id] = encode(state)
        else:
            self._live[intent_id] = state

    def __getitem__(self, intent_id: str) -> IntentState:
        if intent_id in self._final:
            return decode_as(IntentState, self._final[intent_id])
        return self._live[intent_id]

    def __iter__(self) -> Iterator[str]:
        yield from self._live
        yield from self._final

    def __len__(self) -> int:
        return len(self._live) + len(self._final)

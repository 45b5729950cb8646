"""What the states on `paybond.intents` say to the rail worker: which effects are outstanding, whose rails are paused.

Pure: adapters feed it records in order, per partition; only what is outstanding or paused is kept, and per tenant how
far its states go.
"""

from schemas.intent_fold import IntentState, TenantState


class OutstandingEffects:
    def __init__(self) -> None:
        self._effects: dict[int, dict[tuple[str, str], str]] = {}
        self._paused: dict[int, set[str]] = {}
        self._shown: dict[int, dict[str, int]] = {}

    def take(self, partition: int, message: object) -> None:
        """The next record of the partition, decoded."""
        match message:
            case IntentState():
                states = self._effects.setdefault(partition, {})
                intent = message.tenant_id, message.intent_id
                shown = self._shown.setdefault(partition, {})
                shown[message.tenant_id] = max(shown.get(message.tenant_id, 0), message.last_seq)
                if message.hold.effect_id is None:
                    states.pop(intent, None)
                else:
                    states[intent] = message.hold.effect_id
            case TenantState():
                paused = self._paused.setdefault(partition, set())
                if message.rails_pause is None:
                    paused.discard(message.tenant_id)
                else:
                    paused.add(message.tenant_id)
            case _:
                pass

    def effect_of(self, *, tenant_id: str, intent_id: str) -> str | None:
        intent = tenant_id, intent_id
        return next((s[intent] for s in self._effects.values() if intent in s), None)

    def has_shown(self, *, tenant_id: str, ledger_seq: int) -> bool:
        return any(shown.get(tenant_id, 0) >= ledger_seq for shown in self._shown.values())

    def is_paused(self, tenant_id: str) -> bool:
        return any(tenant_id in paused for paused in self._paused.values())

    def forget(self, partition: int) -> None:
        self._effects.pop(partition, None)
        self._paused.pop(partition, None)
        self._shown.pop(partition, None)

"""What the states on `paybond.intents` say to the rail worker: which effects are outstanding, whose rails are paused.

Pure: adapters feed it records in order, per partition; only what is outstanding, paused or unreadable is kept, and per
tenant how far its states go. A record that can't be read (a later release wrote it, or it is damaged) says nothing
about its own tenant that could be relied on, and nothing at all about the others.
"""

from schemas.errors import IntegrityError
from schemas.intent_fold import IntentState, TenantState
from schemas.messages.avro_codec import decode
from schemas.topics import tenant_of_key


class OutstandingEffects:
    def __init__(self) -> None:
        self._effects: dict[int, dict[tuple[str, str], str]] = {}
        self._paused: dict[int, set[str]] = {}
        self._shown: dict[int, dict[str, int]] = {}
        # Keys whose newest record can't be read, and why.
        self._unreadable: dict[int, dict[bytes, str]] = {}

    def take(self, partition: int, *, key: bytes, value: bytes) -> None:
        """The next record of the partition."""
        unreadable = self._unreadable.setdefault(partition, {})
        try:
            message = decode(value)
        except IntegrityError as error:
            unreadable[key] = str(error)
            return
        unreadable.pop(key, None)
        self._take_message(partition, message)

    def _take_message(self, partition: int, message: object) -> None:
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

    def unreadable(self, tenant_id: str) -> str | None:
        """Why the tenant's states can't be relied on: the first of its records that can't be read."""
        return next(
            (
                f"{key.decode(errors='replace')}: {why}"
                for keys in self._unreadable.values()
                for key, why in keys.items()
                if tenant_of_key(key) == tenant_id
            ),
            None,
        )

    def forget(self, partition: int) -> None:
        self._effects.pop(partition, None)
        self._paused.pop(partition, None)
        self._shown.pop(partition, None)
        self._unreadable.pop(partition, None)

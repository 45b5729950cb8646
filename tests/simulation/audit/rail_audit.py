"""What the rail was asked, and how far its worker's offsets go: against what was committed, and what was answered."""

from collections import defaultdict
from typing import TYPE_CHECKING

from harbor.adapters.memory.partition_log import StoredRecord
from schemas.ids import IntentId, TenantId
from schemas.intent_fold import IntentState
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import Command, RecordRailAnswer
from schemas.messages.effects import Effect
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, EFFECTS, GROUP_RAILS, INTENTS, intent_key
from tests.simulation.audit.rules import Rule, ViolationError

if TYPE_CHECKING:
    from tests.simulation.world import World


class RailAudit:
    """`asked` before the rail does anything; `committed` and `look` after each step that changed something."""

    def __init__(self, world: "World") -> None:
        self._world = world
        # By partition and offset, until the group's offset is past it.
        self._effects: dict[int, dict[int, Effect]] = defaultdict(dict)
        self._asked_of_rail = 0
        self._group_at: dict[int, int] = {}

    def asked(self, effect: Effect, *, states_seen: int) -> None:
        """By a worker that has read the states below that offset. Raises ViolationError."""
        outstanding = self._outstanding_of(effect, states_seen=states_seen)
        if outstanding != effect.effect_id:
            raise ViolationError(
                Rule.RAIL_ASKED, f"{effect.effect_id} was asked, outstanding is {outstanding}"
            )

    def committed(self, records: list[StoredRecord], *, partition: int) -> None:
        """Effects that have become visible."""
        for record in records:
            self._effects[partition][record.offset] = decode_as(Effect, record.value or b"")

    def look(self) -> None:
        """Raises ViolationError."""
        self._check_carried_out()
        group = self._world.kafka.group(GROUP_RAILS)
        for partition in range(self._world.partitions):
            at = group.committed((EFFECTS, partition)) or 0
            if at != self._group_at.get(partition, 0):
                self._group_at[partition] = at
                self._check_passed(partition, at)

    def _check_carried_out(self) -> None:
        """The rail was asked only for what was committed."""
        carried_out = self._world.rails.house.carried_out
        for effect, _ in carried_out[self._asked_of_rail :]:
            if effect.effect_id not in self._world.auditor.effects:
                raise ViolationError(
                    Rule.EFFECT, f"{effect.effect_id} was asked, but not committed"
                )
        self._asked_of_rail = len(carried_out)

    def _check_passed(self, partition: int, at: int) -> None:
        effects = self._effects[partition]
        for offset in [offset for offset in effects if offset < at]:
            effect = effects.pop(offset)
            # Also where an open transaction hid the state when its effect was seen.
            is_waited_for = self._outstanding_of(effect) == effect.effect_id
            if is_waited_for and not self._is_answered(partition, effect):
                raise ViolationError(
                    Rule.RAIL_POSITION,
                    f"partition {partition}: {at} is past {effect.effect_id} at {offset}",
                )

    def _outstanding_of(self, effect: Effect, *, states_seen: int | None = None) -> str | None:
        """What its intent has outstanding, by the states below that offset, or by all."""
        partition = partition_of(effect.tenant_id, self._world.partitions)
        key = intent_key(TenantId(effect.tenant_id), IntentId(effect.intent_id))
        outstanding = None
        for record in self._world.kafka.read(INTENTS, partition, end=states_seen):
            if record.key == key:
                outstanding = decode_as(IntentState, record.value or b"").hold.effect_id
        return outstanding

    def _is_answered(self, partition: int, effect: Effect) -> bool:
        """Whether an answer lies in the log of commands, decided or not."""
        for record in self._world.kafka.read(COMMANDS, partition):
            if (partition, record.offset) not in self._world.junk:
                body = decode_as(Command, record.value or b"").body
                if isinstance(body, RecordRailAnswer) and body.effect_id == effect.effect_id:
                    return True
        return False

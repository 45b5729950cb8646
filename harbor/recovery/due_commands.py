"""What is due → the command that asks for it, pure: its id follows from what is due, so that it is decided once.

The tick judges nothing: Harbor decides each command by the log's time. Whoever sends it again, after a restart or from
another process, sends the same id and the same input hash.
"""

from dataclasses import dataclass
from typing import assert_never

from schemas.due import Due, DueKind
from schemas.ids import TenantId, command_id_of
from schemas.instants import to_micros
from schemas.intent_fold import IntentState
from schemas.messages.commands import (
    EMPTY_MAC,
    Command,
    CommandBody,
    ExpireIntent,
    Issuer,
    RaiseHoldExpiring,
    ReissueEffect,
    input_hash_of,
)
from schemas.messages.shared import Actor, ActorKind

ACTOR = Actor(kind=ActorKind.SYSTEM, ref="recovery")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """`parts` = what makes the command's id, beside tenant and intent."""

    kind: str
    body: CommandBody
    parts: tuple[str, ...]


def due_command(intent: IntentState, due: Due) -> Command:
    """Unsealed: the sender seals it."""
    recipe = _recipe(intent, due)
    parts = (intent.intent_id, *recipe.parts)
    return Command(
        command_id=command_id_of(recipe.kind, TenantId(intent.tenant_id), *parts),
        tenant_id=intent.tenant_id,
        intent_id=intent.intent_id,
        issuer=Issuer.RECOVERY,
        issuer_mac=EMPTY_MAC,
        actor=ACTOR,
        input_hash=input_hash_of("RECOVERY", recipe.kind, "\0".join(parts).encode()),
        body=recipe.body,
    )


def _recipe(intent: IntentState, due: Due) -> _Recipe:
    due_at = str(to_micros(due.at))
    match due.kind:
        case DueKind.REISSUE:
            effect_id = intent.hold.effect_id
            assert effect_id is not None
            assert due.issue is not None
            return _Recipe(
                kind="reissue_effect",
                body=ReissueEffect(effect_id=effect_id, issue=due.issue),
                parts=(effect_id, str(due.issue)),
            )
        case DueKind.WARN:
            assert due.hours_left is not None
            return _Recipe(
                kind="raise_hold_expiring",
                body=RaiseHoldExpiring(hours_left=due.hours_left),
                parts=(due_at, str(due.hours_left)),
            )
        case DueKind.CLOSE | DueKind.REFUND | DueKind.SETTLE | DueKind.COMPENSATE:
            return _Recipe(kind="expire_intent", body=ExpireIntent(due_at=due.at), parts=(due_at,))
        case _:
            assert_never(due.kind)

"""What is due → the command that asks for it, with an id that follows from state and due time alone.

The tick judges nothing: Harbor decides each command by the log's time. The same due work asked for twice, before and
after a restart, is one command.
"""

import json
from datetime import datetime
from typing import assert_never

from schemas.due import Due, DueKind
from schemas.ids import TenantId, command_id_of
from schemas.instants import format_instant
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


def due_command(intent: IntentState, due: Due) -> Command:
    body = _body(intent, due)
    kind = type(body).__name__
    said = [
        intent.intent_id,
        str(intent.last_seq),
        due.kind.value,
        _instant(due.at),
        str(due.issue),
    ]
    return Command(
        command_id=command_id_of("recovery", TenantId(intent.tenant_id), *said),
        tenant_id=intent.tenant_id,
        intent_id=intent.intent_id,
        issuer=Issuer.RECOVERY,
        issuer_mac=EMPTY_MAC,
        actor=ACTOR,
        input_hash=input_hash_of("recovery", kind, json.dumps(said).encode()),
        body=body,
    )


def _body(intent: IntentState, due: Due) -> CommandBody:
    match due.kind:
        case DueKind.CLOSE | DueKind.REFUND | DueKind.SETTLE | DueKind.COMPENSATE:
            return ExpireIntent(due_at=due.at)
        case DueKind.WARN:
            assert due.hours_left is not None
            return RaiseHoldExpiring(hours_left=due.hours_left)
        case DueKind.REISSUE:
            assert intent.hold.effect_id is not None
            assert due.issue is not None
            return ReissueEffect(effect_id=intent.hold.effect_id, issue=due.issue)
        case _:
            assert_never(due.kind)


def _instant(instant: datetime) -> str:
    return format_instant(instant)

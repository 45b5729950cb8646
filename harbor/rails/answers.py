"""A rail's answer → the command that tells Harbor, with an id that follows from what was said.

The same answer said twice is one command; another answer to the same effect is another command, and Harbor judges it.
"""

import json

from harbor.rails.ports import RailAnswer
from schemas.ids import TenantId, command_id_of
from schemas.instants import format_instant
from schemas.messages.commands import (
    EMPTY_MAC,
    Command,
    Issuer,
    RecordRailAnswer,
    input_hash_of,
)
from schemas.messages.effects import Effect
from schemas.messages.shared import Actor, ActorKind


def answer_command(effect: Effect, answer: RailAnswer) -> Command:
    said = json.dumps(
        [
            answer.kind.value,
            answer.rail_object,
            answer.amount_minor,
            answer.currency,
            answer.rail_status,
            answer.hold_expires_at and format_instant(answer.hold_expires_at),
            answer.code,
        ],
        separators=(",", ":"),
    ).encode()
    tenant_id = TenantId(effect.tenant_id)
    return Command(
        command_id=command_id_of("rail-answer", tenant_id, effect.effect_id, said),
        tenant_id=effect.tenant_id,
        intent_id=effect.intent_id,
        issuer=Issuer.RAILS,
        issuer_mac=EMPTY_MAC,
        actor=Actor(kind=ActorKind.RAIL, ref=effect.settlement_mode.value),
        input_hash=input_hash_of("rail-answer", effect.effect_id, said),
        body=RecordRailAnswer(
            effect_id=effect.effect_id,
            action=effect.action,
            kind=answer.kind,
            rail_object=answer.rail_object,
            amount_minor=answer.amount_minor,
            currency=answer.currency,
            rail_status=answer.rail_status,
            settlement_config_version=effect.settlement_config_version,
            settlement_mode=effect.settlement_mode,
            hold_expires_at=answer.hold_expires_at,
            code=answer.code,
        ),
    )

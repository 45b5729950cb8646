"""Commands as a busy gateway sends them: distinct parties, keys, bodies and nonces, so that nothing can be cached.

An intent's four commands (create, fund, evidence, confirm) come with the two answers of its rail; each stage of all
intents is one list, so that whoever sends them keeps the order that one intent needs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.canonical import ed25519, evidence_bytes, intent_bytes
from schemas.canonical.evidence_bytes import EvidenceFrame, artifacts_digest
from schemas.canonical.intent_bytes import IntentFrame, tools_digest
from schemas.canonical.json_digest import jd_bytes
from schemas.ids import (
    CommandId,
    IntentId,
    TenantId,
    command_id_of,
    effect_id_of,
    uuid8_of,
)
from schemas.instants import format_instant
from schemas.messages.commands import (
    EMPTY_MAC,
    Command,
    CommandBody,
    ConfirmSettlement,
    CreateIntent,
    FundIntent,
    Issuer,
    ProvisionTenant,
    RecordRailAnswer,
    SpentNonce,
    SubmitEvidence,
    input_hash_of,
)
from schemas.messages.shared import (
    Actor,
    ActorKind,
    Environment,
    RailAction,
    RailAnswerKind,
    SettlementMode,
)

_AMOUNT_MIN = 500
_PREDICATE = (
    b'{"root":{"clauses":[{"op":"matches_schema"},{"op":"eq","path":["status"],"value":"completed"},'
    b'{"op":"lte","path":["cost_cents"],"value_from":"amount_cents"}],"op":"all"},"version":1}'
)
_SCHEMA = (
    b'{"properties":{"cost_cents":{"minimum":0,"type":"integer"},"status":{"enum":["completed","failed"],'
    b'"type":"string"}},"required":["status"],"type":"object"}'
)
_TOOLS = ("travel.search", "travel.book_hotel")
_PROOF_LIFETIME = timedelta(minutes=4)
_HOLD_LIFETIME = timedelta(days=7)
_DEADLINE_AFTER = timedelta(days=3)
# What lies between two steps of one intent, as in life: others.
_CHUNK = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """One list per step of an intent's life, intents in the same order in each."""

    create: Sequence[Command]
    fund: Sequence[Command]
    placed: Sequence[Command]
    evidence: Sequence[Command]
    confirm: Sequence[Command]
    captured: Sequence[Command]

    def in_order(self) -> tuple[Sequence[Command], ...]:
        return (
            self.create,
            self.fund,
            self.placed,
            self.evidence,
            self.confirm,
            self.captured,
        )


def tenants(count: int) -> tuple[TenantId, ...]:
    return tuple(TenantId(f"bench-{number:04}") for number in range(count))


def provisioned(tenant_ids: Sequence[TenantId]) -> list[Command]:
    return [
        _command(
            tenant_id,
            ProvisionTenant(
                environment=Environment.SANDBOX,
                settlement_config_version=1,
                settlement_mode=SettlementMode.SIMULATED,
                origin=f"paybond/bench/{tenant_id}",
            ),
            name="provision",
            intent_id=None,
            issuer=Issuer.CLI,
            now=None,
        )
        for tenant_id in tenant_ids
    ]


def stages(
    tenant_ids: Sequence[TenantId], intents: int, *, now: datetime, run: str = "run"
) -> Stages:
    """`intents` in all, tenants taking turns; `run` makes ids that no other run has."""
    made = [
        _life(tenant_ids[number % len(tenant_ids)], f"{run}-{number}", now=now)
        for number in range(intents)
    ]
    columns = list(zip(*made, strict=True))
    return Stages(
        create=columns[0],
        fund=columns[1],
        placed=columns[2],
        evidence=columns[3],
        confirm=columns[4],
        captured=columns[5],
    )


def creations(
    tenant_ids: Sequence[TenantId], intents: int, *, now: datetime, run: str
) -> list[Command]:
    """The first step alone, for a past that is made of intents."""
    return [
        _creation(tenant_ids[number % len(tenant_ids)], f"{run}-{number}", now=now)
        for number in range(intents)
    ]


def mixed(lives: Stages) -> list[Command]:
    """Step after step of a few intents, then of the next: no two steps of one intent stand side by side."""
    steps = lives.in_order()
    return [
        command
        for at in range(0, len(steps[0]), _CHUNK)
        for step in steps
        for command in step[at : at + _CHUNK]
    ]


def _creation(tenant_id: TenantId, name: str, *, now: datetime) -> Command:
    intent_id = _intent_id(tenant_id, name)
    principal, payee = _seed(tenant_id, name, "principal"), _seed(tenant_id, name, "payee")
    body = _create(
        tenant_id,
        intent_id,
        name=name,
        principal=principal,
        payee=payee,
        amount=_amount(principal),
        now=now,
    )
    return _command(
        tenant_id,
        body,
        name=f"{name}/create",
        intent_id=intent_id,
        issuer=Issuer.GATEWAY,
        now=now,
    )


def _intent_id(tenant_id: TenantId, name: str) -> IntentId:
    return IntentId(uuid8_of("bench.intent", tenant_id, name))


def _amount(principal: bytes) -> int:
    return _AMOUNT_MIN + int.from_bytes(principal[:2], "big")


def _life(tenant_id: TenantId, name: str, *, now: datetime) -> tuple[Command, ...]:
    intent_id = _intent_id(tenant_id, name)
    principal, payee = _seed(tenant_id, name, "principal"), _seed(tenant_id, name, "payee")
    amount = _amount(principal)
    evidence = _evidence(tenant_id, intent_id, name=name, payee=payee, amount=amount, now=now)

    def command(body: CommandBody, step: str) -> Command:
        return _command(
            tenant_id,
            body,
            name=f"{name}/{step}",
            intent_id=intent_id,
            issuer=Issuer.RAILS if isinstance(body, RecordRailAnswer) else Issuer.GATEWAY,
            now=now,
        )

    fund, confirm = command(FundIntent(), "fund"), command(ConfirmSettlement(), "confirm")
    placed = _rail_answer(fund, RailAction.HOLD, amount, name, now=now)
    captured = _rail_answer(confirm, RailAction.CAPTURE, amount, name, now=now)
    return (
        _creation(tenant_id, name, now=now),
        fund,
        command(placed, "placed"),
        command(evidence, "evidence"),
        confirm,
        command(captured, "captured"),
    )


def _seed(*parts: str) -> bytes:
    return hashlib.sha256("/".join(parts).encode()).digest()


def _create(
    tenant_id: TenantId,
    intent_id: IntentId,
    *,
    name: str,
    principal: bytes,
    payee: bytes,
    amount: int,
    now: datetime,
) -> CreateIntent:
    body = CreateIntent(
        signing_version=6,
        principal_did=f"did:web:{name}.principal.example",
        principal_pubkey=ed25519.public_key(principal),
        principal_signature=bytes(64),
        payee_did=f"did:web:{name}.payee.example",
        payee_pubkey=ed25519.public_key(payee),
        budget=b'{"currency":"usd","max_spend_usd":%d}' % (amount // 100 + 1),
        evidence_schema=_SCHEMA,
        predicate=_PREDICATE,
        amount_minor=amount,
        currency="usd",
        deadline=format_instant(now + _DEADLINE_AFTER),
        settlement_rail="stripe_connect",
        allowed_tools=_TOOLS,
        predicate_ref="",
    )
    assert body.predicate is not None
    frame = IntentFrame(
        version=6,
        tenant_id=tenant_id,
        intent_id=intent_id,
        principal_did=body.principal_did,
        payee_did=body.payee_did,
        amount_cents=amount,
        currency=body.currency,
        deadline=body.deadline,
        budget_digest=jd_bytes(body.budget),
        evidence_schema_digest=jd_bytes(body.evidence_schema),
        predicate_digest=jd_bytes(body.predicate),
        predicate_ref="",
        tools_digest=tools_digest(_TOOLS),
        settlement_rail=body.settlement_rail,
        payee_public_key=body.payee_pubkey,
    )
    return replace(
        body, principal_signature=ed25519.sign(principal, intent_bytes.sign_bytes(frame))
    )


def _evidence(
    tenant_id: TenantId, intent_id: IntentId, *, name: str, payee: bytes, amount: int, now: datetime
) -> SubmitEvidence:
    payload = b'{"cost_cents":%d,"status":"completed"}' % (amount - 1)
    artifact = _seed(name, "artifact")
    submitted_at = format_instant(now)
    frame = EvidenceFrame(
        tenant_id=tenant_id,
        intent_id=intent_id,
        payee_did=f"did:web:{name}.payee.example",
        payload_digest=jd_bytes(payload),
        artifacts_digest=artifacts_digest((artifact,)),
        submitted_at=submitted_at,
    )
    return SubmitEvidence(
        payload=payload,
        artifacts=(artifact,),
        payee_did=frame.payee_did,
        payee_pubkey=ed25519.public_key(payee),
        payee_signature=ed25519.sign(payee, evidence_bytes.sign_bytes(frame)),
        submitted_at=submitted_at,
    )


def _rail_answer(
    asking: Command, action: RailAction, amount: int, name: str, *, now: datetime
) -> RecordRailAnswer:
    """What the simulator answers; the effect's id follows from the command that asks."""
    is_hold = action is RailAction.HOLD
    return RecordRailAnswer(
        # The hold is the intent's first request to its rail, the capture its second.
        effect_id=effect_id_of(CommandId(asking.command_id), 1 if is_hold else 2),
        action=action,
        kind=RailAnswerKind.SUCCEEDED,
        rail_object=f"sim_{name}",
        amount_minor=amount,
        currency="usd",
        rail_status="requires_capture" if is_hold else "succeeded",
        settlement_config_version=1,
        settlement_mode=SettlementMode.SIMULATED,
        hold_expires_at=now + _HOLD_LIFETIME if is_hold else None,
        code=None,
    )


def _command(
    tenant_id: TenantId,
    body: CommandBody,
    *,
    name: str,
    intent_id: IntentId | None,
    issuer: Issuer,
    now: datetime | None,
) -> Command:
    spent = None
    if issuer is Issuer.GATEWAY and now is not None:
        nonce = _seed(tenant_id, name, "nonce").hex()[:32]
        spent = SpentNonce(key_id="agent-key", nonce=nonce, expires_at=now + _PROOF_LIFETIME)
    kinds = {
        Issuer.GATEWAY: Actor(kind=ActorKind.API_KEY, ref="key-1"),
        Issuer.RAILS: Actor(kind=ActorKind.RAIL, ref="simulated"),
        Issuer.CLI: Actor(kind=ActorKind.CLI, ref="operator"),
    }
    return Command(
        command_id=command_id_of("bench", tenant_id, name),
        tenant_id=tenant_id,
        intent_id=intent_id,
        issuer=issuer,
        issuer_mac=EMPTY_MAC,
        actor=kinds[issuer],
        input_hash=input_hash_of("BENCH", name, name.encode()),
        body=body,
        spent=spent,
        salt=_seed(name, "salt") if isinstance(body, SubmitEvidence) else None,
    )

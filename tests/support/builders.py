"""Parties, documents and commands as real clients make them, signed; every default can be replaced by keyword."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.canonical import ed25519, evidence_bytes, intent_bytes
from schemas.canonical.evidence_bytes import EvidenceFrame, artifacts_digest
from schemas.canonical.intent_bytes import IntentFrame, tools_digest
from schemas.canonical.json_digest import jd_bytes
from schemas.ids import CommandId, IntentId, TenantId, command_id_of, uuid8_of
from schemas.instants import format_instant
from schemas.messages.commands import (
    EMPTY_MAC,
    Command,
    CommandBody,
    ConfirmSettlement,
    CreateIntent,
    ExpireIntent,
    FundIntent,
    Issuer,
    OpenDispute,
    PauseRails,
    ProvisionTenant,
    RaiseHoldExpiring,
    RecordRailAnswer,
    RecordRailObservation,
    ReissueEffect,
    ReleaseQuarantine,
    ResolveDispute,
    ResumeRails,
    SpentNonce,
    SubmitEvidence,
    WithdrawDispute,
    input_hash_of,
)
from schemas.messages.effects import Effect
from schemas.messages.shared import (
    Actor,
    ActorKind,
    Environment,
    RailAction,
    RailAnswerKind,
    SettlementMode,
)

T0 = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)
TENANT = TenantId("tenant-one")
AMOUNT = 20_000
CURRENCY = "usd"
DEADLINE = T0 + timedelta(days=3)
HOLD_LIFETIME = timedelta(days=7)
RAIL_OBJECT = "pi_test_1"
ALWAYS = b'{"root":{"op":"true"},"version":1}'
NEVER = b'{"root":{"clause":{"op":"true"},"op":"not"},"version":1}'
# Unknown for a payload without `paid`.
IS_PAID = b'{"root":{"op":"eq","path":["paid"],"value":true},"version":1}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A principal or payee."""

    did: str
    seed: bytes

    @property
    def pubkey(self) -> bytes:
        return ed25519.public_key(self.seed)


PRINCIPAL = Party(did="did:web:principal.example", seed=b"\x11" * 32)
PAYEE = Party(did="did:web:payee.example", seed=b"\x22" * 32)
STRANGER = Party(did="did:web:stranger.example", seed=b"\x33" * 32)


def an_intent_id(number: int = 1) -> IntentId:
    return IntentId(uuid8_of("test.intent", str(number)))


def a_command_id(number: int) -> CommandId:
    return command_id_of("test", TENANT, str(number))


def provision_tenant(
    *,
    environment: Environment = Environment.SANDBOX,
    settlement_mode: SettlementMode = SettlementMode.SIMULATED,
) -> ProvisionTenant:
    return ProvisionTenant(
        environment=environment,
        settlement_config_version=1,
        settlement_mode=settlement_mode,
        origin=f"paybond/local/{TENANT}",
    )


def create_intent(
    *,
    intent_id: IntentId | None = None,
    principal: Party = PRINCIPAL,
    payee: Party = PAYEE,
    deadline: datetime | str = DEADLINE,
    signed_deadline: str | None = None,
    **changes: Any,
) -> CreateIntent:
    """Signed by `principal` over what is sent, `changes` included."""
    body = replace(
        CreateIntent(
            signing_version=6,
            principal_did=principal.did,
            principal_pubkey=principal.pubkey,
            principal_signature=bytes(64),
            payee_did=payee.did,
            payee_pubkey=payee.pubkey,
            budget=b'{"currency":"usd","max_spend_usd":200}',
            evidence_schema=b'{"required":["status"],"type":"object"}',
            predicate=ALWAYS,
            amount_minor=AMOUNT,
            currency=CURRENCY,
            deadline=deadline if isinstance(deadline, str) else format_instant(deadline),
            settlement_rail="stripe_connect",
            allowed_tools=("Travel.Book_Hotel", "travel.search"),
            predicate_ref="",
        ),
        **changes,
    )
    if "principal_signature" in changes or body.predicate is None:
        return body
    frame = IntentFrame(
        version=6,
        tenant_id=TENANT,
        intent_id=intent_id or an_intent_id(),
        principal_did=body.principal_did,
        payee_did=body.payee_did,
        amount_cents=body.amount_minor,
        currency=body.currency,
        deadline=signed_deadline or body.deadline,
        budget_digest=jd_bytes(body.budget),
        evidence_schema_digest=jd_bytes(body.evidence_schema),
        predicate_digest=jd_bytes(body.predicate),
        predicate_ref=body.predicate_ref,
        tools_digest=_tools_digest_or_zeros(body.allowed_tools),
        settlement_rail=body.settlement_rail,
        payee_public_key=body.payee_pubkey,
    )
    signature = ed25519.sign(principal.seed, intent_bytes.sign_bytes(frame))
    return replace(body, principal_signature=signature)


def _tools_digest_or_zeros(tools: tuple[str, ...]) -> bytes:
    """Names that nobody can sign are refused before a signature is looked at."""
    return tools_digest(tools) if all(map(str.strip, tools)) else bytes(32)


def submit_evidence(
    *,
    now: datetime,
    intent_id: IntentId | None = None,
    payee: Party = PAYEE,
    **changes: Any,
) -> SubmitEvidence:
    """Signed by `payee` over what is sent, `changes` included."""
    body = replace(
        SubmitEvidence(
            payload=b'{"cost_cents":18700,"status":"done"}',
            artifacts=(b"\xab" * 32,),
            payee_did=payee.did,
            payee_pubkey=payee.pubkey,
            payee_signature=bytes(64),
            submitted_at=format_instant(now),
        ),
        **changes,
    )
    if "payee_signature" in changes:
        return body
    frame = EvidenceFrame(
        tenant_id=TENANT,
        intent_id=intent_id or an_intent_id(),
        payee_did=body.payee_did,
        payload_digest=jd_bytes(body.payload),
        artifacts_digest=artifacts_digest(body.artifacts),
        submitted_at=body.submitted_at,
    )
    signature = ed25519.sign(payee.seed, evidence_bytes.sign_bytes(frame))
    return replace(body, payee_signature=signature)


def a_command(
    body: CommandBody,
    *,
    number: int,
    intent_id: IntentId | None = None,
    command_id: CommandId | None = None,
    nonce: str | None = None,
) -> Command:
    """The command that carries `body`, under its usual issuer; `number` makes its id."""
    issuer, actor = _sender_of(body)
    is_about_tenant = ProvisionTenant | ReleaseQuarantine | PauseRails | ResumeRails
    is_about_intent = not isinstance(body, is_about_tenant)
    spent = None
    if nonce is not None:
        spent = SpentNonce(key_id="agent-key", nonce=nonce, expires_at=T0 + timedelta(minutes=4))
    return Command(
        command_id=command_id or a_command_id(number),
        tenant_id=TENANT,
        intent_id=(intent_id or an_intent_id()) if is_about_intent else None,
        issuer=issuer,
        issuer_mac=EMPTY_MAC,
        actor=actor,
        input_hash=input_hash_of("TEST", type(body).__name__, repr(body).encode()),
        body=body,
        spent=spent,
        salt=b"\x5a" * 32 if isinstance(body, SubmitEvidence) else None,
    )


def _sender_of(body: CommandBody) -> tuple[Issuer, Actor]:
    match body:
        case RecordRailAnswer() | RecordRailObservation():
            return Issuer.RAILS, Actor(kind=ActorKind.RAIL, ref="simulated")
        case ExpireIntent() | ReissueEffect() | RaiseHoldExpiring():
            return Issuer.RECOVERY, Actor(kind=ActorKind.SYSTEM, ref="recovery")
        case ProvisionTenant() | ReleaseQuarantine() | PauseRails() | ResumeRails():
            return Issuer.CLI, Actor(kind=ActorKind.CLI, ref="operator")
        case (
            CreateIntent()
            | FundIntent()
            | SubmitEvidence()
            | ConfirmSettlement()
            | OpenDispute()
            | WithdrawDispute()
            | ResolveDispute()
        ):
            return Issuer.GATEWAY, Actor(kind=ActorKind.API_KEY, ref="key-1")


_DONE_AT_RAIL = {
    RailAction.HOLD: "requires_capture",
    RailAction.CAPTURE: "succeeded",
    RailAction.CANCEL: "canceled",
    RailAction.REFUND: "refunded",
}
_NOT_DONE_AT_RAIL = {
    RailAnswerKind.DECLINED: "requires_payment_method",
    RailAnswerKind.GONE: "canceled",
}


def rail_answer(
    effect: Effect,
    kind: RailAnswerKind = RailAnswerKind.SUCCEEDED,
    *,
    now: datetime = T0,
    **changes: Any,
) -> RecordRailAnswer:
    """What a rail says that did exactly what `effect` asks (or refused it, or had nothing left to do it with)."""
    is_placed = kind is RailAnswerKind.SUCCEEDED and effect.action is RailAction.HOLD
    answer = RecordRailAnswer(
        effect_id=effect.effect_id,
        action=effect.action,
        kind=kind,
        rail_object=effect.rail_object or RAIL_OBJECT,
        amount_minor=effect.amount_minor,
        currency=effect.currency,
        rail_status=_NOT_DONE_AT_RAIL.get(kind, _DONE_AT_RAIL[effect.action]),
        settlement_config_version=effect.settlement_config_version,
        settlement_mode=effect.settlement_mode,
        hold_expires_at=now + HOLD_LIFETIME if is_placed else None,
        code=None if kind is RailAnswerKind.SUCCEEDED else "card_declined",
    )
    return replace(answer, **changes)


def rail_observation(**changes: Any) -> RecordRailObservation:
    """A look that shows the whole amount held."""
    seen = RecordRailObservation(
        rail_object=RAIL_OBJECT,
        rail_status="requires_capture",
        amount_minor=AMOUNT,
        currency=CURRENCY,
        is_gone=False,
        checked_at=T0,
    )
    return replace(seen, **changes)

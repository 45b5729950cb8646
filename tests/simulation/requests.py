"""Requests as an integrator's client makes them: bodies that principal or payee signed, and a proof for each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.auth.recognition import HEADER
from gateway.commands.submit import IncomingRequest, Mutation
from gateway.routes import disputes, intents
from schemas.canonical import base64_strict, ed25519, evidence_bytes, intent_bytes
from schemas.canonical.evidence_bytes import EvidenceFrame, artifacts_digest
from schemas.canonical.intent_bytes import IntentFrame, tools_digest
from schemas.canonical.json_digest import jd_bytes
from schemas.canonical.recognition_proof import VERIFIER_ID, header_value, make_proof
from schemas.ids import CommandId, TenantId, command_id_of
from schemas.instants import format_instant
from schemas.messages.commands import input_hash_of
from tests.support.builders import Party

INTENTS = "/harbor/intents"
OPERATOR = "/harbor/operator/v1/intents"
_BUDGET = b'{"currency":"usd","max_spend_usd":200}'
_SCHEMA = b'{"required":["status"],"type":"object"}'
_TOOLS = ("travel.search",)
_ARTIFACT = b"\xab" * 32
_METHOD = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a client wants, apart from how often it asks: the body is what its idempotency key stands for."""

    name: str
    tenant_id: TenantId
    intent_id: str
    path: str
    body: bytes
    mutation: Mutation
    is_signed_well: bool = True

    @property
    def input_hash(self) -> bytes:
        return input_hash_of(_METHOD, self.path, self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Under what a wish is decided once: its key, or else the nonce of its proof."""

    key: str | None
    nonce: str

    def command_id(self, wish: Wish, key_id: str) -> CommandId:
        tenant_id, path = wish.tenant_id, wish.path
        if self.key is not None:
            return command_id_of("key", tenant_id, _METHOD, path, self.key)
        assert wish.mutation.purpose is not None, "an operator's request needs a key to be known by"
        return command_id_of("proof", tenant_id, _METHOD, path, key_id, self.nonce)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    tenant_id: TenantId
    bearer: str
    key_id: str
    seed: bytes


def request_of(
    wish: Wish, identity: Identity, who: Credentials, *, now: datetime, request_id: str
) -> IncomingRequest:
    headers = {"authorization": (f"Bearer {who.bearer}",)}
    if identity.key is not None:
        headers["idempotency-key"] = (identity.key,)
    if wish.mutation.purpose is not None:
        proof = make_proof(
            seed=who.seed,
            key_id=who.key_id,
            issued_at=now - timedelta(minutes=1),
            expires_at=now + timedelta(minutes=3),
            nonce=identity.nonce,
            purpose=wish.mutation.purpose,
            tenant_id=who.tenant_id,
            method=_METHOD,
            path=wish.path,
            body=wish.body,
            verifier_id=VERIFIER_ID,
        )
        headers[HEADER] = (header_value(proof),)
    return IncomingRequest(
        method=_METHOD, path=wish.path, headers=headers, body=wish.body, request_id=request_id
    )


def create(
    tenant_id: TenantId,
    intent_id: str,
    *,
    principal: Party,
    payee: Party,
    amount_minor: int,
    deadline: datetime,
    predicate: bytes,
    is_signed_well: bool = True,
) -> Wish:
    frame = IntentFrame(
        version=6,
        tenant_id=tenant_id,
        intent_id=intent_id,
        principal_did=principal.did,
        payee_did=payee.did,
        amount_cents=amount_minor if is_signed_well else amount_minor + 1,
        currency="usd",
        deadline=format_instant(deadline),
        budget_digest=jd_bytes(_BUDGET),
        evidence_schema_digest=jd_bytes(_SCHEMA),
        predicate_digest=jd_bytes(predicate),
        predicate_ref="",
        tools_digest=tools_digest(_TOOLS),
        settlement_rail="stripe_connect",
        payee_public_key=payee.pubkey,
    )
    members = {
        "intent_id": intent_id,
        "principal_did": principal.did,
        "principal_pubkey": base64_strict.encode(principal.pubkey),
        "principal_signature": base64_strict.encode(
            ed25519.sign(principal.seed, intent_bytes.sign_bytes(frame))
        ),
        "payee_did": payee.did,
        "payee_pubkey": base64_strict.encode(payee.pubkey),
        "budget": json.loads(_BUDGET),
        "currency": "usd",
        "amount_cents": amount_minor,
        "evidence_schema": json.loads(_SCHEMA),
        "deadline": format_instant(deadline),
        "settlement_rail": "stripe_connect",
        "allowed_tools": list(_TOOLS),
        "signing_version": 6,
        "predicate_dsl": json.loads(predicate),
        "policy_binding": None,
    }
    return Wish(
        name="create",
        tenant_id=tenant_id,
        intent_id=intent_id,
        path=INTENTS,
        body=_encoded(members),
        mutation=intents.CREATE,
        is_signed_well=is_signed_well,
    )


def evidence(
    tenant_id: TenantId,
    intent_id: str,
    *,
    payee: Party,
    payload: bytes,
    now: datetime,
    is_signed_well: bool = True,
) -> Wish:
    frame = EvidenceFrame(
        tenant_id=tenant_id,
        intent_id=intent_id,
        payee_did=payee.did,
        payload_digest=jd_bytes(payload),
        artifacts_digest=artifacts_digest((_ARTIFACT,) if is_signed_well else ()),
        submitted_at=format_instant(now),
    )
    members = {
        "payload": json.loads(payload),
        "artifacts": [_ARTIFACT.hex()],
        "payee_did": payee.did,
        "payee_pubkey": base64_strict.encode(payee.pubkey),
        "payee_signature": base64_strict.encode(
            ed25519.sign(payee.seed, evidence_bytes.sign_bytes(frame))
        ),
        "submitted_at": format_instant(now),
    }
    return Wish(
        name="evidence",
        tenant_id=tenant_id,
        intent_id=intent_id,
        path=f"{INTENTS}/{intent_id}/evidence",
        body=_encoded(members),
        mutation=intents.SUBMIT_EVIDENCE,
        is_signed_well=is_signed_well,
    )


def fund(tenant_id: TenantId, intent_id: str, *, body: bytes = b"{}") -> Wish:
    return Wish(
        name="fund",
        tenant_id=tenant_id,
        intent_id=intent_id,
        path=f"{INTENTS}/{intent_id}/fund",
        body=body,
        mutation=intents.FUND,
    )


def confirm(tenant_id: TenantId, intent_id: str, *, body: bytes = b"{}") -> Wish:
    return Wish(
        name="confirm",
        tenant_id=tenant_id,
        intent_id=intent_id,
        path=f"{INTENTS}/{intent_id}/settlement/confirm",
        body=body,
        mutation=intents.CONFIRM,
    )


def dispute(tenant_id: TenantId, intent_id: str, verb: str, **members: Any) -> Wish:
    mutation = {
        "open": disputes.OPEN,
        "resolve": disputes.RESOLVE,
        "withdraw": disputes.WITHDRAW,
    }[verb]
    return Wish(
        name=f"{verb} dispute",
        tenant_id=tenant_id,
        intent_id=intent_id,
        path=f"{OPERATOR}/{intent_id}/dispute/{verb}",
        body=_encoded({"reason_code": "late"} | members),
        mutation=mutation,
    )


def _encoded(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()

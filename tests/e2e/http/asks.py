"""Requests as an integrator's client sends them: signed bodies, fresh proofs, and copies with one thing changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from gateway.auth.recognition import HEADER
from schemas.canonical import base64_strict
from schemas.canonical.recognition_proof import VERIFIER_ID, header_value, make_proof
from schemas.ids import IntentId
from schemas.messages.commands import CreateIntent, SubmitEvidence
from tests.support import builders
from tests.support.builders import an_intent_id
from tests.support.gateway_world import Credentials, GatewayWorld

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "vectors.json").read_text()
)
INTENTS = "/harbor/intents"
INTENT = an_intent_id()
_NONCES = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request, byte for byte; sending it again is what a retrying client does."""

    path: str
    body: bytes = b"{}"
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()

    def without(self, name: str) -> "Ask":
        return replace(self, headers=tuple(header for header in self.headers if header[0] != name))

    def having(self, name: str, *values: str) -> "Ask":
        added = tuple((name, value) for value in values)
        return replace(self, headers=self.without(name).headers + added)


async def send(world: GatewayWorld, ask: Ask) -> httpx.Response:
    return await world.client.request(
        ask.method, ask.path, content=ask.body, headers=list(ask.headers)
    )


def encoded(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def members_of(ask: Ask) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(ask.body)
    return members


def proof_of(world: GatewayWorld, who: Credentials, ask: Ask, purpose: str, **changes: Any) -> str:
    """The proof header of this request, by a fresh nonce, valid from a minute ago for three to come."""
    now: datetime = changes.pop("now", world.clock.now())
    made: dict[str, Any] = {
        "seed": who.seed,
        "key_id": who.key_id,
        "issued_at": now - timedelta(minutes=1),
        "expires_at": now + timedelta(minutes=3),
        "nonce": f"nonce-{next(_NONCES)}",
        "purpose": purpose,
        "tenant_id": who.tenant_id,
        "method": ask.method,
        "path": ask.path,
        "body": ask.body,
        "verifier_id": VERIFIER_ID,
    }
    return header_value(make_proof(**(made | changes)))


@dataclass(frozen=True, slots=True)
class Client:
    """One integrator: a world and what it holds there. Every call makes a request with a fresh proof."""

    world: GatewayWorld
    who: Credentials

    def proven(self, path: str, body: bytes, purpose: str, key: str | None = None) -> Ask:
        ask = self.unproven(path, body, key)
        return ask.having(HEADER, proof_of(self.world, self.who, ask, purpose))

    def unproven(self, path: str, body: bytes = b"{}", key: str | None = None) -> Ask:
        headers = [
            ("authorization", f"Bearer {self.who.bearer}"),
            ("content-type", "application/json"),
        ]
        if key is not None:
            headers.append(("idempotency-key", key))
        return Ask(path=path, body=body, headers=tuple(headers))

    def create_of(self, members: Mapping[str, Any], *, key: str | None = None) -> Ask:
        return self.proven(INTENTS, encoded(members), "harbor.intent.create", key)

    def create(
        self, *, intent_id: IntentId = INTENT, key: str | None = None, **changes: Any
    ) -> Ask:
        """`changes` = other members of the signed body, as `tests.support.builders` takes them."""
        body = builders.create_intent(intent_id=intent_id, **changes)
        return self.create_of(create_members(body, intent_id), key=key)

    def fund(self, intent_id: str = INTENT, *, key: str | None = None, body: bytes = b"{}") -> Ask:
        return self.proven(f"{INTENTS}/{intent_id}/fund", body, "harbor.intent.fund", key)

    def evidence_of(
        self, members: Mapping[str, Any], *, intent_id: str = INTENT, key: str | None = None
    ) -> Ask:
        path = f"{INTENTS}/{intent_id}/evidence"
        return self.proven(path, encoded(members), "harbor.intent.evidence.submit", key)

    def evidence(
        self, *, intent_id: IntentId = INTENT, key: str | None = None, **changes: Any
    ) -> Ask:
        now = self.world.clock.now()
        body = builders.submit_evidence(now=now, intent_id=intent_id, **changes)
        return self.evidence_of(evidence_members(body), intent_id=intent_id, key=key)

    def confirm(
        self, intent_id: str = INTENT, *, key: str | None = None, body: bytes = b"{}"
    ) -> Ask:
        path = f"{INTENTS}/{intent_id}/settlement/confirm"
        return self.proven(path, body, "harbor.intent.settlement.confirm", key)

    def dispute(
        self, verb: str, intent_id: str = INTENT, *, key: str | None = None, **members: Any
    ) -> Ask:
        path = f"/harbor/operator/v1/intents/{intent_id}/dispute/{verb}"
        return self.unproven(path, encoded({"reason_code": "late"} | members), key)

    async def funded(self, **changes: Any) -> None:
        """The intent exists and its money is held."""
        await _succeed(self.world, self.create(**changes))
        await _succeed(self.world, self.fund())

    async def evidenced(self, **changes: Any) -> None:
        await self.funded(**changes)
        await _succeed(self.world, self.evidence())

    async def final(self) -> None:
        await self.evidenced()
        await _succeed(self.world, self.confirm())

    async def disputed(self) -> None:
        await self.funded()
        await _succeed(self.world, self.dispute("open"))


async def _succeed(world: GatewayWorld, ask: Ask) -> None:
    response = await send(world, ask)
    assert response.status_code in {200, 201}, response.text


def create_members(body: CreateIntent, intent_id: str) -> dict[str, Any]:
    return {
        "intent_id": intent_id,
        "principal_did": body.principal_did,
        "principal_pubkey": base64_strict.encode(body.principal_pubkey),
        "principal_signature": base64_strict.encode(body.principal_signature),
        "payee_did": body.payee_did,
        "payee_pubkey": base64_strict.encode(body.payee_pubkey),
        "budget": json.loads(body.budget),
        "currency": body.currency,
        "amount_cents": body.amount_minor,
        "evidence_schema": json.loads(body.evidence_schema),
        "deadline": body.deadline,
        "settlement_rail": body.settlement_rail,
        "allowed_tools": list(body.allowed_tools),
        "signing_version": body.signing_version,
        "predicate_dsl": json.loads(body.predicate or b"{}"),
        "policy_binding": None,
    }


def evidence_members(body: SubmitEvidence) -> dict[str, Any]:
    return {
        "payload": json.loads(body.payload),
        "artifacts": [artifact.hex() for artifact in body.artifacts],
        "payee_did": body.payee_did,
        "payee_pubkey": base64_strict.encode(body.payee_pubkey),
        "payee_signature": base64_strict.encode(body.payee_signature),
        "submitted_at": body.submitted_at,
    }

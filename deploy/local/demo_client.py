"""A client of the public API as an integrator would write it: signs, sends, retries. HTTP only.

A retry repeats the very same request, its proof and nonce too: 503 and a lost answer mean "not known", and the server
answers the repeat with the first answer.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from deploy.local.local_file import TenantAccess
from schemas.canonical import base64_strict, ed25519, evidence_bytes, intent_bytes
from schemas.canonical.evidence_bytes import EvidenceFrame
from schemas.canonical.intent_bytes import IntentFrame
from schemas.canonical.json_digest import jd
from schemas.canonical.literal_json import parse
from schemas.canonical.recognition_proof import header_value, make_proof
from schemas.errors import OutageError
from schemas.instants import format_instant

PROOF_HEADER: Final = "x-paybond-agent-recognition-proof"
RAIL: Final = "stripe_connect"
TRIES: Final = 3
_RETRIED = frozenset({429, 500, 502, 503, 504})
_PAUSE_SECONDS = 0.5
_PAUSE_SECONDS_MAX = 5.0
_VALID_BEFORE = timedelta(minutes=1)
_VALID_AFTER = timedelta(minutes=4)


class GatewayUnavailableError(OutageError):
    def __init__(self, *, method: str, path: str, reason: str) -> None:
        super().__init__(f"{method} {path}: no answer after {TRIES} tries: {reason}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    status: int
    text: str

    @property
    def document(self) -> Mapping[str, Any]:
        document = json.loads(self.text)
        assert isinstance(document, dict)
        return document

    @property
    def code(self) -> str | None:
        """The error's code, if it is one."""
        error = self.document.get("error")
        return str(error["code"]) if isinstance(error, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentTerms:
    """What a principal signs."""

    intent_id: str
    amount_cents: int
    currency: str
    deadline: str
    budget: Mapping[str, Any]
    evidence_schema: Mapping[str, Any]
    predicate: Mapping[str, Any]
    tools: tuple[str, ...]


class DemoClient:
    """Acts for one tenant's agent and both of its parties. `random_hex` gives nonces."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        tenant: TenantAccess,
        *,
        now: Callable[[], datetime],
        random_hex: Callable[[], str],
    ) -> None:
        self._http = http
        self._tenant = tenant
        self._now = now
        self._random_hex = random_hex
        self.retries = 0

    @property
    def tenant(self) -> TenantAccess:
        return self._tenant

    async def create(self, terms: IntentTerms) -> HttpAnswer:
        return await self._prove(
            "/harbor/intents", "harbor.intent.create", intent_body(self._tenant, terms)
        )

    async def fund(self, intent_id: str) -> HttpAnswer:
        """Poll with it: each call carries a fresh proof."""
        return await self._prove(f"/harbor/intents/{intent_id}/fund", "harbor.intent.fund", b"{}")

    async def submit_evidence(self, intent_id: str, payload: Mapping[str, Any]) -> HttpAnswer:
        return await self._prove(
            f"/harbor/intents/{intent_id}/evidence",
            "harbor.intent.evidence.submit",
            evidence_body(
                self._tenant, intent_id, payload, submitted_at=format_instant(self._second())
            ),
        )

    async def confirm(self, intent_id: str) -> HttpAnswer:
        return await self._prove(
            f"/harbor/intents/{intent_id}/settlement/confirm",
            "harbor.intent.settlement.confirm",
            b"{}",
        )

    async def dispute(self, intent_id: str, action: str, body: Mapping[str, Any]) -> HttpAnswer:
        """`action` is open, resolve or withdraw; an operator's request, without a proof."""
        path = f"/harbor/operator/v1/intents/{intent_id}/dispute/{action}"
        # Without a key each try would be a new command.
        headers = {"idempotency-key": self._random_hex()}
        return await self._send("POST", path, content=json.dumps(body).encode(), headers=headers)

    async def get(
        self,
        path: str,
        *,
        parameters: Mapping[str, str | int] | None = None,
        min_ledger_seq: int | None = None,
    ) -> HttpAnswer:
        """`min_ledger_seq` waits until the read tables have that entry."""
        headers = {}
        if min_ledger_seq is not None:
            headers["x-paybond-min-ledger-seq"] = str(min_ledger_seq)
        return await self._send("GET", path, headers=headers, parameters=parameters)

    async def _prove(self, path: str, purpose: str, body: bytes) -> HttpAnswer:
        headers = proven_headers(
            self._tenant,
            path=path,
            purpose=purpose,
            body=body,
            now=self._second(),
            nonce=self._random_hex(),
        )
        return await self._send("POST", path, content=body, headers=headers)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str],
        parameters: Mapping[str, str | int] | None = None,
    ) -> HttpAnswer:
        """Raises GatewayUnavailableError."""
        authorized = {"authorization": f"Bearer {self._tenant.api_key}", **headers}
        reason = ""
        for number in range(TRIES):
            if number:
                self.retries += 1
            pause = _PAUSE_SECONDS * 2**number
            try:
                answer = await self._http.request(
                    method, path, content=content, headers=authorized, params=parameters
                )
            except httpx.TransportError as error:
                reason = repr(error)
            else:
                if answer.status_code not in _RETRIED:
                    return HttpAnswer(status=answer.status_code, text=answer.text)
                reason = f"{answer.status_code} {answer.text[:200]}"
                if answer.headers.get("retry-after", "").isdigit():
                    pause = float(answer.headers["retry-after"])
            if number < TRIES - 1:
                await asyncio.sleep(min(pause, _PAUSE_SECONDS_MAX))
        raise GatewayUnavailableError(method=method, path=path, reason=reason)

    def _second(self) -> datetime:
        return self._now().replace(microsecond=0)


def proven_headers(
    tenant: TenantAccess, *, path: str, purpose: str, body: bytes, now: datetime, nonce: str
) -> dict[str, str]:
    """A proof by the tenant's agent for one POST of this body; `now` in whole seconds."""
    proof = make_proof(
        seed=tenant.agent_seed,
        key_id=tenant.agent_key_id,
        issued_at=now - _VALID_BEFORE,
        expires_at=now + _VALID_AFTER,
        nonce=nonce,
        purpose=purpose,
        tenant_id=tenant.tenant_id,
        method="POST",
        path=path,
        body=body,
    )
    return {PROOF_HEADER: header_value(proof), "content-type": "application/json"}


def intent_body(tenant: TenantAccess, terms: IntentTerms) -> bytes:
    """Signing version 6: the principal's signature covers the payee's key too."""
    payee_key = ed25519.public_key(tenant.payee_seed)
    frame = IntentFrame(
        version=6,
        tenant_id=tenant.tenant_id,
        intent_id=terms.intent_id,
        principal_did=tenant.principal_did,
        payee_did=tenant.payee_did,
        amount_cents=terms.amount_cents,
        currency=terms.currency,
        deadline=terms.deadline,
        budget_digest=_digest(terms.budget),
        evidence_schema_digest=_digest(terms.evidence_schema),
        predicate_digest=_digest(terms.predicate),
        predicate_ref="",
        tools_digest=intent_bytes.tools_digest(terms.tools),
        settlement_rail=RAIL,
        payee_public_key=payee_key,
    )
    signature = ed25519.sign(tenant.principal_seed, intent_bytes.sign_bytes(frame))
    return _json(
        {
            "intent_id": terms.intent_id,
            "principal_did": tenant.principal_did,
            "principal_pubkey": base64_strict.encode(ed25519.public_key(tenant.principal_seed)),
            "principal_signature": base64_strict.encode(signature),
            "payee_did": tenant.payee_did,
            "payee_pubkey": base64_strict.encode(payee_key),
            "budget": terms.budget,
            "currency": terms.currency,
            "amount_cents": terms.amount_cents,
            "evidence_schema": terms.evidence_schema,
            "deadline": terms.deadline,
            "settlement_rail": RAIL,
            "allowed_tools": terms.tools,
            "signing_version": 6,
            "predicate_dsl": terms.predicate,
            "policy_binding": None,
        }
    )


def evidence_body(
    tenant: TenantAccess, intent_id: str, payload: Mapping[str, Any], *, submitted_at: str
) -> bytes:
    frame = EvidenceFrame(
        tenant_id=tenant.tenant_id,
        intent_id=intent_id,
        payee_did=tenant.payee_did,
        payload_digest=_digest(payload),
        artifacts_digest=evidence_bytes.artifacts_digest([]),
        submitted_at=submitted_at,
    )
    signature = ed25519.sign(tenant.payee_seed, evidence_bytes.sign_bytes(frame))
    return _json(
        {
            "payload": payload,
            "artifacts": [],
            "payee_did": tenant.payee_did,
            "payee_pubkey": base64_strict.encode(ed25519.public_key(tenant.payee_seed)),
            "payee_signature": base64_strict.encode(signature),
            "submitted_at": submitted_at,
        }
    )


def _digest(document: Mapping[str, Any]) -> bytes:
    return jd(parse(_json(document)))


def _json(document: Mapping[str, Any]) -> bytes:
    # A mapping that can't be changed is no dict, which is all that json knows.
    return json.dumps(document, separators=(",", ":"), default=dict).encode()

"""A client that never gives up, as one that moves money must be: three tries with one proof, then a fresh proof.

Every request has an idempotency key of its own, so that whatever was lost, the next try gets the first answer. The
command's id is known to the client too: the gateway derives it from what the client sent.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx

from deploy.local.demo_client import proven_headers
from deploy.local.demo_plan import PlannedIntent
from deploy.local.local_file import TenantAccess
from schemas.ids import command_id_of
from streams.runtime.clock import SystemClock

_TRIES_WITH_ONE_PROOF = 3
_RETRIED = frozenset({429, 500, 502, 503, 504})
_PAUSE_SECONDS_MAX = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`key` is its idempotency key: a new one is a new command."""

    path: str
    purpose: str
    body: bytes
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """An answer that is no "not known": the system stands by it. Times are of the machine's monotonic clock."""

    tenant_id: str
    command_id: str
    purpose: str
    intent_id: str
    status: int
    sent_at: float
    acknowledged_at: float
    document: Mapping[str, Any]

    def line(self) -> str:
        return json.dumps(
            {
                "tenant_id": self.tenant_id,
                "command_id": self.command_id,
                "purpose": self.purpose,
                "intent_id": self.intent_id,
                "status": self.status,
                "sent_at": self.sent_at,
                "acknowledged_at": self.acknowledged_at,
                "state": self.document.get("state"),
                "error": self.document.get("error"),
            }
        )


class PatientClient:
    """Acts for one tenant's agent. `draw` gives nonces and pauses; `on_retry` hears why nothing is known."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        tenant: TenantAccess,
        *,
        draw: random.Random,
        on_retry: Callable[[str], None],
    ) -> None:
        self._http = http
        self._draw = draw
        self._on_retry = on_retry
        self.tenant = tenant

    async def ask(self, request: Request, *, intent_id: str) -> Acknowledged:
        """The answer, however long it takes."""
        while True:
            headers = self._signed(request)
            for _ in range(_TRIES_WITH_ONE_PROOF):
                sent_at = time.monotonic()
                answer = await self._send(request, headers)
                if answer is not None:
                    return self._acknowledged(request, answer, intent_id, sent_at)
                await asyncio.sleep(self._draw.uniform(0.2, _PAUSE_SECONDS_MAX))

    async def _send(self, request: Request, headers: Mapping[str, str]) -> httpx.Response | None:
        """None where nobody knows what became of it."""
        try:
            answer = await self._http.post(
                request.path, content=request.body, headers=dict(headers)
            )
        except httpx.TransportError as error:
            self._on_retry(type(error).__name__)
            return None
        if answer.status_code in _RETRIED:
            self._on_retry(str(answer.status_code))
            return None
        return answer

    def _signed(self, request: Request) -> Mapping[str, str]:
        proven = proof_headers(
            self.tenant,
            path=request.path,
            purpose=request.purpose,
            body=request.body,
            draw=self._draw,
        )
        return {**proven, "idempotency-key": request.key}

    def _acknowledged(
        self, request: Request, answer: httpx.Response, intent_id: str, sent_at: float
    ) -> Acknowledged:
        return Acknowledged(
            tenant_id=self.tenant.tenant_id,
            command_id=command_id_of(
                "key", self.tenant.tenant_id, "POST", request.path, request.key
            ),
            purpose=request.purpose,
            intent_id=intent_id,
            status=answer.status_code,
            sent_at=sent_at,
            acknowledged_at=time.monotonic(),
            document=answer.json(),
        )


def proof_headers(
    tenant: TenantAccess, *, path: str, purpose: str, body: bytes, draw: random.Random
) -> dict[str, str]:
    """Credential and a fresh proof for one POST; `draw` gives the nonce."""
    proven = proven_headers(
        tenant,
        path=path,
        purpose=purpose,
        body=body,
        now=SystemClock().now().replace(microsecond=0),
        nonce=draw.randbytes(16).hex(),
    )
    return {**proven, "authorization": f"Bearer {tenant.api_key}"}


def with_new_id(intent: PlannedIntent, draw: random.Random) -> PlannedIntent:
    """A plan is the same for its seed; an intent's id is used once."""
    return replace(intent, intent_id=str(UUID(bytes=draw.randbytes(16), version=4)))

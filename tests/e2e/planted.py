"""One story and many refused requests with marks in them that no log may repeat; whatever is sent is noted.

What a program says of a request that it can't read is where bodies and credentials get into logs.
"""

import asyncio
import base64
import re
import secrets
import socket
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from deploy.local.demo import client_of, create_and_tell, terms_of
from deploy.local.demo_client import PROOF_HEADER, evidence_body, proven_headers
from deploy.local.demo_plan import PlannedIntent
from deploy.local.demo_report import Told
from deploy.local.local_file import TenantAccess, tenant_of
from schemas.canonical.base64_strict import encode_url
from schemas.instants import format_instant
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, PARTITIONS_ONE_MACHINE
from streams.runtime.clock import SystemClock
from tests.support.log_search import Secret
from tests.support.records import plain_producer

_SECONDS_MAX = 30.0
_SIGNATURES = re.compile(r'"(\w+_signature)":"([^"]+)"')
_SUBMIT = "harbor.intent.evidence.submit"
_BIG_BODY = 600 * 1024
_BIG_HEADER = 20 * 1024


@dataclass(slots=True)
class Sender:
    """Sends as the first tenant; `planted` grows with each request."""

    document: Mapping[str, Any]
    planted: list[Secret] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    @property
    def tenant(self) -> TenantAccess:
        return tenant_of(self.document)

    def mark(self, name: str) -> str:
        """A text that nobody else writes."""
        text = f"mark-{secrets.token_hex(12)}"
        self.planted.append(Secret.of(f"{name} ({len(self.planted)})", text))
        return text

    def tell(self, intent: PlannedIntent) -> Told:
        """To its end, with a mark in its evidence."""
        marked = replace(intent, payload={**intent.payload, "note": self.mark("evidence")})
        return asyncio.run(self._tell(marked))

    def ask_in_vain(self, intent_id: str) -> Sequence[int]:
        """Everything that is refused, each with a mark; the statuses."""
        asyncio.run(self._ask_in_vain(intent_id))
        self._send_no_http()
        return self.refused

    def write_what_nobody_can_read(self) -> None:
        """A record on the topic of commands that is no command."""
        producer = plain_producer(self.document["kafka_bootstrap"])
        tenant_id = self.tenant.tenant_id
        producer.produce(
            COMMANDS,
            key=tenant_id.encode(),
            value=self.mark("command").encode(),
            partition=partition_of(tenant_id, PARTITIONS_ONE_MACHINE),
            headers=[("tenant_id", self.mark("record header").encode())],
        )
        assert producer.flush(_SECONDS_MAX) == 0

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.document["base_url"],
            timeout=_SECONDS_MAX,
            trust_env=False,
            event_hooks={"request": [self._note]},
        )

    async def _note(self, request: httpx.Request) -> None:
        """Credential, proof and signatures of what is about to be sent."""
        for name in ("authorization", PROOF_HEADER):
            value = request.headers.get(name, "").removeprefix("Bearer ")
            if value:
                self.planted.append(Secret.of(f"{name} ({len(self.planted)})", value))
        for name, value in _SIGNATURES.findall(request.content.decode()):
            self.planted.append(Secret.of(f"{name} ({len(self.planted)})", value))
            raw = base64.b64decode(value)
            self.planted.append(Secret(name=f"{name} ({len(self.planted)})", value=raw))

    async def _tell(self, intent: PlannedIntent) -> Told:
        async with self._http() as http:
            return await create_and_tell(client_of(http, self.tenant), intent, terms_of(intent))

    async def _ask_in_vain(self, intent_id: str) -> None:
        path = f"/harbor/intents/{intent_id}/evidence"
        good = self._evidence(intent_id)
        forged = good.replace(b'"payee_signature":"', b'"payee_signature":"AAAA', 1)
        async with self._http() as http:

            def post(body: bytes, **headers: str) -> Awaitable[None]:
                sent = self._signed(path, body) | {
                    k.replace("_", "-"): v for k, v in headers.items()
                }
                return self._post(http, path, body, sent)

            await post(good)
            await post(forged)
            await post(good.replace(b'"mark-', b'"\\u0000mark-', 1))
            await post(good[:-9])
            await post(b'"' + self.mark("body").encode() + b'"')
            await post(good + b" " * _BIG_BODY)
            await post(good, **{PROOF_HEADER: encode_url(self.mark("proof").encode())})
            await post(good, **{PROOF_HEADER: self._proof_of_another(path)})
            await post(good, authorization=f"Bearer {self.mark('bearer')}")
            await post(good, authorization=f"Basic {self.mark('basic credential')}")
            unknown = f"paybond_sk_sandbox_{secrets.token_hex(16)}_{secrets.token_hex(32)}"
            await post(good, authorization=f"Bearer {unknown}")
            await post(good, x_request_id=self.mark("request id") + "=/?")
            await post(good, idempotency_key=self.mark("key") + "é" * 300)
            await post(good, x_big=self.mark("header") + "x" * _BIG_HEADER)
            await self._post(http, f"/harbor/intents/{self.mark('path')}/evidence", good, {})
            await self._post(http, f"/v1/operations/{self.mark('operation')}", good, {})

    async def _post(
        self, http: httpx.AsyncClient, path: str, body: bytes, headers: Mapping[str, str]
    ) -> None:
        answer = await http.post(
            path,
            content=body,
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
        )
        self.refused.append(answer.status_code)

    def _signed(self, path: str, body: bytes) -> dict[str, str]:
        proven = proven_headers(
            self.tenant,
            path=path,
            purpose=_SUBMIT,
            body=body,
            now=SystemClock().now().replace(microsecond=0),
            nonce=secrets.token_hex(16),
        )
        return {**proven, "authorization": f"Bearer {self.tenant.api_key}"}

    def _proof_of_another(self, path: str) -> str:
        return self._signed(path, b"another body")[PROOF_HEADER]

    def _evidence(self, intent_id: str) -> bytes:
        return evidence_body(
            self.tenant,
            intent_id,
            {"status": "completed", "note": self.mark("evidence")},
            submitted_at=format_instant(SystemClock().now().replace(microsecond=0)),
        )

    def _send_no_http(self) -> None:
        url = httpx.URL(self.document["base_url"])
        assert url.port is not None
        with socket.create_connection((url.host, url.port), timeout=_SECONDS_MAX) as connection:
            connection.sendall(f"P\0ST {self.mark('no HTTP')}\r\nauthorization x\r\n\r\n".encode())
            self.refused.append(int(connection.recv(64).split()[1]))

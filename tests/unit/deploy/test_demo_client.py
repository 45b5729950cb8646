"""The demo's client signs what the published vectors say, and retries with the very same request."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import httpx
import pytest

from deploy.local import demo_client
from deploy.local.demo import VECTOR_INTENT
from deploy.local.demo_client import (
    PROOF_HEADER,
    DemoClient,
    GatewayUnavailableError,
    evidence_body,
    intent_body,
)
from deploy.local.local_file import TenantAccess, first_tenant
from schemas.canonical.recognition_proof import decode_header, verify_digest_and_signature

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "vectors.json").read_text())
INTENT_ID = VECTORS["intent_v6"]["body"]["intent_id"]
NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)

Handler = Callable[[httpx.Request], httpx.Response]


def a_tenant() -> TenantAccess:
    return first_tenant(
        api_key="paybond_sk_sandbox_x", deployment="local", ledger_public_key=bytes(32)
    )


def test_the_demos_first_intent_is_the_published_one() -> None:
    body = json.loads(intent_body(a_tenant(), VECTOR_INTENT))

    assert body == VECTORS["intent_v6"]["body"]


def test_evidence_is_signed_as_the_published_one_but_for_its_artifacts() -> None:
    published = VECTORS["evidence_v2"]["body"]

    body = json.loads(
        evidence_body(
            a_tenant(), INTENT_ID, published["payload"], submitted_at=published["submitted_at"]
        )
    )

    assert {name for name in body if body[name] != published[name]} == {
        "artifacts",
        "payee_signature",
    }


def test_a_retry_repeats_body_proof_and_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(503 if len(seen) < 3 else 200, json={"state": "funded"})

    result = run(answer, monkeypatch, lambda client: client.fund(INTENT_ID))

    assert result.status == 200
    assert len({request.headers[PROOF_HEADER] for request in seen}) == 1
    assert len(seen) == 3


def test_a_lost_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count()

    def answer(request: httpx.Request) -> httpx.Response:
        if next(calls) == 0:
            raise httpx.ReadTimeout("lost", request=request)
        return httpx.Response(200, json={})

    result = run(answer, monkeypatch, lambda client: client.confirm(INTENT_ID))

    assert result.status == 200


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_after_three_tries_it_is_an_outage(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    calls = count(1)

    def answer(_: httpx.Request) -> httpx.Response:
        next(calls)
        return httpx.Response(status, json={}, headers={"retry-after": "1"})

    with pytest.raises(GatewayUnavailableError):
        run(answer, monkeypatch, lambda client: client.fund(INTENT_ID))

    assert next(calls) == 4


@pytest.mark.parametrize("status", [400, 401, 402, 404, 409, 422])
def test_a_refusal_is_an_answer_and_not_retried(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    error = {"error": {"code": "some_code", "message": "…"}, "request_id": "r"}

    result = run(
        lambda _: httpx.Response(status, json=error),
        monkeypatch,
        lambda client: client.fund(INTENT_ID),
    )

    assert (result.status, result.code) == (status, "some_code")


def test_each_call_carries_a_fresh_proof_of_its_own_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json={})

    async def twice(client: DemoClient) -> demo_client.HttpAnswer:
        await client.fund(INTENT_ID)
        return await client.fund(INTENT_ID)

    run(answer, monkeypatch, twice)

    proofs = [decode_header(request.headers[PROOF_HEADER]) for request in seen]
    assert len({proof.statement.nonce for proof in proofs}) == 2
    assert all(verify_digest_and_signature(proof) for proof in proofs)
    assert {proof.statement.path for proof in proofs} == {f"/harbor/intents/{INTENT_ID}/fund"}


def run(
    answer: Handler,
    patch: pytest.MonkeyPatch,
    call: Callable[[DemoClient], object],
) -> demo_client.HttpAnswer:
    patch.setattr(demo_client, "_PAUSE_SECONDS", 0.001)
    patch.setattr(demo_client, "_PAUSE_SECONDS_MAX", 0.001)
    nonces = count()

    async def main() -> demo_client.HttpAnswer:
        async with httpx.AsyncClient(
            transport=httpx.MockTransport(answer), base_url="http://127.0.0.1"
        ) as http:
            client = DemoClient(
                http, a_tenant(), now=lambda: NOW, random_hex=lambda: f"n{next(nonces)}"
            )
            result = await call(client)  # type: ignore[misc]
            assert isinstance(result, demo_client.HttpAnswer)
            return result

    return asyncio.run(main())

"""Whatever is sent, the gateway answers as its OpenAPI document says, and shows nothing of its inside."""

import sys
from collections import Counter
from random import Random
from typing import Any

import httpx
import jsonschema_rs
import pytest

from schemas.messages.refusals import rule_of
from tests.e2e.http.asks import send
from tests.integration.gateway.isolation.generated_requests import Operation, draw, operations_of
from tests.integration.gateway.isolation.two_tenants import TwoTenants, two_tenants
from tests.support.databases import FreshDatabase
from tests.support.depth import by_depth
from tests.support.harbor_world import run

# Its Kafka is in memory: once is enough, and the lane of the embedded broker has the time.
pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

# A world grows with what is accepted in it: each lives for this many requests.
WORLDS = 8
REQUESTS = by_depth(usual=20_000, deep=200_000)
# Nothing of a traceback, a driver or a server belongs into an answer.
INSIDES = ("Traceback", 'File "', "psycopg", "Exception", "Error:", "asyncio", "uvicorn", ".py")


@pytest.mark.parametrize("seed", range(WORLDS))
def test_every_answer_is_one_of_the_contracts(postgres: FreshDatabase, seed: int) -> None:
    async def scenario() -> None:
        async with two_tenants(postgres) as tenants:
            random, answered = Random(seed), Counter[int]()
            operations = operations_of(tenants.gateway.app.openapi())
            for number in range(REQUESTS // WORLDS):
                operation = operations[number % len(operations)]
                ask = draw(random, operation, tenants)
                response = await send(tenants.world, ask)
                answered[response.status_code] += 1
                wrong = wrongs_of(operation, response, path=ask.path)
                assert not wrong, f"seed {seed}, request {number}: {ask} {response.text}: {wrong}"
            _assert_not_hollow(tenants, answered)
            sys.stdout.write(f"seed {seed}: {dict(sorted(answered.items()))}\n")

    run(scenario)


def _assert_not_hollow(tenants: TwoTenants, answered: Counter[int]) -> None:
    total = answered.total()
    # Headers and bearers that are junk on purpose; a proof that is good gets through.
    assert answered[401] < 0.2 * total, answered
    assert sum(n for status, n in answered.items() if status < 300) > 0.2 * total, answered
    assert answered[503] < 0.02 * total, answered
    assert tenants.world.waiters.count == 0


def wrongs_of(operation: Operation, response: httpx.Response, *, path: str) -> list[str]:
    """What of an answer the document does not say; empty = as declared."""
    wrong = [f"shows {word!r}" for word in INSIDES if word in response.text]
    status = response.status_code
    declared: dict[str, Any] | None = operation.answers.get(str(status))
    # A path whose id has slashes or is empty may be another route's, or none's.
    if status in {404, 405} and not operation.has(path):
        declared = _NOWHERE
    if declared is None:
        return [*wrong, f"status {status} is not declared"]
    media_type = response.headers.get("content-type", "").split(";")[0]
    content = declared["content"].get(media_type)
    if content is None:
        return [*wrong, f"content type {media_type!r} is not declared"]
    request_id = response.headers.get("x-request-id")
    if not request_id:
        wrong.append("no request id")
    if media_type == "application/json":
        document = response.json()
        if not jsonschema_rs.is_valid(content["schema"], document):
            wrong.append("the body is not of the declared schema")
        elif status >= 400:
            wrong += _wrongs_of_refusal(status, document, request_id)
    return wrong


_NOWHERE = {"content": {"application/json": {"schema": {"required": ["error", "request_id"]}}}}


def _wrongs_of_refusal(status: int, document: dict[str, Any], request_id: str | None) -> list[str]:
    wrong = []
    if document["request_id"] != request_id:
        wrong.append("another request id in the body")
    if rule_of(document["error"]["code"]).http_status != status:
        wrong.append("the code has another status")
    if status >= 500 and (status, document["error"]["code"]) != (503, "unavailable"):
        wrong.append("a server error that is not the documented one")
    return wrong


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500, json={"error": {"code": "internal_error", "message": "x"}}),
        httpx.Response(200, json={}),
        httpx.Response(307),
        httpx.Response(404, text="Not Found"),
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(
            404, json={"error": {"code": "not_found", "message": "m"}, "request_id": "1"}
        ),
        httpx.Response(
            404,
            json={"error": {"code": "entry_not_found", "message": "m"}, "request_id": "1"},
            headers={"x-request-id": "1"},
        ),
        httpx.Response(
            409,
            json={"error": {"code": "intent_final", "message": "m"}, "request_id": "1"},
            headers={"x-request-id": "1"},
        ),
    ],
)
def test_an_answer_outside_the_contract_is_seen(response: httpx.Response) -> None:
    code = {"properties": {"code": {"enum": ["intent_not_found"]}}}
    error = {
        "content": {
            "application/json": {
                "schema": {"required": ["error", "request_id"], "properties": {"error": code}}
            }
        }
    }
    found = {"content": {"application/json": {"schema": {"required": ["tenant_id"]}}}}
    operation = Operation(
        method="GET",
        path="/",
        parameters=(),
        body=None,
        answers={"200": found, "404": error, "500": error},
    )

    assert wrongs_of(operation, response, path="/")

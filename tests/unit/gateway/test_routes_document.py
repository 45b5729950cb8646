"""The OpenAPI document and the list of routes: complete, with examples, and nothing twice."""

import asyncio
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.routes.health import readiness_of
from gateway.routes.public_app import PublicApp
from schemas.messages.refusals import REFUSALS

EXPECTED = {
    "GET /v1/auth/principal",
    "GET /v1/admin/api-keys",
    "POST /v1/admin/api-keys",
    "POST /v1/admin/api-keys/{key_id}/rotate",
    "DELETE /v1/admin/api-keys/{key_id}",
    "GET /v1/admin/agent-keys",
    "POST /v1/admin/agent-keys",
    "DELETE /v1/admin/agent-keys/{key_id}",
    "POST /harbor/intents",
    "POST /harbor/intents/{intent_id}/fund",
    "POST /harbor/intents/{intent_id}/evidence",
    "POST /harbor/intents/{intent_id}/settlement/confirm",
    "GET /harbor/operator/v1/intents",
    "GET /harbor/operator/v1/intents/{intent_id}",
    "GET /harbor/operator/v1/summary",
    "POST /harbor/operator/v1/intents/{intent_id}/dispute/open",
    "POST /harbor/operator/v1/intents/{intent_id}/dispute/resolve",
    "POST /harbor/operator/v1/intents/{intent_id}/dispute/withdraw",
    "GET /v1/operations/{operation_id}",
} | {
    f"GET {prefix}/{path}"
    for prefix in ("/harbor/ledger/v1", "/v1/compliance/ledger")
    for path in (
        "tip",
        "events",
        "authority",
        "merkle/latest",
        "proof/inclusion",
        "proof/consistency",
        "verify",
    )
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return PublicApp().openapi()


def _operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize(
    "path", ["/v1/auth/principal/", "/harbor/operator/v1/intents/", "/harbor/intents//fund"]
)
def test_a_path_with_a_slash_too_many_is_none(path: str) -> None:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://elsewhere") as http:
            return await http.get(path)

    answer = asyncio.run(asked())

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert "location" not in answer.headers


def test_every_route_of_the_contract_is_there_and_no_other(document: dict[str, Any]) -> None:
    assert set(_operations(document)) == EXPECTED


def test_every_answer_has_an_example_with_all_that_it_must_have(document: dict[str, Any]) -> None:
    for name, operation in _operations(document).items():
        answers = {
            code: answer for code, answer in operation["responses"].items() if code[0] == "2"
        }
        assert answers, name
        for code, answer in answers.items():
            content = answer["content"]["application/json"]
            assert content["example"], (name, code)
            # FastAPI leaves nulls out of examples, so not every required member shows in one.
            assert set(content["example"]) <= set(content["schema"]["required"]), (name, code)


# Of commands that no route makes: provisioning, the tick's and an operator's.
NO_ROUTES = frozenset(
    {
        "tenant_exists",
        "effect_not_outstanding",
        "nothing_due",
        "quarantine_stands",
        "rails_paused",
        "not_found",
        "method_not_allowed",
    }
)


def test_every_error_that_a_route_declares_stands_with_its_status_and_all_its_codes(
    document: dict[str, Any],
) -> None:
    """No status is declared as a range: a client generated from this knows what it has to handle."""
    declared = set()
    for name, operation in _operations(document).items():
        for status, answer in operation["responses"].items():
            assert status.isdecimal(), (name, status)
            if status[0] in "45":
                codes = codes_of(answer)
                assert codes, (name, status)
                assert {REFUSALS[code].http_status for code in codes} == {int(status)}, name
                declared |= set(codes)
        assert {"401", "403", "431", "500", "503"} <= operation["responses"].keys(), name

    assert declared | NO_ROUTES == REFUSALS.keys()


def codes_of(answer: dict[str, Any]) -> list[str]:
    schema = answer["content"]["application/json"]["schema"]
    codes: list[str] = schema["properties"]["error"]["properties"]["code"]["enum"]
    return codes


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in _operations(document).values()]

    assert len(ids) == len(set(ids))


def test_readiness_names_what_does_not_work() -> None:
    reason = readiness_of({"outcomes": lambda: True, "database": lambda: False})

    assert reason() == "database not working"
    assert readiness_of({"outcomes": lambda: True})() is None

"""The OpenAPI document and the list of routes: complete, with examples, and nothing twice."""

from typing import Any

import pytest
from fastapi import FastAPI

from gateway.routes.all_routes import ROUTERS
from gateway.routes.health import readiness_of

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
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return app.openapi()


def _operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


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
        assert "4XX" in operation["responses"], name


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in _operations(document).values()]

    assert len(ids) == len(set(ids))


def test_readiness_names_what_does_not_work() -> None:
    reason = readiness_of({"outcomes": lambda: True, "database": lambda: False})

    assert reason() == "database not working"
    assert readiness_of({"outcomes": lambda: True})() is None

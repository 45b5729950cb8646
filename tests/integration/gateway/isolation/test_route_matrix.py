"""No route answers or changes another tenant's object: every route × credential × object, from the router itself.

An object of somebody else's is answered as one that does not exist, byte for byte: whoever asks can't tell them apart.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import httpx
import pytest
from fastapi import APIRouter
from starlette.requests import Request

from gateway.adapters.postgres_reads import Query, Row, TenantReads
from gateway.app import create_app
from gateway.commands.submit import CommandPath
from schemas.ids import TenantId
from schemas.messages.commands import Command
from schemas.messages.outcomes import Outcome
from tests.e2e.http.asks import Ask, send
from tests.integration.gateway.gateways import code_of
from tests.integration.gateway.isolation.route_requests import (
    RouteCase,
    UnknownRouteError,
    cases_of,
    routes_of,
)
from tests.integration.gateway.isolation.two_tenants import (
    OWNER,
    SHARED_AGENT_KEY,
    STAGES,
    TwoTenants,
    two_tenants,
)
from tests.support.databases import FreshDatabase
from tests.support.harbor_world import run

# Its Kafka is in memory: once is enough, and the lane of the embedded broker has the time.
pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

LIVE_KEYS = ("stranger", "stranger, restricted", "stranger, live", "stranger, without rights")
_NOT_FOUND = {(404, "intent_not_found"), (404, "not_found")}
_REQUEST_ID = ("x-request-id", "of-the-matrix")


async def _answer(tenants: TwoTenants, ask: Ask) -> httpx.Response:
    return await send(tenants.world, ask.having(*_REQUEST_ID))


def _shown(tenants: TwoTenants, ask: Ask, answer: httpx.Response) -> list[str]:
    """The owner's marks in an answer, but for those that the request brought along itself."""
    sent = ask.path.encode() + ask.body
    whole = answer.content + repr(answer.headers.multi_items()).encode()
    return [m for m in tenants.marks() if m.encode() in whole and m.encode() not in sent]


def test_what_is_anothers_is_answered_as_what_does_not_exist(postgres: FreshDatabase) -> None:
    async def scenario() -> None:
        async with two_tenants(postgres) as tenants:
            before = tenants.belongings()

            answered = await _look_around(tenants, LIVE_KEYS)

            assert tenants.belongings() == before
            assert {status for _, status in answered} <= {200, 201, 400, 403, 404, 409, 422}
            # Not hollow: a stranger with rights got as far as the objects, one without got nowhere.
            assert answered["stranger", 404] >= len(STAGES) * 8
            assert answered["stranger", 403] == 0
            assert answered["stranger", 200] >= len(routes_of(tenants.gateway.app)) // 2
            assert answered["stranger, without rights", 403] > answered["stranger", 404]

    run(scenario)


async def _look_around(tenants: TwoTenants, names: Sequence[str]) -> Counter[tuple[str, int]]:
    """Every case with each of these keys; fails where a stranger learns anything."""
    answered: Counter[tuple[str, int]] = Counter()
    for name in names:
        client = tenants.stranger(tenants.keys[name])
        for case in cases_of(tenants.gateway.app, tenants):
            ask = case.ask(client, tenants)
            answer = await _answer(tenants, ask)
            answered[name, answer.status_code] += 1
            assert _shown(tenants, ask, answer) == [], f"{name} is shown: {case} {answer.text}"
            if case.is_about_an_object:
                assert answer.status_code >= 400, (name, case, answer.text)
                await _assert_as_nobodys(tenants, name, case, answer)
    return answered


def test_the_matrix_sees_a_gateway_that_reads_for_the_wrong_tenant(
    postgres: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = TenantReads.fetch_all

    async def for_the_owner(
        self: TenantReads, _tenant_id: TenantId, queries: Sequence[Query]
    ) -> list[list[Row]]:
        return await reads(self, OWNER, queries)

    async def scenario() -> None:
        async with two_tenants(postgres) as tenants:
            monkeypatch.setattr(TenantReads, "fetch_all", for_the_owner)

            with pytest.raises(AssertionError, match="stranger is shown"):
                await _look_around(tenants, ["stranger"])

    run(scenario)


def test_the_matrix_sees_a_command_that_is_sent_for_the_wrong_tenant(
    postgres: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disputes need no proof: there, nothing but the credential says whose intent it is."""
    decided = CommandPath._decided

    async def for_the_owner(
        self: CommandPath, command: Command, *, began: datetime
    ) -> Outcome | None:
        return await decided(self, replace(command, tenant_id=OWNER), began=began)

    async def scenario() -> None:
        async with two_tenants(postgres) as tenants:
            monkeypatch.setattr(CommandPath, "_decided", for_the_owner)
            before = tenants.belongings()

            with pytest.raises(AssertionError):
                await _look_around(tenants, ["stranger"])

            assert tenants.belongings() != before

    run(scenario)


async def _assert_as_nobodys(
    tenants: TwoTenants, name: str, case: RouteCase, answer: httpx.Response
) -> None:
    if name != "stranger, without rights":
        assert code_of(answer) in _NOT_FOUND, (name, case, answer.text)
    client = tenants.stranger(tenants.keys[name])
    nobodys = await _answer(tenants, case.ask(client, tenants, case.nobodys))
    [(parameter, value)] = case.values.items()
    as_if = answer.text.replace(value, case.nobodys[parameter])
    assert (nobodys.status_code, nobodys.text) == (answer.status_code, as_if), (name, case)


def test_a_credential_that_is_none_opens_nothing(postgres: FreshDatabase) -> None:
    async def scenario() -> None:
        async with two_tenants(postgres) as tenants:
            cases = cases_of(tenants.gateway.app, tenants)
            before = tenants.belongings()
            owner, stranger = tenants.keys["owner"], tenants.keys["stranger"]
            bearers = {
                "revoked": tenants.keys["stranger, revoked"],
                "the owner's id with another secret": owner[:-64] + stranger[-64:],
                "of the other environment": owner.replace("_sandbox_", "_live_"),
                "of the other kind": owner.replace("_sk_", "_rk_"),
                "cut": owner[:-1],
                "malformed": "x",
            }

            for name, bearer in bearers.items():
                for case in cases:
                    ask = case.ask(tenants.owner, tenants).having(
                        "authorization", f"Bearer {bearer}"
                    )
                    answer = await _answer(tenants, ask)
                    assert code_of(answer) == (401, "credential_invalid"), (name, case)
                    assert _shown(tenants, ask, answer) == [], (name, case)
            for case in cases:
                ask = case.ask(tenants.owner, tenants)
                none = await _answer(tenants, ask.without("authorization"))
                two = await _answer(
                    tenants, ask.having("authorization", f"Bearer {stranger}", f"Bearer {owner}")
                )
                asserted = await _answer(
                    tenants,
                    case.ask(tenants.stranger(stranger), tenants).having("x-tenant-id", OWNER),
                )
                assert code_of(none) == code_of(two) == (401, "credential_invalid"), case
                assert code_of(asserted) == (401, "tenant_mismatch"), case

            assert tenants.belongings() == before

    run(scenario)


def test_the_owners_proof_does_not_help_a_stranger(postgres: FreshDatabase) -> None:
    """A proof names its tenant: with a stranger's key it proves nothing, and is not spent."""

    async def scenario() -> None:
        async with two_tenants(postgres) as tenants:
            cases = [case for case in cases_of(tenants.gateway.app, tenants) if case.purpose]
            before = tenants.belongings()

            for case in cases:
                owner = tenants.client(tenants.keys["owner"], OWNER, SHARED_AGENT_KEY)
                ask = case.ask(owner, tenants).having(
                    "authorization", f"Bearer {tenants.keys['stranger']}"
                )
                answer = await _answer(tenants, ask)
                assert code_of(answer) == (401, "recognition_proof_mismatch"), (case, answer.text)

            assert tenants.belongings() == before
            assert len(cases) >= 1 + 3 * len(STAGES)

    run(scenario)


def test_the_matrix_asks_for_what_the_owner_does_get(postgres: FreshDatabase) -> None:
    """Else a 404 to a stranger would show nothing."""

    async def scenario() -> None:
        async with two_tenants(postgres) as tenants:
            cases = cases_of(tenants.gateway.app, tenants)
            # What ends the keys comes last.
            cases.sort(key=lambda case: (case.method != "GET", "/admin/" in case.template))

            for case in cases:
                ask = case.ask(tenants.owner, tenants)
                answer = await _answer(tenants, ask)
                assert answer.status_code not in {401, 403, 404}, (case, answer.text)
                if case.method == "GET":
                    assert answer.status_code == 200, (case, answer.text)

            assert {case.name for case in cases} == {
                f"{method} {route.path}"
                for route in routes_of(tenants.gateway.app)
                for method in route.methods
            }
            assert tenants.marks()

    run(scenario)


@pytest.mark.parametrize(
    ("path", "extra", "table"),
    [
        ("/v1/things/{thing_id}", {}, "OBJECTS"),
        ("/v1/things", {"parameters": [{"name": "colour", "in": "query"}]}, "QUERIES"),
        ("/v1/things", {"requestBody": {}}, "BODIES"),
    ],
)
def test_a_route_that_the_matrix_cannot_ask_fails_and_says_what_to_add(
    postgres: FreshDatabase, path: str, extra: dict[str, object], table: str
) -> None:
    async def scenario() -> None:
        async with two_tenants(postgres) as tenants:
            app, router = create_app(), APIRouter()

            @router.api_route(path, methods=["POST"], openapi_extra=extra)
            async def new_route(request: Request) -> None:
                del request

            app.include_router(router)

            with pytest.raises(UnknownRouteError, match=f"add it to `{table}`"):
                cases_of(app, tenants)

    run(scenario)

"""Every code of the contract, asked for over HTTP: its status, its envelope, and that nothing was written."""

import pytest

from schemas.messages.refusals import REFUSALS
from tests.e2e.http.asks import Client, send
from tests.e2e.http.case import Case
from tests.e2e.http.edge_cases import EDGE_CASES
from tests.support.builders import TENANT
from tests.support.gateway_world import GatewayWorld, register
from tests.support.harbor_world import run

CASES = EDGE_CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused_in_the_envelope_and_leaves_nothing_behind(case: Case) -> None:
    async def scenario() -> None:
        async with GatewayWorld.open(
            environment=case.environment, settlement_mode=case.settlement_mode
        ) as world:
            ask = await case.arrange(Client(world, register(world)))
            ledger, effects = world.ledger(), len(world.harbor.effects())
            before = len(ledger[TENANT])

            response = await send(world, ask.having("x-request-id", "ask-1"))

            assert response.status_code == case.http_status, response.text
            assert response.headers["content-type"] == "application/json"
            assert response.headers["x-request-id"] == "ask-1"
            envelope = response.json()
            assert envelope.keys() == {"error", "request_id"}
            assert envelope["request_id"]
            assert envelope["error"].keys() - {"details"} == {"code", "message"}
            assert envelope["error"]["code"] == case.code
            assert envelope["error"]["message"]
            assert "secret" not in response.text
            assert ("retry-after" in response.headers) == (case.http_status in {429, 503})
            assert ("www-authenticate" in response.headers) == (case.http_status == 401)
            appended = tuple(world.harbor.events()[before:])
            assert appended == case.appended
            if not case.appended:
                assert world.ledger() == ledger
                assert len(world.harbor.effects()) == effects
            assert world.waiters.count == 0

    run(scenario)


def test_status_and_code_of_each_case_are_those_of_the_one_table() -> None:
    stated = {case.name: case.http_status for case in CASES}

    assert stated == {case.name: REFUSALS[case.code].http_status for case in CASES}
    assert len(stated) == len(CASES)

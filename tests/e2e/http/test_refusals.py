"""Every code of the contract, asked for over HTTP: its status, its envelope, and that nothing was written."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from gateway.edge.raw_request import BODY_BYTES_MAX
from harbor.rails.simulator import Faults
from schemas.messages.refusals import REFUSALS
from tests.e2e.http.asks import Client, send
from tests.e2e.http.case import Case
from tests.e2e.http.declared import OF_NO_ROUTE, codes_declared
from tests.e2e.http.edge_cases import EDGE_CASES
from tests.e2e.http.harbor_cases import HARBOR_CASES
from tests.support.builders import TENANT
from tests.support.gateway_world import GatewayWorld, register
from tests.support.harbor_world import run

COMMAND_TOO_LARGE = "command_too_large"
CASES = (*EDGE_CASES, *HARBOR_CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused_in_the_envelope_and_leaves_nothing_behind(case: Case) -> None:
    async def scenario() -> None:
        async with GatewayWorld.open(
            environment=case.environment, settlement_mode=case.settlement_mode
        ) as world:
            ask = await case.arrange(Client(world, register(world)))
            ledger, effects = world.ledger(), len(world.harbor.effects())
            before = len(ledger[TENANT])

            # Captured, not rendered: a traceback for a console takes longer than all of this.
            with capture_logs() as logs:
                response = await send(world, ask.having("x-request-id", "ask-1"))

            assert response.status_code == case.http_status, response.text
            assert response.headers["content-type"] == "application/json"
            assert response.headers["x-request-id"] == "ask-1"
            envelope = response.json()
            assert envelope.keys() == {"error", "request_id"}
            assert envelope["request_id"]
            assert envelope["error"].keys() - {"details"} == {"code", "message"}
            assert envelope["error"]["code"] == case.code
            declared = codes_declared(ask).get(case.http_status, frozenset())
            assert case.code in declared | OF_NO_ROUTE
            assert envelope["error"]["message"]
            assert "secret" not in response.text
            is_logged = any(line["event"] == "request_failed" for line in logs)
            assert is_logged == (case.code == "internal_error")
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


# Codes that no request here can meet, and where each is tried instead.
ELSEWHERE = {
    # Reads: they need the read tables, so Postgres (tests/integration/gateway).
    "checkpoint_not_found": "test_ledger_reads.py",
    "entry_not_found": "test_ledger_reads.py",
    "operation_expired": "test_operations.py",
    "agent_key_exists": "test_key_admin.py",
    # Answers to commands that no route makes: provisioning, the tick's and the rails' (tests/unit/harbor).
    "tenant_exists": "only ProvisionTenant",
    "ledger_topic_missing": "only ProvisionTenant: a provisioned tenant's topic holds entry 1",
    "quarantine_stands": "only ReleaseQuarantine",
    "effect_not_outstanding": "only RecordRailAnswer and ReissueEffect",
    "nothing_due": "only ExpireIntent and RaiseHoldExpiring",
    "rails_paused": "only ReissueEffect, while an operator holds the rails",
}


def test_every_code_there_is_was_asked_for_here_or_is_known_to_be_tried_elsewhere() -> None:
    asked = {case.code for case in CASES} | {COMMAND_TOO_LARGE}

    assert asked | ELSEWHERE.keys() == REFUSALS.keys()
    assert asked.isdisjoint(ELSEWHERE)


def test_what_fits_a_body_but_no_record_is_413_and_may_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            create = Client(world, register(world)).create(key="key-1")
            ledger = world.ledger()
            monkeypatch.setattr("harbor.engine.batch_output.record_bytes_max", lambda _topic: 300)

            refused = await send(world, create)
            left = world.ledger()
            monkeypatch.undo()
            created = await send(world, create)

            assert (refused.status_code, refused.json()["error"]["code"]) == (
                413,
                COMMAND_TOO_LARGE,
            )
            assert left == ledger
            assert created.status_code == 201

    run(scenario)


def test_a_body_that_does_not_say_its_length_is_read_no_further_than_the_limit() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 64 * 1024
            yield b" " * 64 * 1024

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            fund = Client(world, register(world)).fund()

            refused = await world.client.post(
                fund.path, content=endless(), headers=list(fund.headers)
            )

            assert refused.json()["error"]["code"] == "body_too_large"
            assert sent <= BODY_BYTES_MAX + 128 * 1024

    run(scenario)


def test_what_state_refuses_is_told_with_the_state() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.final()

            refused = await send(world, client.confirm())

            assert refused.json()["error"]["details"]["state"] == "released"

    run(scenario)


def test_a_declined_payment_says_the_rails_code_and_the_next_confirm_is_a_new_attempt() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.evidenced()
            world.set_faults(Faults(decline_bps=10_000))

            declined = await send(world, client.confirm())
            world.set_faults(Faults())
            confirmed = await send(world, client.confirm())

            assert declined.status_code == 402
            assert "card_declined" in str(declined.json()["error"]["details"])
            assert confirmed.json()["state"] == "released"

    run(scenario)

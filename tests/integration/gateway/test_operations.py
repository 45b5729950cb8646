"""Operations over HTTP: pending, done, refused; a forged id, another tenant's and an old one."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.commands.operation_id import Operation, operation_id_of
from schemas.ids import CommandId, TenantId, uuid8_of
from schemas.messages.commands import FundIntent, SpentNonce
from schemas.messages.outcomes import Outcome, OutcomeStatus, Refusal
from tests.integration.gateway.gateways import OPERATION_KEY, RunningGateway, code_of, run
from tests.integration.gateway.tables import history_of, migrated, store
from tests.support.builders import T0
from tests.support.databases import FreshDatabase
from tests.support.domain_world import World, evidenced, settling

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

_STARTED = T0 + timedelta(minutes=1)
_FAR_STEP = 10**38


def _world() -> World:
    world = settling()
    refused = world.do(FundIntent())
    assert refused.status in {OutcomeStatus.REFUSED, OutcomeStatus.DONE}
    return world


def _refused() -> Outcome:
    """Evidence that one proof was refused for, whatever became of it since."""
    done = next(o for o in evidenced().outcomes.values() if o.command_kind == "SubmitEvidence")
    return replace(
        done,
        tenant_id="acme-refused",
        status=OutcomeStatus.REFUSED,
        spent=SpentNonce(key_id="agent-1", nonce="n1", expires_at=T0),
        answer=None,
        refusal=Refusal(code="intent_frozen", message="The intent is frozen by a dispute."),
    )


def _far_step() -> World:
    """A predicate about an array position that no 64 bits hold."""
    path = f'["items",{_FAR_STEP}]'.encode()
    predicate = b'{"version":1,"root":{"op":"exists","path":' + path + b"}}"
    return evidenced(predicate=predicate)


@pytest.fixture(scope="module")
def filled(module_postgres: FreshDatabase) -> FreshDatabase:
    database = migrated(module_postgres)
    store(database, history_of(_world(), "acme"))
    store(database, history_of(evidenced(), "acme-corp"))
    store(database, history_of(_far_step(), "acme-far"))
    store(database, replace(history_of(evidenced(), "acme-refused"), outcomes=[_refused()]))
    return database


def _path(
    command_id: str,
    *,
    tenant_id: str = "acme",
    started_at: datetime = _STARTED,
    key: bytes = OPERATION_KEY,
) -> str:
    operation = Operation(command_id=CommandId(command_id), started_at=started_at)
    return f"/v1/operations/{operation_id_of(key, TenantId(tenant_id), operation)}"


def _outcome(kind: str, status: OutcomeStatus) -> Outcome:
    return next(
        outcome
        for outcome in _world().outcomes.values()
        if outcome.command_kind == kind and outcome.status is status
    )


def test_a_done_operation_shows_its_result(filled: FreshDatabase) -> None:
    outcome = _outcome("SubmitEvidence", OutcomeStatus.DONE)

    async def scenario(gateway: RunningGateway) -> None:
        path = _path(outcome.command_id)

        answer = await gateway.get(path, await gateway.bearer("acme"))

        assert answer.status_code == 200
        assert answer.json()["operation_id"] == path.rsplit("/", 1)[1]
        assert answer.json()["status"] == "done"
        assert answer.json()["result"]["tenant"] == "acme"
        assert answer.json()["result"]["intent_id"] == outcome.intent_id
        assert answer.json()["result"]["predicate_passed"] is True

    run(filled, scenario)


def test_a_result_shows_an_array_step_of_any_size(filled: FreshDatabase) -> None:
    outcome = next(o for o in _far_step().outcomes.values() if o.command_kind == "SubmitEvidence")

    async def scenario(gateway: RunningGateway) -> None:
        path = _path(outcome.command_id, tenant_id="acme-far")

        answer = await gateway.get(path, await gateway.bearer("acme-far"))

        assert answer.status_code == 200
        (clause,) = answer.json()["result"]["predicate_evaluation"]["trace"]
        assert clause["path"] == ["items", _FAR_STEP]

    run(filled, scenario)


def test_what_another_attempt_under_the_key_was_told_is_not_shown_as_this_ones(
    filled: FreshDatabase,
) -> None:
    refused = _refused()
    spent = refused.spent
    assert spent is not None
    attempts = {
        "own": refused,
        "fresh proof": replace(refused, spent=replace(spent, nonce="fresh")),
        "fresh proof, overtaken": replace(
            refused,
            spent=replace(spent, nonce="earlier"),
            recorded_at=refused.recorded_at - timedelta(seconds=1),
        ),
        "other body": replace(refused, input_hash=b"\x01" * 32),
    }

    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme-refused")
        secrets = gateway.app.state.read_path.secrets
        shown = {
            name: (await gateway.get(f"/v1/operations/{secrets.operation_id(attempt)}", headers))
            for name, attempt in attempts.items()
        }

        statuses = {name: answer.json()["status"] for name, answer in shown.items()}
        assert statuses.pop("fresh proof") == "pending"
        assert set(statuses.values()) == {"refused"}
        codes = {name: shown[name].json()["error"]["code"] for name in statuses}
        assert codes == {
            "own": "intent_frozen",
            "fresh proof, overtaken": "intent_frozen",
            "other body": "idempotency_key_reused",
        }

    run(filled, scenario)


def test_an_operation_that_a_rail_works_on_is_pending(filled: FreshDatabase) -> None:
    outcome = _outcome("ConfirmSettlement", OutcomeStatus.ACCEPTED)

    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(_path(outcome.command_id), await gateway.bearer("acme"))

        assert answer.json()["status"] == "pending"
        assert answer.json()["result"]["state"] == "evidence_submitted"

    run(filled, scenario)


def test_an_authentic_id_without_an_outcome_is_pending(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(_path(uuid8_of("unknown")), await gateway.bearer("acme"))

        assert answer.status_code == 200
        assert answer.json()["status"] == "pending"
        assert "result" not in answer.json()

    run(filled, scenario)


def test_an_id_that_was_never_given_to_this_tenant_is_not_found(filled: FreshDatabase) -> None:
    command_id = next(iter(evidenced().outcomes))

    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")
        paths = [
            _path(command_id, tenant_id="acme-corp"),
            _path(command_id, key=b"\x00" * 32),
            _path(command_id)[:-1],
            "/v1/operations/op_",
            "/v1/operations/" + "A" * 600,
        ]

        for path in paths:
            assert code_of(await gateway.get(path, headers)) == (404, "not_found")

    run(filled, scenario)


def test_an_operation_is_kept_for_seven_days(filled: FreshDatabase) -> None:
    outcome = _outcome("SubmitEvidence", OutcomeStatus.DONE)

    async def scenario(gateway: RunningGateway) -> None:
        headers, path = await gateway.bearer("acme"), _path(outcome.command_id)

        gateway.clock.instant = _STARTED + timedelta(days=7)
        kept = await gateway.get(path, headers)
        gateway.clock.instant += timedelta(seconds=1)
        gone = await gateway.get(path, headers)

        assert kept.status_code == 200
        assert code_of(gone) == (410, "operation_expired")

    run(filled, scenario)

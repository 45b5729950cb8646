"""The command path: refusals in the contract's order, one command per request, honest answers when nothing is known."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.api_key import KeyKind, Peppers, StoredKey, bearer_of
from gateway.auth.permissions import ALL, Permission
from gateway.auth.recognition import HEADER, AgentKey
from gateway.commands.answers import Answer
from gateway.commands.in_flight import InFlight
from gateway.commands.outcome_waiter import OutcomeWaiters
from gateway.commands.ports import CommandRecord
from gateway.commands.submit import CommandPath, IncomingRequest
from gateway.edge.refused import RefusedError
from gateway.routes.disputes import OPEN as OPEN_DISPUTE
from gateway.routes.intents import CREATE, FUND, SUBMIT_EVIDENCE
from schemas.canonical import ed25519
from schemas.canonical.recognition_proof import header_value, make_proof
from schemas.errors import BrokerUnavailableError
from schemas.ids import IntentId, TenantId
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.command_sealing import is_sealed_by
from schemas.messages.commands import Command, FundIntent
from schemas.messages.outcomes import IntentAnswer, Outcome, OutcomeStatus
from schemas.messages.shared import Environment, HoldStatus, IntentStatus

NOW = datetime(2030, 1, 2, 15, 0, tzinfo=UTC)
VECTORS = Path(__file__).parents[2] / "vectors" / "vectors.json"
SEED = b"\xa3" * 32
ISSUER_KEY = b"\x01" * 32
INTENT = "7f2a9b1e-2f66-4f4f-9c6e-8f4b8e85c401"
FUND_PATH = f"/harbor/intents/{INTENT}/fund"
PEPPERS = Peppers(active_id="p1", keys={"p1": b"p" * 32})
KEY_ID = "ab" * 16
BEARER = bearer_of(
    kind=KeyKind.STANDARD, environment=Environment.SANDBOX, key_id=KEY_ID, secret="cd" * 32
)
ANSWER = IntentAnswer(
    intent_id=INTENT,
    status=IntentStatus.OPEN,
    settlement_rail="stripe_connect",
    currency="usd",
    amount_minor=20000,
    funded=False,
    hold_status=HoldStatus.REQUESTED,
)


@dataclass
class Gateway:
    """The path's ports in memory; `decide` is what Harbor would do with a command, if anything."""

    permissions: frozenset[str] = frozenset(map(str, ALL))
    known: IntentAnswer | None = None
    is_broker_out: bool = False
    is_silent: bool = False
    status: OutcomeStatus = OutcomeStatus.DONE
    commands: list[Command] = field(default_factory=list)
    waiters: OutcomeWaiters = field(default_factory=OutcomeWaiters)
    in_flight: InFlight = field(default_factory=InFlight)
    clock_now: datetime = NOW
    published: asyncio.Event = field(default_factory=asyncio.Event)
    waits: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.clock_now

    async def publish(self, record: CommandRecord) -> None:
        if self.is_broker_out:
            raise BrokerUnavailableError("gone")
        command = decode_as(Command, record.value)
        assert is_sealed_by(record.value, command, ISSUER_KEY)
        self.commands.append(command)
        self.published.set()
        if not self.is_silent:
            self.waiters.deliver(
                key=f"{command.tenant_id}/{command.command_id}".encode(),
                value=encode(self.outcome(command)),
            )

    def outcome(self, command: Command) -> Outcome:
        return Outcome(
            command_id=command.command_id,
            tenant_id=command.tenant_id,
            intent_id=command.intent_id,
            command_kind=type(command.body).__name__,
            status=self.status,
            input_hash=command.input_hash,
            recorded_at=NOW,
            decided_at=NOW,
            answer=ANSWER,
        )

    async def wait(self, future: "asyncio.Future[Outcome]", seconds: float) -> Outcome | None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.clock_now += timedelta(seconds=1)
        return future.result() if future.done() else None

    def capability_token(self, *, tenant_id: str, intent_id: str) -> str:
        return "token"

    def operation_id(self, outcome: Outcome) -> str:
        return f"op_{outcome.command_id}"

    def path(self) -> CommandPath:
        return CommandPath(
            api_keys=_ApiKeys(self.permissions),
            agent_keys=_AgentKeys(),
            peppers=PEPPERS,
            issuer_key=ISSUER_KEY,
            publisher=self,
            waiters=self.waiters,
            in_flight=self.in_flight,
            intents=_Intents(self.known),
            secrets=self,
            timer=self,
            clock=self,
            random=lambda count: b"\x07" * count,
            decision_seconds=5,
            rail_seconds=1,
            on_answered=self.waits.append,
        )


@dataclass
class _ApiKeys:
    permissions: frozenset[str]

    async def find(self, key_id: str) -> StoredKey | None:
        if key_id != KEY_ID:
            return None
        return StoredKey(
            key_id=KEY_ID,
            tenant_id="acme",
            environment=Environment.SANDBOX,
            kind=KeyKind.STANDARD,
            permissions=self.permissions,
            pepper_id="p1",
            digest=PEPPERS.digest(BEARER, pepper_id="p1"),
            is_revoked=False,
        )


class _AgentKeys:
    async def find(self, tenant_id: TenantId, key_id: str) -> AgentKey | None:
        purposes = frozenset({"harbor.intent.fund", "harbor.intent.create"})
        return AgentKey(
            key_id=key_id,
            public_key=ed25519.public_key(SEED),
            purposes=purposes | {"harbor.intent.evidence.submit"},
            expires_at=None,
            is_revoked=False,
        )


@dataclass
class _Intents:
    known: IntentAnswer | None

    async def answer(self, tenant_id: TenantId, intent_id: IntentId) -> IntentAnswer | None:
        return self.known


def _request(
    body: bytes = b"{}",
    *,
    path: str = FUND_PATH,
    purpose: str = "harbor.intent.fund",
    nonce: str = "n1",
    **headers: str | None,
) -> IncomingRequest:
    proof = make_proof(
        seed=SEED,
        key_id="agent-key-1",
        issued_at=NOW - timedelta(minutes=1),
        expires_at=NOW + timedelta(minutes=3),
        nonce=nonce,
        purpose=purpose,
        tenant_id="acme",
        method="POST",
        path=path,
        body=body,
    )
    merged: dict[str, Any] = {
        "authorization": f"Bearer {BEARER}",
        HEADER: header_value(proof),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return IncomingRequest(
        method="POST",
        path=path,
        headers={name: (value,) for name, value in merged.items() if value is not None},
        body=body,
        request_id="req_1",
    )


def _submit(gateway: Gateway, request: IncomingRequest) -> Answer:
    return asyncio.run(gateway.path().submit(request, FUND, intent_id=INTENT))


def _code(gateway: Gateway, request: IncomingRequest) -> str:
    with pytest.raises(RefusedError) as refused:
        _submit(gateway, request)
    return refused.value.code


def test_a_request_becomes_one_sealed_command_and_its_outcome_the_answer() -> None:
    gateway = Gateway()

    answer = _submit(gateway, _request())

    (command,) = gateway.commands
    assert answer.http_status == 202
    assert isinstance(command.body, FundIntent)
    assert (command.tenant_id, command.intent_id) == ("acme", INTENT)
    assert command.spent is not None
    assert (command.spent.key_id, command.spent.nonce) == ("agent-key-1", "n1")
    assert command.not_after == NOW + timedelta(minutes=10)
    assert gateway.waiters.count == 0


def test_it_is_told_how_long_an_outcome_was_waited_for_and_nothing_of_one_that_did_not_come() -> (
    None
):
    decided, silent = Gateway(), Gateway(is_silent=True, known=ANSWER)

    _submit(decided, _request())
    _submit(silent, _request())

    assert decided.waits == [1.0]
    assert silent.waits == []


def test_evidence_is_salted_and_never_too_late() -> None:
    gateway = Gateway()
    body = json.dumps(
        {
            "payload": {},
            "artifacts": [],
            "payee_did": "did:x",
            "payee_pubkey": "A" * 43 + "=",
            "payee_signature": "A" * 86 + "==",
            "submitted_at": "2030-01-02T15:00:00Z",
        }
    ).encode()
    path = f"/harbor/intents/{INTENT}/evidence"
    request = _request(body, path=path, purpose="harbor.intent.evidence.submit")

    asyncio.run(gateway.path().submit(request, SUBMIT_EVIDENCE, intent_id=INTENT))

    assert gateway.commands[0].salt == b"\x07" * 32
    assert gateway.commands[0].not_after is None


def test_refusals_come_in_the_contracts_order() -> None:
    """Every request below has all the faults of those after it too."""
    bad_json = b"{"
    gateway = Gateway(permissions=frozenset())
    full = Gateway(in_flight=InFlight(limit=0))

    def with_(**headers: str | None) -> IncomingRequest:
        request = _request(bad_json, **headers)  # type: ignore[arg-type]  # only header names
        return replace(
            request,
            headers={name: value for name, value in request.headers.items() if name != HEADER},
        )

    codes = [
        _code(gateway, with_(authorization="Bearer x", x_tenant_id="other")),
        _code(gateway, with_(x_tenant_id="other")),
        _code(gateway, with_()),
        _code(full, with_()),
        _code(Gateway(), with_()),
        _code(Gateway(), replace(_request(b"[]"), headers=with_().headers)),
        _code(Gateway(), _request(b"[]")),
    ]

    assert codes == [
        "credential_invalid",
        "tenant_mismatch",
        "permission_denied",
        "too_many_in_flight",
        "json_invalid",
        "recognition_proof_required",
        "body_invalid",
    ]
    assert gateway.commands == []


@pytest.mark.parametrize("intent_id", ["x", INTENT.upper()])
def test_a_path_that_names_no_intent_is_404(intent_id: str) -> None:
    path = f"/harbor/intents/{intent_id}/fund"

    with pytest.raises(RefusedError) as refused:
        asyncio.run(Gateway().path().submit(_request(path=path), FUND, intent_id=intent_id))

    assert refused.value.code == "intent_not_found"


def test_the_same_key_is_the_same_command_whatever_the_proof() -> None:
    gateway = Gateway()

    _submit(gateway, _request(idempotency_key="k1", nonce="n1"))
    _submit(gateway, _request(idempotency_key="k1", nonce="n2"))
    _submit(gateway, _request(idempotency_key="k2", nonce="n3"))

    first, second, third = (command.command_id for command in gateway.commands)
    assert first == second != third


def test_without_a_key_the_proof_tells_requests_apart() -> None:
    gateway = Gateway()

    _submit(gateway, _request(nonce="n1"))
    _submit(gateway, _request(nonce="n1"))
    _submit(gateway, _request(nonce="n2"))

    first, second, third = (command.command_id for command in gateway.commands)
    assert first == second != third


@pytest.mark.parametrize("key", ["", "k" * 257])
def test_an_idempotency_key_has_1_to_256_characters(key: str) -> None:
    assert _code(Gateway(), _request(idempotency_key=key)) == "idempotency_key_invalid"


def test_another_spelling_of_the_same_body_is_another_input() -> None:
    gateway = Gateway()

    _submit(gateway, _request(b"{}", idempotency_key="k1"))
    _submit(gateway, _request(b"{ }", idempotency_key="k1"))

    first, second = gateway.commands
    assert first.command_id == second.command_id
    assert first.input_hash != second.input_hash


def test_an_outcome_of_another_body_wakes_nobody() -> None:
    gateway = Gateway(is_silent=True, known=ANSWER)

    async def scenario() -> Answer:
        asking = asyncio.create_task(
            gateway.path().submit(_request(idempotency_key="k"), FUND, intent_id=INTENT)
        )
        await gateway.published.wait()
        command = gateway.commands[0]
        other = replace(gateway.outcome(command), input_hash=b"\x09" * 32)
        key = f"{command.tenant_id}/{command.command_id}".encode()
        gateway.waiters.deliver(key=key, value=encode(other))
        return await asking

    answer = asyncio.run(scenario())

    assert answer.http_status == 202


def test_what_is_not_known_in_time_is_202_where_the_tables_know_the_intent() -> None:
    answer = _submit(Gateway(is_silent=True, known=ANSWER), _request())

    body = json.loads(answer.body)
    assert answer.http_status == 202
    assert body["operation_id"] in answer.headers["location"]
    assert (body["tenant"], body["amount_cents"], body["funded"]) == ("acme", 20000, False)


def test_what_is_not_known_in_time_is_503_where_they_do_not() -> None:
    with pytest.raises(RefusedError) as refused:
        _submit(Gateway(is_silent=True), _request())

    assert (refused.value.code, refused.value.retry_after_seconds) == ("unavailable", 1)


def test_a_creation_that_is_not_known_in_time_is_503() -> None:
    vectors = json.loads(VECTORS.read_text())
    body = json.dumps(vectors["intent_v6"]["body"]).encode()
    request = _request(body, path="/harbor/intents", purpose="harbor.intent.create")

    with pytest.raises(RefusedError) as refused:
        asyncio.run(Gateway(is_silent=True, known=ANSWER).path().submit(request, CREATE))

    assert refused.value.code == "unavailable"


def test_a_broker_that_is_out_leaves_no_waiter_and_no_flight_behind() -> None:
    gateway = Gateway(is_broker_out=True)

    with pytest.raises(BrokerUnavailableError):
        _submit(gateway, _request())

    assert gateway.waiters.count == 0
    with gateway.in_flight.one_more("acme"):
        pass

    path = f"/harbor/operator/v1/intents/{INTENT}/dispute/open"
    request = replace(
        _request(b'{"reason_code":"late"}', path=path),
        headers={"authorization": (f"Bearer {BEARER}",)},
    )
    gateway = Gateway()
    without = Gateway(permissions=frozenset({Permission.INTENT_READ.value}))

    answer = asyncio.run(gateway.path().submit(request, OPEN_DISPUTE, intent_id=INTENT))
    with pytest.raises(RefusedError) as refused:
        asyncio.run(without.path().submit(request, OPEN_DISPUTE, intent_id=INTENT))

    assert answer.http_status == 200
    assert gateway.commands[0].spent is None
    assert refused.value.code == "permission_denied"

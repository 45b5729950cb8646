"""Recognition proofs: each failure has its code, and they are found in the contract's order."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.auth.recognition import AgentKey, ProvenRequest, recognize
from gateway.edge.refused import RefusedError
from schemas.canonical import ed25519
from schemas.canonical.recognition_proof import RecognitionProof, header_value, make_proof

SEED = b"\xa3" * 32
OTHER_SEED = b"\xa4" * 32
NOW = datetime(2030, 1, 2, 15, 0, 30, tzinfo=UTC)
REQUEST = ProvenRequest(
    tenant_id="tenant-vec",
    method="POST",
    path="/harbor/intents",
    purpose="harbor.intent.create",
    body=b'{"a":1}',
    now=NOW,
)
KEY = AgentKey(
    key_id="agent-key-1",
    public_key=ed25519.public_key(SEED),
    purposes=frozenset({"harbor.intent.create"}),
    expires_at=None,
    is_revoked=False,
)


def _proof(**changes: object) -> RecognitionProof:
    members: dict[str, object] = {
        "seed": SEED,
        "key_id": "agent-key-1",
        "issued_at": NOW - timedelta(minutes=1),
        "expires_at": NOW + timedelta(minutes=3),
        "nonce": "nonce-1",
        "purpose": "harbor.intent.create",
        "tenant_id": "tenant-vec",
        "method": "POST",
        "path": "/harbor/intents",
        "body": b'{"a":1}',
    }
    return make_proof(**(members | changes))  # type: ignore[arg-type]  # the members of one call


def _finding(key: AgentKey | None) -> Callable[[str], Awaitable[AgentKey | None]]:
    async def find(key_id: str) -> AgentKey | None:
        return key if key is not None and key_id == key.key_id else None

    return find


def _recognize(
    *headers: str, request: ProvenRequest = REQUEST, key: AgentKey | None = KEY
) -> RecognitionProof:
    return asyncio.run(recognize(headers, request, _finding(key)))


def _code(*headers: str, request: ProvenRequest = REQUEST, key: AgentKey | None = KEY) -> str:
    with pytest.raises(RefusedError) as refused:
        _recognize(*headers, request=request, key=key)
    assert refused.value.http_status == 401
    return refused.value.code


def test_a_registered_keys_proof_of_this_request_is_recognized() -> None:
    proof = _proof()

    assert _recognize(header_value(proof)) == proof


def test_a_missing_proof_is_required() -> None:
    assert _code() == "recognition_proof_required"


@pytest.mark.parametrize("header", ["", "x", "e30", header_value(_proof()) + "="])
def test_what_cannot_be_read_is_malformed(header: str) -> None:
    assert _code(header) == "recognition_proof_malformed"


def test_a_doubled_header_is_malformed() -> None:
    header = header_value(_proof())

    assert _code(header, header) == "recognition_proof_malformed"


def test_an_unknown_key_is_unregistered() -> None:
    assert _code(header_value(_proof()), key=None) == "unregistered_key"


def test_a_revoked_key_says_so_before_anything_about_the_request() -> None:
    header = header_value(_proof(body=b"other"))

    assert _code(header, key=replace(KEY, is_revoked=True)) == "revoked_key"


@pytest.mark.parametrize(
    "window",
    [
        (NOW - timedelta(minutes=2), NOW - timedelta(seconds=1)),
        (NOW - timedelta(minutes=2), NOW),
        (NOW + timedelta(seconds=1), NOW + timedelta(minutes=2)),
        (NOW - timedelta(minutes=1), NOW + timedelta(minutes=9, seconds=1)),
        (NOW, NOW),
    ],
    ids=["over", "just over", "not yet", "window too long", "empty"],
)
def test_a_proof_outside_its_window_has_expired(window: tuple[datetime, datetime]) -> None:
    header = header_value(_proof(issued_at=window[0], expires_at=window[1]))

    assert _code(header) == "recognition_proof_expired"


def test_an_expired_agent_key_proves_nothing() -> None:
    header = header_value(_proof())

    assert _code(header, key=replace(KEY, expires_at=NOW)) == "recognition_proof_expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b'{"a": 1}'},
        {"path": "/harbor/intents/"},
        {"method": "PUT"},
        {"tenant_id": "tenant-two"},
        {"purpose": "harbor.intent.fund"},
        {"verifier_id": "another-gateway"},
        {"seed": OTHER_SEED},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_proof_of_another_request_does_not_match(changes: dict[str, object]) -> None:
    assert _code(header_value(_proof(**changes))) == "recognition_proof_mismatch"


def test_a_signature_of_something_else_does_not_match() -> None:
    header = header_value(replace(_proof(), signature=_proof(nonce="nonce-2").signature))

    assert _code(header) == "recognition_proof_mismatch"


def test_a_purpose_that_the_key_was_not_given_does_not_match() -> None:
    key = replace(KEY, purposes=frozenset({"harbor.intent.fund"}))

    assert _code(header_value(_proof()), key=key) == "recognition_proof_mismatch"

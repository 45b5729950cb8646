"""Bodies of the mutating routes: what can't be put into a command is refused with its member named."""

import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from gateway.commands import shapes
from gateway.commands.members import body_object, json_of
from gateway.edge.refused import RefusedError
from schemas.messages.commands import CommandBody
from schemas.messages.shared import Custody, DisputeOutcome

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "vectors.json").read_text())
CREATE = VECTORS["intent_v6"]["body"]
CREATE_V7 = VECTORS["intent_v7"]["body"]
EVIDENCE = VECTORS["evidence_v2"]["body"]


class _Field(Enum):
    """An enum, since a case's name must be the same in each process of pytest-xdist."""

    GONE = "gone"


GONE = _Field.GONE


def _changed(body: dict[str, Any], changes: dict[str, Any]) -> bytes:
    merged = {k: v for k, v in (body | changes).items() if v is not GONE}
    return json.dumps(merged).encode()


def _code(read: Callable[[Any], CommandBody], raw: bytes) -> str:
    with pytest.raises(RefusedError) as refused:
        read(body_object(json_of(raw)))
    return refused.value.code


def test_the_published_body_becomes_a_command_with_its_documents_canonical() -> None:
    command = shapes.create_intent(body_object(json_of(json.dumps(CREATE).encode())))

    assert command.budget == b'{"currency":"usd","max_spend_usd":20}'
    assert command.predicate == b'{"root":{"op":"true"},"version":1}'
    assert command.allowed_tools == ("Travel.Book_Hotel", "travel.search")
    assert command.amount_minor == 20000


def test_number_literals_reach_the_command_as_sent() -> None:
    raw = json.dumps(CREATE).replace('"max_spend_usd": 20', '"max_spend_usd": 2.00e1').encode()

    command = shapes.create_intent(body_object(json_of(raw)))

    assert command.budget == b'{"currency":"usd","max_spend_usd":2.00e1}'


def test_version_7_names_its_policy_and_has_no_predicate() -> None:
    command = shapes.create_intent(body_object(json_of(json.dumps(CREATE_V7).encode())))

    assert command.predicate is None
    assert (command.policy_template_id, command.policy_version_seq) == ("completion_budget_v1", 300)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount_cents": 1.0}, "amount_invalid"),
        ({"amount_cents": "20000"}, "amount_invalid"),
        ({"amount_cents": True}, "amount_invalid"),
        ({"amount_cents": 2**64}, "amount_invalid"),
        ({"amount_cents": GONE}, "amount_invalid"),
        ({"signing_version": 5}, "body_invalid"),
        ({"signing_version": "6"}, "body_invalid"),
        ({"policy_binding": {"template_id": "t", "version_seq": 1}}, "body_invalid"),
        ({"predicate_dsl": GONE}, "intent.predicate.invalid"),
        ({"predicate_dsl": []}, "intent.predicate.invalid"),
        ({"evidence_schema": "object"}, "evidence_schema_invalid"),
        ({"budget": 1}, "body_invalid"),
        ({"currency": None}, "currency_unsupported"),
        ({"deadline": 1}, "deadline_invalid"),
        ({"deadline": "x" * 65}, "deadline_invalid"),
        ({"settlement_rail": 1}, "rail_unknown"),
        ({"allowed_tools": []}, "allowed_tools_empty"),
        ({"allowed_tools": "x"}, "tools_invalid"),
        ({"allowed_tools": [1]}, "tools_invalid"),
        ({"allowed_tools": ["x"] * 65}, "tools_invalid"),
        ({"allowed_tools": ["x" * 129]}, "tools_invalid"),
        ({"principal_did": ""}, "body_invalid"),
        ({"principal_did": "d" * 513}, "body_invalid"),
        ({"principal_pubkey": "AAAA"}, "body_invalid"),
        ({"payee_pubkey": CREATE["payee_pubkey"].rstrip("=")}, "body_invalid"),
        ({"principal_signature": "!"}, "principal_signature_invalid"),
        ({"predicate_ref": 1}, "body_invalid"),
    ],
    ids=lambda value: str(value)[:48],
)
def test_a_create_that_is_no_command_is_refused(changes: dict[str, Any], code: str) -> None:
    assert _code(shapes.create_intent, _changed(CREATE, changes)) == code


@pytest.mark.parametrize(
    "changes",
    [
        {"policy_binding": None},
        {"policy_binding": {"template_id": "t", "version_seq": -1}},
        {"policy_binding": {"template_id": "t", "version_seq": 2**32}},
        {"predicate_dsl": {"version": 1, "root": {"op": "true"}}},
    ],
)
def test_a_version_7_create_without_its_policy_is_refused(changes: dict[str, Any]) -> None:
    assert _code(shapes.create_intent, _changed(CREATE_V7, changes)) == "body_invalid"


@pytest.mark.parametrize("intent_id", ["x", CREATE["intent_id"].upper(), 1, GONE])
def test_an_intent_id_that_is_no_canonical_uuid_is_refused(intent_id: object) -> None:
    with pytest.raises(RefusedError, match="intent_id"):
        shapes.intent_id_of(body_object(json_of(_changed(CREATE, {"intent_id": intent_id}))))


def test_the_published_evidence_becomes_a_command() -> None:
    command = shapes.submit_evidence(body_object(json_of(json.dumps(EVIDENCE).encode())))

    assert command.payload == b'{"cost_cents":18700,"status":"completed"}'
    assert command.artifacts == (b"\xab" * 32,)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"payload": []}, "payload_invalid"),
        ({"payload": GONE}, "payload_invalid"),
        ({"artifacts": ["AB" * 32]}, "payload_invalid"),
        ({"artifacts": ["ab" * 31]}, "payload_invalid"),
        ({"artifacts": ["ab" * 32] * 65}, "payload_invalid"),
        ({"artifacts": {}}, "payload_invalid"),
        ({"payee_signature": "x"}, "payee_signature_invalid"),
        ({"payee_pubkey": "x"}, "body_invalid"),
        ({"submitted_at": 1}, "submitted_at_skewed"),
    ],
    ids=lambda value: str(value)[:48],
)
def test_evidence_that_is_no_command_is_refused(changes: dict[str, Any], code: str) -> None:
    assert _code(shapes.submit_evidence, _changed(EVIDENCE, changes)) == code


def test_a_resolution_keeps_split_and_custody_for_harbor_to_judge() -> None:
    raw = b'{"outcome":"resolved_split","reason_code":"r","split":{"payee_cents":0,"principal_cents":-1}}'

    command = shapes.resolve_dispute(body_object(json_of(raw)))

    assert command.outcome is DisputeOutcome.RESOLVED_SPLIT
    assert (command.payee_minor, command.principal_minor) == (0, -1)


def test_an_escalation_names_custody() -> None:
    raw = (
        b'{"outcome":"escalated_external","reason_code":"r","custody":"cancel","external_ref":"x"}'
    )

    assert shapes.resolve_dispute(body_object(json_of(raw))).custody is Custody.CANCEL


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"reason_code":"r"}', "body_invalid"),
        (b'{"outcome":"win","reason_code":"r"}', "body_invalid"),
        (b'{"outcome":"refund","reason_code":"Free text"}', "body_invalid"),
        (b'{"outcome":"resolved_split","reason_code":"r","split":[]}', "split_invalid"),
        (
            b'{"outcome":"resolved_split","reason_code":"r","split":{"payee_cents":1.5}}',
            "split_invalid",
        ),
        (
            b'{"outcome":"escalated_external","reason_code":"r","custody":"keep"}',
            "custody_required",
        ),
    ],
)
def test_a_resolution_that_is_no_command_is_refused(raw: bytes, code: str) -> None:
    assert _code(shapes.resolve_dispute, raw) == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json_invalid"),
        (b"{", "json_invalid"),
        (b"\xff", "json_invalid"),
        (b'{"a":NaN}', "json_ambiguous"),
        (b'{"a":1,"a":2}', "json_ambiguous"),
        (b'{"a":"\\u0000"}', "json_ambiguous"),
        (b'{"a":"\\ud800"}', "json_ambiguous"),
        (b"[]", "body_invalid"),
        (b"null", "body_invalid"),
    ],
)
def test_a_body_that_is_no_plain_object_is_refused(raw: bytes, code: str) -> None:
    assert _code(shapes.fund_intent, raw) == code

"""What the OpenAPI document says of bodies and answers: schemas and examples that a stranger can send.

Bodies are read as raw bytes (signatures are over them), so these documents are written here, not derived.
"""

from gateway.auth.recognition import HEADER as PROOF_HEADER
from gateway.routes.errors import JsonDocument, refusals_of_command, refusals_of_proven_command

_INTENT_ID = "7f2a9b1e-2f66-4f4f-9c6e-8f4b8e85c401"
_PROOF_PARAMETER: JsonDocument = {
    "name": PROOF_HEADER,
    "in": "header",
    "required": True,
    "description": "base64url of the recognition proof, unpadded",
    "schema": {"type": "string"},
}
_KEY_PARAMETER: JsonDocument = {
    "name": "idempotency-key",
    "in": "header",
    "required": False,
    "description": "1 to 256 characters: the same key and body get the first answer, for 24 h",
    "schema": {"type": "string", "minLength": 1, "maxLength": 256},
}
_TENANT_PARAMETER: JsonDocument = {
    "name": "x-tenant-id",
    "in": "header",
    "required": False,
    "description": "an assertion: the credential's tenant, or 401",
    "schema": {"type": "string"},
}
_TEXT = {"type": "string"}
_OBJECT = {"type": "object"}


def _body(schema: JsonDocument, example: JsonDocument, *, is_proven: bool = True) -> JsonDocument:
    parameters = [_KEY_PARAMETER, _TENANT_PARAMETER]
    return {
        "parameters": [_PROOF_PARAMETER, *parameters] if is_proven else parameters,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
    }


def _answer(description: str, example: JsonDocument) -> JsonDocument:
    schema = {
        "type": "object",
        "required": list(example),
        "additionalProperties": True,
    }
    content = {"application/json": {"schema": schema, "example": example}}
    return {"description": description, "content": content}


CREATE_BODY = _body(
    {
        "type": "object",
        "required": [
            "intent_id",
            "principal_did",
            "principal_pubkey",
            "principal_signature",
            "payee_did",
            "payee_pubkey",
            "budget",
            "currency",
            "amount_cents",
            "evidence_schema",
            "deadline",
            "settlement_rail",
            "allowed_tools",
            "signing_version",
        ],
        "properties": {
            "intent_id": {"type": "string", "format": "uuid"},
            "principal_did": _TEXT,
            "principal_pubkey": _TEXT,
            "principal_signature": _TEXT,
            "payee_did": _TEXT,
            "payee_pubkey": _TEXT,
            "budget": _OBJECT,
            "currency": {"type": "string", "pattern": "^[a-z]{3}$"},
            "amount_cents": {"type": "integer", "minimum": 1, "maximum": 99_999_999},
            "evidence_schema": _OBJECT,
            "predicate_dsl": _OBJECT,
            "policy_binding": {"type": ["object", "null"]},
            "deadline": {"type": "string", "format": "date-time"},
            "settlement_rail": _TEXT,
            "allowed_tools": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 64},
            "signing_version": {"type": "integer", "enum": [6, 7]},
            "predicate_ref": _TEXT,
            "completion_preset_id": _TEXT,
        },
    },
    {
        "intent_id": _INTENT_ID,
        "principal_did": "did:web:principal.test",
        "principal_pubkey": "vHy8tWNjdfodgkNNRmck2SN39TuYBpXdSdJtDOEiBaU=",
        "principal_signature": "DkZRXTNgJp1aGtPAqSgIW6iBhbGFxKLbaw+SDE2iiIkDQLic5X9AcovwDHn2evVp"
        "zKatmcBc4au1Lv6g5qY/Cw==",
        "payee_did": "did:web:payee.test",
        "payee_pubkey": "Zej5sLxurhJBafBXb5c2LSlajPX3cLReFDV85kfTPuw=",
        "budget": {"currency": "usd", "max_spend_usd": 20},
        "currency": "usd",
        "amount_cents": 20000,
        "evidence_schema": {"type": "object", "required": ["status"]},
        "predicate_dsl": {"version": 1, "root": {"op": "true"}},
        "policy_binding": None,
        "deadline": "2030-01-02T15:04:05Z",
        "settlement_rail": "stripe_connect",
        "allowed_tools": ["Travel.Book_Hotel", "travel.search"],
        "signing_version": 6,
    },
)
EMPTY_BODY = _body({"type": "object"}, {})
EVIDENCE_BODY = _body(
    {
        "type": "object",
        "required": [
            "payload",
            "artifacts",
            "payee_did",
            "payee_pubkey",
            "payee_signature",
            "submitted_at",
        ],
        "properties": {
            "payload": _OBJECT,
            "artifacts": {
                "type": "array",
                "maxItems": 64,
                "items": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            },
            "payee_did": _TEXT,
            "payee_pubkey": _TEXT,
            "payee_signature": _TEXT,
            "submitted_at": {"type": "string", "format": "date-time"},
        },
    },
    {
        "payload": {"cost_cents": 18700, "status": "completed"},
        "artifacts": ["ab" * 32],
        "payee_did": "did:web:payee.test",
        "payee_pubkey": "Zej5sLxurhJBafBXb5c2LSlajPX3cLReFDV85kfTPuw=",
        "payee_signature": "W5yyB+EBGSaPsbdQG4L2qv/Wp8xM5O6DyuG5XVNpSqCtJG78PdOdWvGv65hw/Hp2sNOC"
        "v1WhQjr5m3SdZ2KzDw==",
        "submitted_at": "2030-01-02T15:04:05Z",
    },
)
_REASON = {"type": "string", "pattern": "^[a-z0-9][a-z0-9._:-]*$", "maxLength": 128}
REASON_BODY = _body(
    {"type": "object", "required": ["reason_code"], "properties": {"reason_code": _REASON}},
    {"reason_code": "work_not_delivered"},
    is_proven=False,
)
RESOLVE_BODY = _body(
    {
        "type": "object",
        "required": ["outcome", "reason_code"],
        "properties": {
            "outcome": {
                "type": "string",
                "enum": ["release", "refund", "resolved_split", "escalated_external"],
            },
            "reason_code": _REASON,
            "split": {
                "type": "object",
                "required": ["payee_cents", "principal_cents"],
                "properties": {
                    "payee_cents": {"type": "integer"},
                    "principal_cents": {"type": "integer"},
                },
            },
            "custody": {"type": "string", "enum": ["capture", "cancel"]},
            "external_ref": _TEXT,
        },
    },
    {
        "outcome": "resolved_split",
        "reason_code": "partial_delivery",
        "split": {"payee_cents": 15000, "principal_cents": 5000},
    },
    is_proven=False,
)

_BASE = {"tenant": "tenant-vec", "intent_id": _INTENT_ID}
_FUNDING = {
    **_BASE,
    "state": "funded",
    "settlement_rail": "stripe_connect",
    "currency": "usd",
    "amount_cents": 20000,
    "funded": True,
}
CREATE_ANSWERS: dict[int | str, JsonDocument] = {
    201: _answer("Created", {**_BASE, "state": "open", "ledger_seq": 2}),
    **refusals_of_proven_command(
        "amount_invalid",
        "currency_unsupported",
        "amount_not_representable",
        "deadline_invalid",
        "allowed_tools_empty",
        "tools_invalid",
        "rail_unknown",
        "rail_not_enabled",
        "policy_unknown",
        "preset_unknown",
        "key_published",
        "key_pinned",
        "principal_signature_invalid",
        "intent_exists",
        "deadline_passed",
        "intent.predicate.invalid",
        "evidence_schema_invalid",
    ),
}
FUND_ANSWERS: dict[int | str, JsonDocument] = {
    200: _answer("The amount is held", _FUNDING),
    202: _answer("The rail works on it", {**_FUNDING, "state": "open", "funded": False}),
    **refusals_of_proven_command(
        "intent_not_found",
        "rail_not_enabled",
        "intent_final",
        "intent_frozen",
        "settlement_in_progress",
        "deadline_passed",
        "payment_declined",
    ),
}
EVIDENCE_ANSWERS: dict[int | str, JsonDocument] = {
    200: _answer(
        "Stored and evaluated",
        {**_BASE, "state": "evidence_submitted", "predicate_passed": True},
    ),
    202: _answer("Not decided yet", _BASE),
    **refusals_of_proven_command(
        "payload_invalid",
        "intent_not_found",
        "submitted_at_skewed",
        "payee_mismatch",
        "key_pinned",
        "payee_signature_invalid",
        "intent_final",
        "intent_frozen",
        "not_funded",
        "evidence_exists",
        "deadline_passed",
    ),
}
CONFIRM_ANSWERS: dict[int | str, JsonDocument] = {
    200: _answer("Settled", {**_BASE, "state": "released"}),
    202: _answer("The rail works on it", {**_BASE, "state": "evidence_submitted"}),
    **refusals_of_proven_command(
        "intent_not_found",
        "intent_final",
        "intent_frozen",
        "settlement_in_progress",
        "no_evidence",
        "payment_declined",
    ),
}
_DISPUTE_ENDS: dict[int | str, JsonDocument] = {
    200: _answer("Done", {**_BASE, "state": "disputed"}),
    202: _answer("The rail works on it", {**_BASE, "state": "disputed"}),
}
OPEN_ANSWERS: dict[int | str, JsonDocument] = {
    **_DISPUTE_ENDS,
    **refusals_of_command(
        "intent_not_found",
        "settlement_in_progress",
        "not_disputable",
    ),
}
WITHDRAW_ANSWERS: dict[int | str, JsonDocument] = {
    **_DISPUTE_ENDS,
    **refusals_of_command(
        "intent_not_found",
        "settlement_in_progress",
        "not_disputed",
    ),
}
RESOLVE_ANSWERS: dict[int | str, JsonDocument] = {
    **_DISPUTE_ENDS,
    **refusals_of_command(
        "intent_not_found",
        "settlement_in_progress",
        "not_disputed",
        "split_invalid",
        "custody_required",
        "payment_declined",
    ),
}

"""Which codes a route can answer with, from the one table: what its OpenAPI says, and what tests hold its answers to.

A path that leads nowhere and a method it does not take (`not_found` 404, `method_not_allowed` 405) are no route's.
"""

from collections.abc import Iterable
from typing import Any, Final

from schemas.messages.refusals import rule_of

JsonDocument = dict[str, Any]
Responses = dict[int | str, JsonDocument]

_EVERYWHERE: Final = (
    "headers_too_large",
    "credential_invalid",
    "tenant_mismatch",
    "permission_denied",
    "internal_error",
    "unavailable",
)
_BODY: Final = ("body_too_large", "json_invalid", "json_ambiguous", "body_invalid")
# Of any command: first what the gateway finds, then Harbor.
_COMMAND: Final = (
    *_EVERYWHERE,
    *_BODY,
    "idempotency_key_invalid",
    "too_many_in_flight",
    "idempotency_key_reused",
    "command_expired",
    "command_too_large",
    "tenant_quarantined",
    "tenant_unknown",
    "ledger_topic_missing",
)
_PROVEN: Final = (
    *_COMMAND,
    "recognition_proof_required",
    "recognition_proof_malformed",
    "recognition_proof_expired",
    "recognition_proof_mismatch",
    "recognition_proof_replayed",
    "unregistered_key",
    "revoked_key",
)


def refusals_of_look(*codes: str) -> Responses:
    """Of a route that judges no parameter and reads no body; `codes` are its own."""
    return _responses((*_EVERYWHERE, *codes))


def refusals_of_read(*codes: str) -> Responses:
    """Parameters are judged (`body_invalid`), and the tables may be behind (`unavailable`)."""
    return _responses((*_EVERYWHERE, "body_invalid", *codes))


def refusals_of_write(*codes: str) -> Responses:
    """Of a row of the gateway's own."""
    return _responses((*_EVERYWHERE, *_BODY, *codes))


def refusals_of_command(*codes: str) -> Responses:
    return _responses((*_COMMAND, *codes))


def refusals_of_proven_command(*codes: str) -> Responses:
    return _responses((*_PROVEN, *codes))


def _responses(codes: Iterable[str]) -> Responses:
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(rule_of(code).http_status, []).append(code)
    return {status: _response(found) for status, found in sorted(by_status.items())}


def _response(codes: list[str]) -> JsonDocument:
    """One status; `code` tells which of its reasons it is."""
    error = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "string", "enum": codes},
            "message": {"type": "string"},
            "details": {"type": "object"},
        },
    }
    schema = {
        "type": "object",
        "required": ["error", "request_id"],
        "properties": {"error": error, "request_id": {"type": "string"}},
    }
    example = {
        "error": {"code": codes[0], "message": rule_of(codes[0]).message},
        "request_id": "req_0a1b2c3d4e5f60718293a4b5",
    }
    return {
        "description": "Refused: " + ", ".join(codes),
        "content": {"application/json": {"schema": schema, "example": example}},
    }

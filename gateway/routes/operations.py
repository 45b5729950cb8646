"""What became of a request that was answered 202. The id proves itself, so it means something before any outcome."""

import json
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.permissions import Permission
from gateway.commands.answers import Secrets, compact, result_members
from gateway.commands.operation_id import KEPT, Operation, read_operation_id
from gateway.edge.refused import RefusedError
from gateway.queries.operations import find_outcome
from gateway.routes.errors import refusals_of_read
from gateway.routes.reading import (
    JsonDocument,
    ReadPathOf,
    document_response,
    reading,
    shows,
    takes,
)
from schemas.instants import format_instant
from schemas.messages.outcomes import IntentAnswer, Outcome, OutcomeStatus, Refusal
from schemas.messages.refusals import REFUSALS

_OPERATION = {
    "tenant_id": "tenant-vec",
    "operation_id": "op_Gx3…",
    "status": "done",
    "result": {"tenant": "tenant-vec", "intent_id": "7f2a9b1e-…", "state": "funded"},
}

_REUSED = Refusal(code="idempotency_key_reused", message=REFUSALS["idempotency_key_reused"].message)

router = APIRouter(tags=["operations"])


@router.get(
    "/v1/operations/{operation_id}",
    openapi_extra=takes(),
    responses={200: shows(_OPERATION), **refusals_of_read("not_found", "operation_expired")},
)
async def read_operation(request: Request, path: ReadPathOf, operation_id: str) -> Response:
    """`pending` until it is decided and, where a rail works on it, ended; then `done` or `refused`."""
    asked = await reading(request, Permission.INTENT_READ)
    operation = read_operation_id(path.operation_key, asked.tenant_id, operation_id)
    if operation is None:
        raise RefusedError("not_found")
    if path.clock.now() - operation.started_at > KEPT:
        raise RefusedError("operation_expired")
    outcome = await find_outcome(path.reads, asked.tenant_id, operation.command_id)
    outcome = None if outcome is None else said_to(operation, outcome)
    document = {
        "tenant_id": asked.tenant_id,
        "operation_id": operation_id,
        "started_at": format_instant(operation.started_at),
        **operation_members(outcome, path.secrets),
    }
    # As the answer itself is written: a predicate's path may have an array step of any size, which orjson refuses.
    return document_response(compact(document))


def said_to(operation: Operation, newest: Outcome) -> Outcome | None:
    """What the newest answer under the key means for the attempt that the operation is; None = not decided yet.

    The table has one answer per key. Commands are decided in their order, so a later attempt's refusal has taken the
    place of this one's; an earlier one's says nothing of it.
    """
    attempt = operation.attempt
    if attempt is None or attempt.is_answered_by(newest):
        return newest
    if not newest.input_hash.startswith(attempt.body):
        return replace(newest, status=OutcomeStatus.REFUSED, refusal=_REUSED, answer=None)
    return newest if newest.recorded_at > operation.started_at else None


def operation_members(outcome: Outcome | None, secrets: Secrets) -> JsonDocument:
    """Status, and `result` or `error`. While a rail works, `result` shows how far it is."""
    if outcome is None or outcome.status is OutcomeStatus.RETRY:
        return {"status": "pending"}
    if outcome.status is OutcomeStatus.REFUSED:
        return {"status": "refused", "error": _error(outcome)}
    status = "done" if outcome.status is OutcomeStatus.DONE else "pending"
    if not isinstance(outcome.answer, IntentAnswer):
        return {"status": status}
    return {"status": status, "result": result_members(outcome, secrets)}


def _error(outcome: Outcome) -> JsonDocument:
    refusal = outcome.refusal
    assert refusal is not None
    error: JsonDocument = {"code": refusal.code, "message": refusal.message}
    if refusal.details_json is not None:
        error["details"] = json.loads(refusal.details_json)
    return error

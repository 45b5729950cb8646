"""Operators look at intents: one with its whole story, a page of them, and the money per state."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.permissions import Permission
from gateway.commands.answers import compact
from gateway.edge.refused import RefusedError
from gateway.queries import intents
from gateway.queries.parameters import SEQ_MAX, cursor_of, integer_of
from gateway.routes.errors import refusals_of_read
from gateway.routes.intent_document import instant, intent_document, list_item, totals_item
from gateway.routes.intents import IntentIdPath
from gateway.routes.reading import (
    CURSOR,
    ReadPathOf,
    document_response,
    json_response,
    limit_parameter,
    parameter,
    reading,
    shows,
    takes,
)
from schemas.ids import IntentId, is_canonical_uuid
from schemas.messages.shared import IntentStatus

PAGE_MAX = 200
PAGE_DEFAULT = 50
_CURSOR_KIND = "intents"
_RETRY_AFTER_SECONDS = 1

_ID = "7f2a9b1e-2f66-4f4f-9c6e-8f4b8e85c401"
_LINE = {
    "intent_id": _ID,
    "status": "funded",
    "amount_cents": 20000,
    "currency": "usd",
    "created_at": "2030-01-01T12:00:00Z",
}
_INTENT = {
    "tenant_id": "tenant-vec",
    "intent_id": _ID,
    "state": "funded",
    "status": "funded",
    "allowed_tools": ["travel.search"],
    "evidence_due_at": "2030-01-02T15:04:05Z",
    "hold_expires_at": "2030-01-08T12:00:01Z",
    "settles_at": "2030-01-02T15:05:05Z",
    "next_action": {"kind": "refund", "at": "2030-01-02T15:05:05Z", "blocked_by": None},
    "ledger_seq": 4,
    "hold": {"status": "held", "amount_cents": 20000, "currency": "usd", "attempt": 1},
    "timeline": [{"seq": 2, "at": "2030-01-01T12:00:00Z", "event_type": "intent_created"}],
    "evidence": [],
}
_TOTALS = {
    "tenant_id": "tenant-vec",
    "ledger_seq": 4,
    "totals": [
        {
            "status": "funded",
            "currency": "usd",
            "intents": 1,
            "held_cents": 20000,
            "released_cents": 0,
            "refunded_cents": 0,
            "custody_cents": 0,
        }
    ],
}

router = APIRouter(prefix="/harbor/operator/v1", tags=["operator"])


@router.get(
    "/intents/{intent_id}",
    openapi_extra=takes(),
    responses={200: shows(_INTENT), **refusals_of_read("intent_not_found")},
)
async def read_intent(request: Request, path: ReadPathOf, intent_id: IntentIdPath) -> Response:
    """One intent: its state, hold, timeline and evidence, and what comes next by itself."""
    asked = await reading(request, Permission.INTENT_READ)
    if not is_canonical_uuid(intent_id):
        raise RefusedError("intent_not_found")
    stored = await path.intents.find(asked.tenant_id, IntentId(intent_id))
    if stored is None:
        raise RefusedError("intent_not_found")
    if not stored.is_whole:
        # The bodies come by another topic and are a moment behind.
        raise RefusedError("unavailable", retry_after_seconds=_RETRY_AFTER_SECONDS)
    return json_response(intent_document(stored, path.clock.now()))


@router.get(
    "/intents",
    openapi_extra=takes(
        limit_parameter(PAGE_MAX, PAGE_DEFAULT),
        CURSOR,
        parameter("status", "only these", {"type": "string", "enum": list(IntentStatus)}),
        parameter("operator_did", "only this payee's", {"type": "string", "maxLength": 512}),
    ),
    responses={
        200: shows({"tenant_id": "tenant-vec", "intents": [_LINE], "next_cursor": None}),
        **refusals_of_read(),
    },
)
async def list_intents(request: Request, path: ReadPathOf) -> Response:
    """A page of intents, newest first."""
    known = ("limit", "cursor", "status", "operator_did")
    asked = await reading(request, Permission.INTENT_READ, *known)
    limit = asked.parameters.limit(default=PAGE_DEFAULT, maximum=PAGE_MAX)
    position = asked.parameters.cursor(_CURSOR_KIND)
    rows = await intents.page_of_intents(
        path.reads,
        asked.tenant_id,
        before_seq=SEQ_MAX + 1 if position is None else _seq_of(position),
        status=asked.parameters.one_of("status", set(IntentStatus)),
        operator_did=asked.parameters.text("operator_did"),
        # One more tells whether there is a next page.
        limit=limit + 1,
    )
    page = rows[:limit]
    has_more = len(rows) > limit
    next_cursor = cursor_of(_CURSOR_KIND, str(page[-1]["created_seq"])) if has_more else None
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "intents": [list_item(row) for row in page],
            "next_cursor": next_cursor,
        }
    )


@router.get(
    "/summary", openapi_extra=takes(), responses={200: shows(_TOTALS), **refusals_of_read()}
)
async def summary(request: Request, path: ReadPathOf) -> Response:
    """How many intents stand in each state, and what is held, released, refunded and in custody."""
    asked = await reading(request, Permission.INTENT_READ)
    rows, tenant = await intents.totals(path.reads, asked.tenant_id)
    document = {
        "tenant_id": asked.tenant_id,
        "ledger_seq": 0 if tenant is None else tenant["last_seq"],
        "as_of": None if tenant is None else instant(tenant["last_recorded_at"]),
        "totals": [totals_item(row) for row in rows],
    }
    # Sums may be larger than 64 bits, which orjson does not write.
    return document_response(compact(document))


def _seq_of(position: str) -> int:
    return integer_of("cursor", position, minimum=1, maximum=SEQ_MAX)

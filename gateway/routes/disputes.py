"""Operators freeze an intent by a dispute, and end it. A credential with the permission, no proof."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.permissions import Permission
from gateway.commands import shapes
from gateway.commands.submit import Mutation
from gateway.edge.envelope import response_of
from gateway.edge.raw_request import incoming
from gateway.routes.documents import (
    OPEN_ANSWERS,
    REASON_BODY,
    RESOLVE_ANSWERS,
    RESOLVE_BODY,
    WITHDRAW_ANSWERS,
)
from gateway.routes.intents import Commands, IntentIdPath

OPEN = Mutation(
    permission=Permission.DISPUTE_OPEN,
    purpose=None,
    body_of=shapes.open_dispute,
    valid_for=None,
)
RESOLVE = Mutation(
    permission=Permission.DISPUTE_RESOLVE,
    purpose=None,
    body_of=shapes.resolve_dispute,
    valid_for=None,
)
WITHDRAW = Mutation(
    permission=Permission.DISPUTE_RESOLVE,
    purpose=None,
    body_of=shapes.withdraw_dispute,
    valid_for=None,
)

router = APIRouter(prefix="/harbor/operator/v1/intents/{intent_id}/dispute", tags=["disputes"])


@router.post("/open", openapi_extra=REASON_BODY, responses=OPEN_ANSWERS)
async def open_dispute(request: Request, commands: Commands, intent_id: IntentIdPath) -> Response:
    """Freeze the intent: nothing settles it but this dispute's end, or the loss of its hold."""
    answer = await commands.submit(await incoming(request), OPEN, intent_id=intent_id)
    return response_of(answer)


@router.post("/resolve", openapi_extra=RESOLVE_BODY, responses=RESOLVE_ANSWERS)
async def resolve_dispute(
    request: Request, commands: Commands, intent_id: IntentIdPath
) -> Response:
    """Decide the dispute; the final state follows when the rail has done it."""
    answer = await commands.submit(await incoming(request), RESOLVE, intent_id=intent_id)
    return response_of(answer)


@router.post("/withdraw", openapi_extra=REASON_BODY, responses=WITHDRAW_ANSWERS)
async def withdraw_dispute(
    request: Request, commands: Commands, intent_id: IntentIdPath
) -> Response:
    """Back to the state before: the dispute was opened by mistake."""
    answer = await commands.submit(await incoming(request), WITHDRAW, intent_id=intent_id)
    return response_of(answer)

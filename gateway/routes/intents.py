"""The four routes of an intent's life that integrators call, each with a recognition proof."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.permissions import Permission
from gateway.commands import shapes
from gateway.commands.submit import CommandPath, Mutation
from gateway.edge.envelope import response_of
from gateway.edge.raw_request import incoming
from gateway.routes.documents import (
    CONFIRM_ANSWERS,
    CREATE_ANSWERS,
    CREATE_BODY,
    EMPTY_BODY,
    EVIDENCE_ANSWERS,
    EVIDENCE_BODY,
    FUND_ANSWERS,
)

# After this a client has long retried or given up: deciding it then would surprise.
VALID_FOR = timedelta(minutes=10)

CREATE = Mutation(
    permission=Permission.INTENT_CREATE,
    purpose="harbor.intent.create",
    body_of=shapes.create_intent,
    intent_id_of=shapes.intent_id_of,
    valid_for=VALID_FOR,
)
FUND = Mutation(
    permission=Permission.INTENT_FUND,
    purpose="harbor.intent.fund",
    body_of=shapes.fund_intent,
    valid_for=VALID_FOR,
)
SUBMIT_EVIDENCE = Mutation(
    permission=Permission.INTENT_EVIDENCE,
    purpose="harbor.intent.evidence.submit",
    body_of=shapes.submit_evidence,
    is_salted=True,
    # Work done in time stays done, however late the log is read.
    valid_for=None,
)
CONFIRM = Mutation(
    permission=Permission.INTENT_CONFIRM,
    purpose="harbor.intent.settlement.confirm",
    body_of=shapes.confirm_settlement,
    valid_for=VALID_FOR,
)

IntentIdPath = Annotated[str, Path(description="The intent's id, a lower-case UUID.")]


# Async, though it awaits nothing: FastAPI would call a plain function on a thread of its own.
async def command_path_of(request: Request) -> CommandPath:
    path: CommandPath = request.app.state.command_path
    return path


Commands = Annotated[CommandPath, Depends(command_path_of)]

router = APIRouter(tags=["intents"])


@router.post(
    "/harbor/intents", status_code=201, openapi_extra=CREATE_BODY, responses=CREATE_ANSWERS
)
async def create(request: Request, commands: Commands) -> Response:
    """Create an intent that its principal has signed."""
    return response_of(await commands.submit(await incoming(request), CREATE))


@router.post("/harbor/intents/{intent_id}/fund", openapi_extra=EMPTY_BODY, responses=FUND_ANSWERS)
async def fund(request: Request, commands: Commands, intent_id: IntentIdPath) -> Response:
    """Ask the rail to hold the amount; poll with fresh proofs until `funded`."""
    answer = await commands.submit(await incoming(request), FUND, intent_id=intent_id)
    return response_of(answer)


@router.post(
    "/harbor/intents/{intent_id}/evidence",
    openapi_extra=EVIDENCE_BODY,
    responses=EVIDENCE_ANSWERS,
)
async def submit_evidence(
    request: Request, commands: Commands, intent_id: IntentIdPath
) -> Response:
    """Submit the payee's signed evidence; it is evaluated once, now."""
    answer = await commands.submit(await incoming(request), SUBMIT_EVIDENCE, intent_id=intent_id)
    return response_of(answer)


@router.post(
    "/harbor/intents/{intent_id}/settlement/confirm",
    openapi_extra=EMPTY_BODY,
    responses=CONFIRM_ANSWERS,
)
async def confirm(request: Request, commands: Commands, intent_id: IntentIdPath) -> Response:
    """Execute what the stored evaluation implies: release or refund."""
    answer = await commands.submit(await incoming(request), CONFIRM, intent_id=intent_id)
    return response_of(answer)

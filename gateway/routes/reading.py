"""What every reading route does first, and how it answers: judge the credential, wait for its own writes, render.

Answers are orjson's compact bytes; JSON text that was stored as text is put in as it is, so that number literals stay.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.credential import Credential
from gateway.auth.guard import authorized
from gateway.auth.permissions import Permission
from gateway.queries import minimum_seq
from gateway.queries.parameters import Parameters
from gateway.queries.read_path import ReadPath
from schemas.ids import TenantId

JsonDocument = dict[str, Any]


# Async, though it awaits nothing: FastAPI would call a plain function on a thread of its own.
async def read_path_of(request: Request) -> ReadPath:
    path: ReadPath = request.app.state.read_path
    return path


ReadPathOf = Annotated[ReadPath, Depends(read_path_of)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A judged request: whose rows, and with which parameters."""

    credential: Credential
    parameters: Parameters

    @property
    def tenant_id(self) -> TenantId:
        return self.credential.tenant_id


async def reading(request: Request, permission: Permission, *known: str) -> Reading:
    """Credential, tenant, permission, parameters, then the wait for `x-paybond-min-ledger-seq`.

    Raises RefusedError, DatabaseUnavailableError.
    """
    credential = await authorized(request, permission)
    parameters = Parameters(request.query_params.multi_items(), known=known)
    seq = minimum_seq.minimum_seq_of(request.headers.getlist(minimum_seq.HEADER))
    path = await read_path_of(request)
    await minimum_seq.wait_for(
        path.reads, path.arrivals, credential.tenant_id, seq, seconds=path.minimum_seq_seconds
    )
    return Reading(credential=credential, parameters=parameters)


def json_response(document: object, http_status: int = 200) -> Response:
    """No integer of `document` has more than 64 bits: orjson refuses those; else `document_response`."""
    return document_response(orjson.dumps(document), http_status)


def document_response(content: bytes, http_status: int = 200) -> Response:
    """A tenant's data must not stay in a shared cache."""
    return Response(
        content=content,
        status_code=http_status,
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )


def json_text(text: str) -> orjson.Fragment:
    """JSON text as it was stored, literals and all."""
    return orjson.Fragment(text.encode())


def parameter(name: str, description: str, schema: JsonDocument) -> JsonDocument:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


def header(name: str, description: str, schema: JsonDocument) -> JsonDocument:
    return {**parameter(name, description, schema), "in": "header"}


TENANT = header("x-tenant-id", "an assertion: the credential's tenant, or 401", {"type": "string"})
MINIMUM_SEQ = header(
    minimum_seq.HEADER,
    "wait, at most 3 s, until the entry of this `ledger_seq` and its bodies can be read; else 503",
    {"type": "integer", "minimum": 1},
)
CURSOR = parameter(
    "cursor", "`next_cursor` of the page before", {"type": "string", "maxLength": 512}
)


def limit_parameter(maximum: int, default: int) -> JsonDocument:
    schema = {"type": "integer", "minimum": 1, "maximum": maximum, "default": default}
    return parameter("limit", "how many at most", schema)


def takes(*parameters: JsonDocument) -> JsonDocument:
    """OpenAPI of a read: its own parameters and those of every read."""
    return {"parameters": [*parameters, TENANT, MINIMUM_SEQ]}


def shows(example: JsonDocument, description: str = "Found") -> JsonDocument:
    """OpenAPI of an answer: every member of the example is always there."""
    schema = {"type": "object", "required": list(example), "additionalProperties": True}
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "example": example}},
    }

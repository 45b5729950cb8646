"""The pinned Avro schemas at the paths of a Confluent schema registry, read-only, so that stock deserializers work.

On the private listener, without credentials: schemas are in the repository anyway, and hold nothing of a tenant.
"""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from schemas.messages.avro_codec import RegisteredSchema, registry

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
# Confluent's error codes: the HTTP status and two digits.
_SUBJECT_NOT_FOUND = 40401
_VERSION_NOT_FOUND = 40402
_SCHEMA_NOT_FOUND = 40403
_VERSION_INVALID = 42202
_VERSION_MAX = 2**31 - 1


async def schema_by_id(request: Request) -> Response:
    found = _by_id(request.path_params["id"])
    if found is None:
        return _error(_SCHEMA_NOT_FOUND, "Schema not found")
    return _answer({"schema": found.text, "schemaType": "AVRO"})


async def versions_by_id(request: Request) -> Response:
    found = _by_id(request.path_params["id"])
    if found is None:
        return _error(_SCHEMA_NOT_FOUND, "Schema not found")
    return _answer([{"subject": found.subject, "version": found.version}])


async def subjects(_request: Request) -> Response:
    return _answer(sorted({row.subject for row in registry()}))


async def versions(request: Request) -> Response:
    found = _of_subject(request.path_params["subject"])
    if not found:
        return _error(_SUBJECT_NOT_FOUND, "Subject not found")
    return _answer([row.version for row in found])


async def version(request: Request) -> Response:
    found = _of_subject(request.path_params["subject"])
    if not found:
        return _error(_SUBJECT_NOT_FOUND, "Subject not found")
    wanted: str = request.path_params["version"]
    if wanted == "latest":
        return _answer(_document(found[-1]))
    if not wanted.isascii() or not wanted.isdecimal() or not 1 <= int(wanted) <= _VERSION_MAX:
        return _error(
            _VERSION_INVALID, "The version must be an integer from 1 to 2^31-1, or latest"
        )
    row = next((row for row in found if row.version == int(wanted)), None)
    if row is None:
        return _error(_VERSION_NOT_FOUND, "Version not found")
    return _answer(_document(row))


async def schema_types(_request: Request) -> Response:
    return _answer(["AVRO"])


ROUTES: tuple[BaseRoute, ...] = (
    Route("/schemas/ids/{id}", schema_by_id),
    Route("/schemas/ids/{id}/versions", versions_by_id),
    Route("/schemas/types", schema_types),
    Route("/subjects", subjects),
    Route("/subjects/{subject}/versions", versions),
    Route("/subjects/{subject}/versions/{version}", version),
)


def _by_id(text: str) -> RegisteredSchema | None:
    return next((row for row in registry() if str(row.id) == text), None)


def _of_subject(subject: str) -> Sequence[RegisteredSchema]:
    found = [row for row in registry() if row.subject == subject]
    return sorted(found, key=lambda row: row.version)


def _document(row: RegisteredSchema) -> dict[str, object]:
    return {
        "subject": row.subject,
        "version": row.version,
        "id": row.id,
        "schemaType": "AVRO",
        "schema": row.text,
    }


def _answer(document: object) -> Response:
    return JSONResponse(document, media_type=MEDIA_TYPE)


def _error(code: int, message: str) -> Response:
    document = {"error_code": code, "message": message}
    return JSONResponse(document, status_code=code // 100, media_type=MEDIA_TYPE)

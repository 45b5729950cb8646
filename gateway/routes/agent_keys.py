"""The tenant's trusted agent keys: whose recognition proofs its mutating routes accept, and for which purposes."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.guard import authorized
from gateway.auth.key_admin import PURPOSES, AgentKeyRequest
from gateway.auth.permissions import Permission
from gateway.commands import members
from gateway.edge.raw_request import read_body
from gateway.edge.refused import RefusedError
from gateway.outbox.rows import AgentKeyRow
from gateway.queries.keys import page_of_agent_keys
from gateway.queries.parameters import cursor_of
from gateway.routes.errors import refusals_of_look, refusals_of_read, refusals_of_write
from gateway.routes.intent_document import instant
from gateway.routes.reading import (
    CURSOR,
    TENANT,
    JsonDocument,
    ReadPathOf,
    json_response,
    limit_parameter,
    reading,
    shows,
    takes,
)
from schemas.canonical.literal_json import Json
from schemas.errors import InstantError
from schemas.instants import format_instant, parse_instant

PAGE_MAX = 200
PAGE_DEFAULT = 100
_CURSOR_KIND = "agent-keys"
# As in a recognition proof (signing.md §3): another spelling could never prove anything.
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,127}")
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}")

_KEY = {
    "key_id": "agent-key-1",
    "algorithm": "ed25519",
    "public_key_hex": "acf12b4acc1c660a8326aed34039efb728a5e496488240f50a932ab7aba51751",
    "purposes": ["harbor.intent.create", "harbor.intent.fund"],
    "expires_at": "2031-01-01T00:00:00Z",
    "created_at": "2030-01-01T12:00:00Z",
    "revoked_at": None,
}
_BODY: JsonDocument = {
    "parameters": [TENANT],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["key_id", "public_key_hex", "purposes"],
                    "additionalProperties": False,
                    "properties": {
                        "key_id": {"type": "string", "pattern": f"^{_KEY_ID.pattern}$"},
                        "public_key_hex": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                        "purposes": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "enum": sorted(PURPOSES)},
                        },
                        "expires_at": {"type": ["string", "null"], "format": "date-time"},
                    },
                },
                "example": {
                    name: _KEY[name]
                    for name in ("key_id", "public_key_hex", "purposes", "expires_at")
                },
            }
        },
    },
}

router = APIRouter(prefix="/v1/admin/agent-keys", tags=["keys"])


@router.get(
    "",
    openapi_extra=takes(limit_parameter(PAGE_MAX, PAGE_DEFAULT), CURSOR),
    responses={
        200: shows({"tenant_id": "tenant-vec", "agent_keys": [_KEY], "next_cursor": None}),
        **refusals_of_read(),
    },
)
async def list_agent_keys(request: Request, path: ReadPathOf) -> Response:
    """The tenant's trusted agent keys, revoked and expired ones too."""
    asked = await reading(request, Permission.AGENT_KEYS, "limit", "cursor")
    limit = asked.parameters.limit(default=PAGE_DEFAULT, maximum=PAGE_MAX)
    after = asked.parameters.cursor(_CURSOR_KIND) or ""
    rows = await page_of_agent_keys(path.reads, asked.tenant_id, after=after, limit=limit + 1)
    has_more = len(rows) > limit
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "agent_keys": [_document(row) for row in rows[:limit]],
            "next_cursor": cursor_of(_CURSOR_KIND, rows[limit - 1]["key_id"]) if has_more else None,
        }
    )


@router.post(
    "",
    status_code=201,
    openapi_extra=_BODY,
    responses={
        201: shows({"tenant_id": "tenant-vec", **_KEY}, "Registered"),
        **refusals_of_write("agent_key_exists"),
    },
)
async def register_agent_key(request: Request, path: ReadPathOf) -> Response:
    """Trust a key for purposes that the caller may do itself."""
    credential = await authorized(request, Permission.AGENT_KEYS)
    body = members.body_object(members.json_of(await read_body(request)))
    members.only(body, {"key_id", "public_key_hex", "purposes", "expires_at"})
    asked = AgentKeyRequest(
        key_id=_matching(body, "key_id", _KEY_ID),
        public_key=bytes.fromhex(_matching(body, "public_key_hex", _PUBLIC_KEY)),
        purposes=_purposes(body),
        expires_at=_expires_at(body, path.clock.now()),
    )
    row = await path.keys.register_agent_key(credential, asked)
    return json_response({"tenant_id": row.tenant_id, **_row_document(row)}, 201)


@router.delete(
    # A key id may have slashes.
    "/{key_id:path}",
    openapi_extra={"parameters": [TENANT]},
    responses={
        200: shows({"tenant_id": "tenant-vec", **_KEY}, "Revoked"),
        **refusals_of_look("not_found"),
    },
)
async def revoke_agent_key(request: Request, path: ReadPathOf, key_id: str) -> Response:
    """From this answer on its proofs are refused; the id is never trusted again."""
    credential = await authorized(request, Permission.AGENT_KEYS)
    if _KEY_ID.fullmatch(key_id) is None:
        raise RefusedError("not_found")
    row = await path.keys.revoke_agent_key(credential.tenant_id, key_id)
    return json_response({"tenant_id": row.tenant_id, **_row_document(row)})


def _matching(body: Mapping[str, Json], member: str, pattern: re.Pattern[str]) -> str:
    text = members.text(body, member, length_max=128)
    if pattern.fullmatch(text) is None:
        raise members.wrong(member, f"must match {pattern.pattern}")
    return text


def _purposes(body: Mapping[str, Json]) -> tuple[str, ...]:
    purposes = members.texts(
        body, "purposes", refuse=lambda reason: members.wrong("purposes", reason)
    )
    if not purposes or not set(purposes) <= set(PURPOSES):
        raise members.wrong("purposes", "must name some of " + ", ".join(sorted(PURPOSES)))
    return purposes


def _expires_at(body: Mapping[str, Json], now: datetime) -> datetime | None:
    text = members.optional_text(body, "expires_at", length_max=64)
    if text is None:
        return None
    try:
        expires_at = parse_instant(text)
    except InstantError as error:
        raise members.wrong("expires_at", "must be an RFC 3339 time") from error
    if expires_at <= now:
        raise members.wrong("expires_at", "must lie in the future")
    return expires_at


def _document(row: Mapping[str, Any]) -> JsonDocument:
    return {
        "key_id": row["key_id"],
        "algorithm": "ed25519",
        "public_key_hex": bytes(row["public_key"]).hex(),
        "purposes": list(row["purposes"]),
        "expires_at": instant(row["expires_at"]),
        "created_at": format_instant(row["created_at"]),
        "revoked_at": instant(row["revoked_at"]),
    }


def _row_document(row: AgentKeyRow) -> JsonDocument:
    return {
        "key_id": row.key_id,
        "algorithm": "ed25519",
        "public_key_hex": row.public_key.hex(),
        "purposes": list(row.purposes),
        "expires_at": instant(row.expires_at),
        "created_at": format_instant(row.created_at),
        "revoked_at": instant(row.revoked_at),
    }

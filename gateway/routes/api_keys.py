"""A tenant's API keys: list, create, rotate, revoke. The secret is shown once, in the answer that makes it."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.api_key import KeyKind
from gateway.auth.guard import authorized
from gateway.auth.key_admin import IssuedKey
from gateway.auth.permissions import ROLES, Permission, roles_of
from gateway.commands import members
from gateway.edge.raw_request import read_body
from gateway.edge.refused import RefusedError
from gateway.outbox.rows import ApiKeyRow
from gateway.queries.keys import page_of_api_keys
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
from schemas.instants import format_instant

PAGE_MAX = 200
PAGE_DEFAULT = 100
LABEL_LENGTH_MAX = 128
_CURSOR_KIND = "api-keys"
_KEY_ID_PATTERN = re.compile(r"[0-9a-f]{32}")

_KEY_ID = "0123456789abcdef0123456789abcdef"
_KEY = {
    "key_id": _KEY_ID,
    "environment": "sandbox",
    "kind": "standard",
    "permissions": ["harbor.intent:read", "harbor.ledger:read"],
    "roles": ["analyst", "harbor.read"],
    "label": "nightly report",
    "created_at": "2030-01-01T12:00:00Z",
    "revoked_at": None,
}
_ISSUED = {
    "tenant_id": "tenant-vec",
    **_KEY,
    "api_key": f"paybond_sk_sandbox_{_KEY_ID}_<64 hex characters, shown once>",
}
_BODY: JsonDocument = {
    "parameters": [TENANT],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["label"],
                    "additionalProperties": False,
                    "properties": {
                        "label": {"type": "string", "maxLength": LABEL_LENGTH_MAX},
                        "kind": {"type": "string", "enum": list(KeyKind)},
                        "role": {"type": "string", "enum": sorted(ROLES)},
                        "permissions": {
                            "type": "array",
                            "items": {"type": "string", "enum": list(Permission)},
                        },
                    },
                },
                "example": {"label": "nightly report", "role": "harbor.read"},
            }
        },
    },
}

router = APIRouter(prefix="/v1/admin/api-keys", tags=["keys"])


@router.get(
    "",
    openapi_extra=takes(limit_parameter(PAGE_MAX, PAGE_DEFAULT), CURSOR),
    responses={
        200: shows({"tenant_id": "tenant-vec", "api_keys": [_KEY], "next_cursor": None}),
        **refusals_of_read(),
    },
)
async def list_api_keys(request: Request, path: ReadPathOf) -> Response:
    """The tenant's keys, revoked ones too; never a secret."""
    asked = await reading(request, Permission.API_KEYS, "limit", "cursor")
    limit = asked.parameters.limit(default=PAGE_DEFAULT, maximum=PAGE_MAX)
    after = asked.parameters.cursor(_CURSOR_KIND) or ""
    rows = await page_of_api_keys(path.reads, asked.tenant_id, after=after, limit=limit + 1)
    has_more = len(rows) > limit
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "api_keys": [_document(row) for row in rows[:limit]],
            "next_cursor": cursor_of(_CURSOR_KIND, rows[limit - 1]["key_id"]) if has_more else None,
        }
    )


@router.post(
    "",
    status_code=201,
    openapi_extra=_BODY,
    responses={201: shows(_ISSUED, "Made"), **refusals_of_write()},
)
async def create_api_key(request: Request, path: ReadPathOf) -> Response:
    """A key of this tenant and environment, with a role or permissions that the caller holds."""
    credential = await authorized(request, Permission.API_KEYS)
    body = members.body_object(members.json_of(await read_body(request)))
    members.only(body, {"label", "kind", "role", "permissions"})
    issued = await path.keys.create(
        credential,
        kind=_kind(body),
        permissions=_permissions(body),
        label=members.text(body, "label", length_max=LABEL_LENGTH_MAX),
    )
    return json_response(_issued(issued), 201)


@router.post(
    "/{key_id}/rotate",
    status_code=201,
    openapi_extra={"parameters": [TENANT]},
    responses={
        201: shows(_ISSUED, "Made; the old key is revoked"),
        **refusals_of_look("not_found"),
    },
)
async def rotate_api_key(request: Request, path: ReadPathOf, key_id: str) -> Response:
    """A new key with the same rights and label; the old one ends with this answer."""
    credential = await authorized(request, Permission.API_KEYS)
    issued = await path.keys.rotate(credential, _key_id(key_id))
    return json_response(_issued(issued), 201)


@router.delete(
    "/{key_id}",
    openapi_extra={"parameters": [TENANT]},
    responses={
        200: shows({"tenant_id": "tenant-vec", **_KEY}, "Revoked"),
        **refusals_of_look("not_found"),
    },
)
async def revoke_api_key(request: Request, path: ReadPathOf, key_id: str) -> Response:
    """From this answer on the key opens nothing, and can't come back. Revoking again answers the same."""
    credential = await authorized(request, Permission.API_KEYS)
    row = await path.keys.revoke(credential.tenant_id, _key_id(key_id))
    return json_response({"tenant_id": row.tenant_id, **_row_document(row)})


def _key_id(text: str) -> str:
    if _KEY_ID_PATTERN.fullmatch(text) is None:
        raise RefusedError("not_found")
    return text


def _kind(body: Mapping[str, Json]) -> KeyKind:
    kind = members.optional_text(body, "kind", length_max=16)
    if kind is None:
        return KeyKind.STANDARD
    if kind not in set(KeyKind):
        raise members.wrong("kind", "must be one of " + ", ".join(KeyKind))
    return KeyKind(kind)


def _permissions(body: Mapping[str, Json]) -> frozenset[str]:
    """Exactly one of `role` and `permissions`: there is no default that grants something."""
    role = members.optional_text(body, "role", length_max=64)
    if (role is None) == (body.get("permissions") is None):
        raise members.wrong("permissions", "or `role` must be given, and not both")
    if role is not None:
        if role not in ROLES:
            raise members.wrong("role", "must be one of " + ", ".join(sorted(ROLES)))
        return frozenset(ROLES[role])
    wanted = members.texts(
        body, "permissions", refuse=lambda reason: members.wrong("permissions", reason)
    )
    if not wanted or not set(wanted) <= set(Permission):
        raise members.wrong("permissions", "must name some of " + ", ".join(Permission))
    return frozenset(wanted)


def _document(row: Mapping[str, Any]) -> JsonDocument:
    return {
        "key_id": row["key_id"],
        "environment": row["environment"],
        "kind": row["kind"],
        "permissions": list(row["permissions"]),
        "roles": roles_of(row["permissions"]),
        "label": row["label"],
        "created_at": format_instant(row["created_at"]),
        "revoked_at": instant(row["revoked_at"]),
    }


def _row_document(row: ApiKeyRow) -> JsonDocument:
    return {
        "key_id": row.key_id,
        "environment": row.environment.value,
        "kind": row.kind.value,
        "permissions": list(row.permissions),
        "roles": roles_of(row.permissions),
        "label": row.label,
        "created_at": format_instant(row.created_at),
        "revoked_at": instant(row.revoked_at),
    }


def _issued(issued: IssuedKey) -> JsonDocument:
    return {
        "tenant_id": issued.row.tenant_id,
        **_row_document(issued.row),
        "api_key": issued.bearer,
    }

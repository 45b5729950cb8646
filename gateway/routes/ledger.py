"""The tenant's ledger: its tip, its entries byte for byte, its keys, and whether its chain holds.

Served under `/harbor/ledger/v1` and, for customers, again under `/v1/compliance/ledger`.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.permissions import Permission
from gateway.routes.errors import refusals_of_read
from gateway.routes.reading import (
    JsonDocument,
    ReadPathOf,
    json_response,
    json_text,
    limit_parameter,
    parameter,
    reading,
    shows,
    takes,
)
from schemas.canonical import base64_strict
from schemas.instants import format_instant

SCHEMA_VERSION = 1
PAGE_MAX = 256
PAGE_DEFAULT = 100
_HASH = "5f" * 32
_SEQ = {"type": "integer", "minimum": 0}

router = APIRouter(tags=["ledger"])


@router.get(
    "/tip",
    openapi_extra=takes(),
    responses={
        200: shows(
            {
                "tenant_id": "tenant-vec",
                "schema_version": SCHEMA_VERSION,
                "seq": 4,
                "entry_hash_hex": _HASH,
                "root_hash_hex": _HASH,
                "empty": False,
            }
        ),
        **refusals_of_read(),
    },
)
async def tip(request: Request, path: ReadPathOf) -> Response:
    """The newest entry's seq and hash, and the root over all of them; it may be ahead of the newest checkpoint."""
    asked = await reading(request, Permission.LEDGER_READ)
    found = await path.ledger.tip(asked.tenant_id)
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "schema_version": SCHEMA_VERSION,
            "seq": found.seq,
            "entry_hash_hex": found.entry_hash.hex(),
            "root_hash_hex": found.root.hex(),
            "empty": found.seq == 0,
        }
    )


@router.get(
    "/events",
    openapi_extra=takes(
        parameter("after_seq", "only entries after this one", _SEQ),
        limit_parameter(PAGE_MAX, PAGE_DEFAULT),
    ),
    responses={
        200: shows(
            {
                "tenant_id": "tenant-vec",
                "entries": [
                    {
                        "seq": 2,
                        "event_type": "intent_created",
                        "value_b64": "AAABhqEUdGVuYW50LXZlYw==",
                        "leaf_hash_hex": _HASH,
                        "prev_hash_hex": _HASH,
                    }
                ],
                "next_after_seq": None,
            }
        ),
        **refusals_of_read(),
    },
)
async def events(request: Request, path: ReadPathOf) -> Response:
    """Entries in order: decoded, and as the record's exact bytes, whose leaf hash is SHA-256(00 ‖ bytes)."""
    asked = await reading(request, Permission.LEDGER_READ, "after_seq", "limit")
    after_seq = asked.parameters.integer("after_seq") or 0
    limit = asked.parameters.limit(default=PAGE_DEFAULT, maximum=PAGE_MAX)
    rows = await path.ledger.entries(asked.tenant_id, after_seq=after_seq, limit=limit + 1)
    page = rows[:limit]
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "entries": [entry_document(row) for row in page],
            "next_after_seq": page[-1]["seq"] if len(rows) > limit else None,
        }
    )


@router.get(
    "/authority",
    openapi_extra=takes(),
    responses={
        200: shows(
            {
                "tenant_id": "tenant-vec",
                "keys": [
                    {
                        "key_id": "0123456789abcdef",
                        "algorithm": "ed25519",
                        "public_key_hex": _HASH,
                        "vkey": "paybond/local/tenant-vec+c74f20a3+AZ…",
                        "state": "active",
                        "not_before": None,
                        "not_after": None,
                    }
                ],
            }
        ),
        **refusals_of_read(),
    },
)
async def authority(request: Request, path: ReadPathOf) -> Response:
    """The keys that speak for this ledger, from our configuration. Compare them with what you were given in person."""
    asked = await reading(request, Permission.LEDGER_READ)
    keys = path.authority.members(asked.tenant_id)
    return json_response({"tenant_id": asked.tenant_id, "keys": keys})


@router.get(
    "/verify",
    openapi_extra=takes(
        parameter("from_seq", "first entry of the check, 1 by default", _SEQ),
        parameter("to_seq", "last one; at most 10,000 entries a request", _SEQ),
    ),
    responses={
        200: shows(
            {
                "tenant_id": "tenant-vec",
                "ok": True,
                "from_seq": 1,
                "to_seq": 4,
                "checked": 4,
                "first_bad_seq": None,
                "reason": None,
            }
        ),
        **refusals_of_read("entry_not_found"),
    },
)
async def verify(request: Request, path: ReadPathOf) -> Response:
    """Re-reads the entries: each one's place and `prev_hash`; from entry 1 on, also each checkpoint's root."""
    asked = await reading(request, Permission.LEDGER_READ, "from_seq", "to_seq")
    found = await path.ledger.continuity(
        asked.tenant_id,
        from_seq=asked.parameters.integer("from_seq", minimum=1) or 1,
        to_seq=asked.parameters.integer("to_seq", minimum=1),
    )
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "ok": found.first_bad_seq is None,
            "from_seq": found.from_seq,
            "to_seq": found.to_seq,
            "checked": found.checked,
            "first_bad_seq": found.first_bad_seq,
            "reason": found.reason,
        }
    )


def entry_document(row: Mapping[str, Any]) -> JsonDocument:
    """One entry, decoded, with its record's bytes."""
    return {
        "seq": row["seq"],
        "prev_hash_hex": bytes(row["prev_hash"]).hex(),
        "recorded_at": format_instant(row["recorded_at"]),
        "command_id": row["command_id"],
        "actor": {"kind": row["actor_kind"], "ref": row["actor_ref"]},
        "intent_id": row["intent_id"],
        "event_type": row["event_type"],
        "event": json_text(row["event_json"]),
        "value_b64": base64_strict.encode(bytes(row["value"])),
        "leaf_hash_hex": bytes(row["leaf_hash"]).hex(),
    }

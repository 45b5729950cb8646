"""Signed checkpoints and RFC 6962 proofs: verified here before they go out, and verifiable without us.

`size` and `to` are sizes of published checkpoints, the newest when left out; `tip` may be ahead of it.
"""

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.auth.permissions import Permission
from gateway.edge.refused import RefusedError
from gateway.routes.errors import refusals_of_read
from gateway.routes.reading import (
    JsonDocument,
    ReadPathOf,
    json_response,
    parameter,
    reading,
    shows,
    takes,
)
from schemas.canonical import base64_strict
from schemas.ledger.checkpoint import tlog_proof

TLOG_PROOF = "tlog-proof"
_FORMATS = frozenset({"json", TLOG_PROOF})
_HASH = "5f" * 32
_NODE = "X19fX19fX19fX19fX19fX19fX19fX19fX19fX19fX18="
_NOTE = f"paybond/local/tenant-vec\n4\n{_NODE}\n\n— paybond/local/tenant-vec x08go…\n"
_INCLUSION: JsonDocument = {
    "tenant_id": "tenant-vec",
    "seq": 2,
    "leaf_index": 1,
    "tree_size": 4,
    "root_hash_hex": _HASH,
    "leaf_hash_hex": _HASH,
    "proof": [_NODE, _NODE],
    "checkpoint": _NOTE,
}
_TLOG_PROOF = f"c2sp.org/tlog-proof@v1\nindex 1\n{_NODE}\n{_NODE}\n\n{_NOTE}"
_SEQ = {"type": "integer", "minimum": 1}
_SIZE = parameter("size", "a published checkpoint's size; the newest when left out", _SEQ)

router = APIRouter(tags=["ledger"])


@router.get(
    "/merkle/latest",
    openapi_extra=takes(),
    responses={
        200: shows({"tenant_id": "tenant-vec", "checkpoint": _NOTE}),
        **refusals_of_read("checkpoint_not_found"),
    },
)
async def latest_checkpoint(request: Request, path: ReadPathOf) -> Response:
    """The newest published checkpoint: a C2SP signed note."""
    asked = await reading(request, Permission.LEDGER_READ)
    found = await path.ledger.newest_checkpoint(asked.tenant_id)
    if found is None:
        raise RefusedError("checkpoint_not_found")
    checkpoint, note = found
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "checkpoint": note,
            "origin": checkpoint.origin,
            "tree_size": checkpoint.size,
            "root_hash_hex": checkpoint.root.hex(),
        }
    )


_INCLUSION_ANSWER = shows(_INCLUSION)
_INCLUSION_ANSWER["content"]["text/plain"] = {
    "schema": {"type": "string"},
    "example": _TLOG_PROOF,
}


@router.get(
    "/proof/inclusion",
    openapi_extra=takes(
        parameter("seq", "the entry", _SEQ) | {"required": True},
        _SIZE,
        parameter(
            "format",
            "`tlog-proof` = the C2SP text file",
            {"type": "string", "enum": sorted(_FORMATS)},
        ),
    ),
    responses={
        200: _INCLUSION_ANSWER,
        **refusals_of_read("checkpoint_not_found", "entry_not_found"),
    },
)
async def inclusion(request: Request, path: ReadPathOf) -> Response:
    """That an entry is under a signed checkpoint."""
    asked = await reading(request, Permission.LEDGER_READ, "seq", "size", "format")
    seq = asked.parameters.required_integer("seq", minimum=1)
    size = asked.parameters.integer("size", minimum=1)
    as_text = asked.parameters.one_of("format", _FORMATS) == TLOG_PROOF
    found = await path.ledger.inclusion(asked.tenant_id, seq=seq, size=size)
    if as_text:
        text = tlog_proof(seq - 1, found.proof, found.note)
        return PlainTextResponse(text, headers={"cache-control": "no-store"})
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "seq": seq,
            "leaf_index": seq - 1,
            "tree_size": found.size,
            "root_hash_hex": found.root.hex(),
            "leaf_hash_hex": found.leaf_hash.hex(),
            "proof": _base64(found.proof),
            "checkpoint": found.note,
        }
    )


@router.get(
    "/proof/consistency",
    openapi_extra=takes(
        parameter("from", "the older size; 0 = the empty tree", {"type": "integer", "minimum": 0})
        | {"required": True},
        parameter("to", "the newer size; the newest when left out", _SEQ),
    ),
    responses={
        200: shows(
            {
                "tenant_id": "tenant-vec",
                "from_size": 2,
                "to_size": 4,
                "proof": [_NODE],
                "checkpoint": _NOTE,
            }
        ),
        **refusals_of_read("checkpoint_not_found"),
    },
)
async def consistency(request: Request, path: ReadPathOf) -> Response:
    """That the newer checkpoint's ledger begins with all of the older one's."""
    asked = await reading(request, Permission.LEDGER_READ, "from", "to")
    found = await path.ledger.consistency(
        asked.tenant_id,
        from_size=asked.parameters.required_integer("from"),
        to_size=asked.parameters.integer("to", minimum=1),
    )
    return json_response(
        {
            "tenant_id": asked.tenant_id,
            "from_size": found.from_size,
            "to_size": found.to_size,
            "proof": _base64(found.proof),
            "checkpoint": found.note,
        }
    )


def _base64(nodes: Sequence[bytes]) -> list[str]:
    return [base64_strict.encode(node) for node in nodes]

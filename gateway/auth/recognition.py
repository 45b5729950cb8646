"""Whether a recognition proof is about this request, in the contract's order: required, malformed, key, time, mismatch.

The nonce is not looked at here: Harbor spends it in the transaction that commits the effect.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.edge.refused import RefusedError
from schemas.canonical.recognition_proof import (
    VERIFIER_ID,
    RecognitionProof,
    decode_header,
    verify_digest_and_signature,
)
from schemas.errors import RecognitionProofError

HEADER = "x-paybond-agent-recognition-proof"
WINDOW_MAX = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKey:
    """A row of the tenant's registry of trusted agent keys."""

    key_id: str
    public_key: bytes
    purposes: frozenset[str]
    expires_at: datetime | None
    is_revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenRequest:
    """The request that a proof has to be about. `path` is the raw path as sent, without query."""

    tenant_id: str
    method: str
    path: str
    purpose: str
    body: bytes
    now: datetime


async def recognize(
    headers: Sequence[str],
    request: ProvenRequest,
    find_key: Callable[[str], Awaitable[AgentKey | None]],
) -> RecognitionProof:
    """The verified proof. `headers` = every value of the proof's header; raises RefusedError, all 401."""
    if not headers:
        raise RefusedError("recognition_proof_required")
    if len(headers) > 1:
        raise RefusedError("recognition_proof_malformed", "The proof's header stands twice.")
    try:
        proof = decode_header(headers[0])
    except RecognitionProofError as error:
        raise RefusedError("recognition_proof_malformed", str(error)) from error
    key = await find_key(proof.statement.key_id)
    if key is None:
        raise RefusedError("unregistered_key")
    if key.is_revoked:
        raise RefusedError("revoked_key")
    _check_time(proof, key, request.now)
    reason = mismatch_of(proof, key, request)
    if reason is not None:
        raise RefusedError("recognition_proof_mismatch", f"The proof is not about this: {reason}.")
    return proof


def _check_time(proof: RecognitionProof, key: AgentKey, now: datetime) -> None:
    issued, expires = proof.statement.issued_instant, proof.statement.expires_instant
    if expires - issued > WINDOW_MAX or expires <= issued:
        raise RefusedError(
            "recognition_proof_expired", "The proof's window is not 0 to 10 minutes."
        )
    if not issued <= now < expires:
        raise RefusedError("recognition_proof_expired", "The proof is not valid at this time.")
    if key.expires_at is not None and now >= key.expires_at:
        raise RefusedError("recognition_proof_expired", "The agent key has expired.")


def mismatch_of(proof: RecognitionProof, key: AgentKey, request: ProvenRequest) -> str | None:
    """What of the proof is not this request's, or None."""
    statement = proof.statement
    body_digest = hashlib.sha256(request.body).hexdigest()
    checks = (
        ("tenant_id", statement.tenant_id == request.tenant_id),
        ("verifier_id", statement.verifier_id == VERIFIER_ID),
        ("purpose", statement.purpose == request.purpose),
        ("purpose is not allowed for this key", statement.purpose in key.purposes),
        ("method", statement.method == request.method),
        ("path", statement.path == request.path),
        ("body_digest_sha256_hex", hmac.compare_digest(statement.body_digest_hex, body_digest)),
        ("public key is not the registered one", proof.public_key == key.public_key),
    )
    failed = next((name for name, holds in checks if not holds), None)
    if failed is None and not verify_digest_and_signature(proof):
        return "signature"
    return failed

"""Which request this is: the id under which it is decided once, and the hash that tells another body apart.

`command_id` = UUIDv8 over (kind, tenant, method, full path) and the idempotency key, or else the proof's key id and
nonce, or else 32 random bytes (operator routes). The input hash is over method, path and raw body only, so that a
retry with a fresh proof is the same request.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.edge.refused import RefusedError
from schemas.canonical.recognition_proof import RecognitionProof
from schemas.ids import CommandId, TenantId, command_id_of
from schemas.messages.commands import input_hash_of

IDEMPOTENCY_KEY_LENGTH_MAX = 256
RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestIdentity:
    command_id: CommandId
    input_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifiedBy:
    """What a client gave to tell its requests apart; `random` is used where it gave nothing."""

    idempotency_key: str | None
    proof: RecognitionProof | None
    random: bytes


def idempotency_key_of(headers: Sequence[str]) -> str | None:
    """`headers` = every value of `idempotency-key`. Raises RefusedError (`idempotency_key_invalid`)."""
    if not headers:
        return None
    if len(headers) > 1 or not 1 <= len(headers[0]) <= IDEMPOTENCY_KEY_LENGTH_MAX:
        raise RefusedError("idempotency_key_invalid")
    return headers[0]


def identity_of(
    tenant_id: TenantId, *, method: str, path: str, raw_body: bytes, by: IdentifiedBy
) -> RequestIdentity:
    return RequestIdentity(
        command_id=_command_id(tenant_id, method, path, by),
        input_hash=input_hash_of(method, path, raw_body),
    )


def _command_id(tenant_id: TenantId, method: str, path: str, by: IdentifiedBy) -> CommandId:
    if by.idempotency_key is not None:
        return command_id_of("key", tenant_id, method, path, by.idempotency_key)
    if by.proof is not None:
        statement = by.proof.statement
        return command_id_of("proof", tenant_id, method, path, statement.key_id, statement.nonce)
    return command_id_of("random", tenant_id, method, path, by.random)

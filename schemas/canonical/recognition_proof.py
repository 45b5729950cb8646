"""The proof that a trusted agent key made one request: header → proof, canonical form, digest (signing.md §3).

The JSON in the header is not canonical: its members are read strictly and the signed form is rebuilt from them.
Whether request, window and registry agree with the proof is the gateway's to judge.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.canonical import ed25519
from schemas.canonical.base64_strict import decode_url, encode_url
from schemas.canonical.literal_json import Json, NumberLiteral, parse
from schemas.errors import InputError, RecognitionProofCode, RecognitionProofError
from schemas.instants import format_instant, parse_instant

KIND: Final = "paybond.agent_recognition_proof_v1"
SIGNATURE_ALGORITHM: Final = "ed25519-sha256-json-v1"
VERIFIER_ID: Final = "paybond-gateway"

# The gateway takes at most 16 KiB of headers, all together.
HEADER_LENGTH_MAX = 16 * 1024
NONCE_LENGTH_MAX = 256
# Texts that are only ever compared with the request's own.
_COMPARED_LENGTH_MAX = 4096
# A proof, its two nested objects, nothing below.
_DEPTH_MAX = 2

_NAME = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")

_MEMBERS = frozenset(
    {
        "schema_version",
        "kind",
        "key_id",
        "signature_algorithm",
        "issued_at",
        "expires_at",
        "nonce",
        "purpose",
        "verifier_context",
        "request_envelope",
        "message_digest_sha256_hex",
        "signing_public_key_ed25519_hex",
        "ed25519_signature_hex",
    }
)
_VERIFIER_CONTEXT_MEMBERS = frozenset({"tenant_id", "verifier_id"})
_REQUEST_ENVELOPE_MEMBERS = frozenset({"method", "path", "body_digest_sha256_hex"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognitionStatement:
    """What the agent's key signs; times in the agent's own spelling, `path` raw as sent."""

    key_id: str
    issued_at: str
    expires_at: str
    nonce: str
    purpose: str
    tenant_id: str
    verifier_id: str
    method: str
    path: str
    body_digest_hex: str

    @property
    def issued_instant(self) -> datetime:
        return parse_instant(self.issued_at)

    @property
    def expires_instant(self) -> datetime:
        return parse_instant(self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognitionProof:
    """A statement and what was sent as proof of it; nothing of it is verified yet."""

    statement: RecognitionStatement
    message_digest: bytes
    public_key: bytes
    signature: bytes


def decode_header(header: str) -> RecognitionProof:
    """Read the header's unpadded base64url.

    Raises RecognitionProofError (`recognition_proof_malformed`).
    """
    if len(header) > HEADER_LENGTH_MAX:
        raise _malformed(f"it is longer than {HEADER_LENGTH_MAX} characters")
    try:
        document = parse(decode_url(header, what="the header"), depth_max=_DEPTH_MAX)
    except InputError as error:
        raise _malformed(str(error)) from error
    return decode(document)


def decode(document: Json) -> RecognitionProof:
    """Read a proof that stands inside a body.

    Raises RecognitionProofError (`recognition_proof_malformed`).
    """
    proof = _members("proof", document, _MEMBERS)
    context = _members("verifier_context", proof["verifier_context"], _VERIFIER_CONTEXT_MEMBERS)
    envelope = _members("request_envelope", proof["request_envelope"], _REQUEST_ENVELOPE_MEMBERS)
    _check_constant(proof, "schema_version", NumberLiteral("1"))
    _check_constant(proof, "kind", KIND)
    _check_constant(proof, "signature_algorithm", SIGNATURE_ALGORITHM)
    statement = RecognitionStatement(
        key_id=_matching(proof, "key_id", _NAME),
        issued_at=_instant(proof, "issued_at"),
        expires_at=_instant(proof, "expires_at"),
        nonce=_text(proof, "nonce", NONCE_LENGTH_MAX),
        purpose=_matching(proof, "purpose", _NAME),
        tenant_id=_text(context, "tenant_id", _COMPARED_LENGTH_MAX),
        verifier_id=_matching(context, "verifier_id", _NAME),
        method=_text(envelope, "method", _COMPARED_LENGTH_MAX),
        path=_text(envelope, "path", _COMPARED_LENGTH_MAX),
        body_digest_hex=_matching(envelope, "body_digest_sha256_hex", _DIGEST),
    )
    return RecognitionProof(
        statement=statement,
        message_digest=bytes.fromhex(_matching(proof, "message_digest_sha256_hex", _DIGEST)),
        public_key=bytes.fromhex(_matching(proof, "signing_public_key_ed25519_hex", _DIGEST)),
        signature=bytes.fromhex(_matching(proof, "ed25519_signature_hex", _SIGNATURE)),
    )


def canonical_form(statement: RecognitionStatement) -> bytes:
    """Compact JSON in the fixed order; only JSON's own escapes."""
    return _compact(_document(statement))


def digest(statement: RecognitionStatement) -> bytes:
    """SHA-256 of the canonical form: the 32 bytes that are signed."""
    return hashlib.sha256(canonical_form(statement)).digest()


def verify_digest_and_signature(proof: RecognitionProof) -> bool:
    """Whether the proof's own key signed the proof's own statement; says nothing of trust in the key."""
    message = digest(proof.statement)
    if message != proof.message_digest:
        return False
    return ed25519.verify(proof.public_key, message, proof.signature)


def make_proof(
    *,
    seed: bytes,
    key_id: str,
    issued_at: datetime,
    expires_at: datetime,
    nonce: str,
    purpose: str,
    tenant_id: str,
    method: str,
    path: str,
    body: bytes,
    verifier_id: str = VERIFIER_ID,
) -> RecognitionProof:
    """Sign a request as an agent does; `body` is the raw request body."""
    return sign_statement(
        RecognitionStatement(
            key_id=key_id,
            issued_at=format_instant(issued_at),
            expires_at=format_instant(expires_at),
            nonce=nonce,
            purpose=purpose,
            tenant_id=tenant_id,
            verifier_id=verifier_id,
            method=method,
            path=path,
            body_digest_hex=hashlib.sha256(body).hexdigest(),
        ),
        seed=seed,
    )


def sign_statement(statement: RecognitionStatement, *, seed: bytes) -> RecognitionProof:
    message = digest(statement)
    return RecognitionProof(
        statement=statement,
        message_digest=message,
        public_key=ed25519.public_key(seed),
        signature=ed25519.sign(seed, message),
    )


def header_value(proof: RecognitionProof) -> str:
    """The value of `x-paybond-agent-recognition-proof`."""
    return encode_url(
        _compact(
            _document(proof.statement)
            | {
                "message_digest_sha256_hex": proof.message_digest.hex(),
                "signing_public_key_ed25519_hex": proof.public_key.hex(),
                "ed25519_signature_hex": proof.signature.hex(),
            }
        )
    )


def _document(statement: RecognitionStatement) -> dict[str, object]:
    # The order of these members is the signed order.
    return {
        "schema_version": 1,
        "kind": KIND,
        "key_id": statement.key_id,
        "signature_algorithm": SIGNATURE_ALGORITHM,
        "issued_at": statement.issued_at,
        "expires_at": statement.expires_at,
        "nonce": statement.nonce,
        "purpose": statement.purpose,
        "verifier_context": {
            "tenant_id": statement.tenant_id,
            "verifier_id": statement.verifier_id,
        },
        "request_envelope": {
            "method": statement.method,
            "path": statement.path,
            "body_digest_sha256_hex": statement.body_digest_hex,
        },
    }


def _compact(document: dict[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _malformed(reason: str) -> RecognitionProofError:
    return RecognitionProofError(RecognitionProofCode.MALFORMED, reason)


def _members(name: str, value: Json, expected: frozenset[str]) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _malformed(f"`{name}` is not an object")
    missing = expected - value.keys()
    if missing:
        raise _malformed(f"`{name}` lacks `{min(missing)}`")
    if len(value) > len(expected):
        raise _malformed(f"`{name}` has an unknown member")
    return value


def _check_constant(members: dict[str, Json], name: str, expected: Json) -> None:
    if members[name] != expected:
        raise _malformed(f"`{name}` has another value than this version's")


def _text(members: dict[str, Json], name: str, length_max: int) -> str:
    value = members[name]
    if not isinstance(value, str) or not 1 <= len(value) <= length_max:
        raise _malformed(f"`{name}` is not a text of 1 to {length_max} characters")
    return value


def _matching(members: dict[str, Json], name: str, pattern: re.Pattern[str]) -> str:
    value = members[name]
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _malformed(f"`{name}` does not match {pattern.pattern}")
    return value


def _instant(members: dict[str, Json], name: str) -> str:
    text = _text(members, name, _COMPARED_LENGTH_MAX)
    try:
        parse_instant(text)
    except InputError as error:
        raise _malformed(f"`{name}` is not an RFC 3339 time") from error
    return text

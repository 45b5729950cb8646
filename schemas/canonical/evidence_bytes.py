"""What a payee signs to submit evidence (signing.md §4).

The signature is over these bytes themselves; as for intents, a body may stand for several frames.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from blake3 import blake3

from schemas.canonical import bincode, ed25519
from schemas.canonical.json_digest import LiteralForm, jd_normal
from schemas.errors import PayloadInvalidError, SignatureFormatError
from schemas.ids import is_canonical_uuid
from schemas.instants import Spelling, signed_spellings

ARTIFACTS_MAX = 64

_VERSION = 2
_ARTIFACT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFrame:
    """Every signed field. Raises SignatureFormatError when the intent id is no canonical UUID."""

    tenant_id: str
    intent_id: str
    payee_did: str
    payload_digest: bytes
    artifacts_digest: bytes
    submitted_at: str

    def __post_init__(self) -> None:
        if not is_canonical_uuid(self.intent_id):
            raise SignatureFormatError(what="intent_id", reason="is not a lower-case UUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceCandidate:
    """One frame that the body may stand for, and which spellings make it."""

    frame: EvidenceFrame
    submitted_at_spelling: Spelling
    literals: LiteralForm


def sign_bytes(frame: EvidenceFrame) -> bytes:
    """The message of the payee's signature."""
    return b"".join(
        (
            bincode.u8(_VERSION),
            bincode.text(frame.tenant_id),
            bincode.uuid(frame.intent_id),
            bincode.text(frame.payee_did),
            bincode.fixed32(frame.payload_digest),
            bincode.fixed32(frame.artifacts_digest),
            bincode.text(frame.submitted_at),
        )
    )


def signature_candidates(frame: EvidenceFrame, payload: bytes) -> Iterator[EvidenceCandidate]:
    """Every frame that the received one may stand for, each once, lazily, in the order to try.

    `payload` is the canonical bytes, literals as received, that `frame.payload_digest` is over. Raises
    InstantError when the second candidate is asked for.
    """
    for literals in LiteralForm:
        in_form = frame
        if literals is LiteralForm.NORMAL:
            in_form = replace(frame, payload_digest=jd_normal(payload))
            if in_form == frame:
                return
        for spelling, submitted_at in signed_spellings(frame.submitted_at):
            yield EvidenceCandidate(
                frame=replace(in_form, submitted_at=submitted_at),
                submitted_at_spelling=spelling,
                literals=literals,
            )


def verified_candidate(
    frame: EvidenceFrame, payload: bytes, *, public_key: bytes, signature: bytes
) -> EvidenceCandidate | None:
    """The first candidate that the signature covers; None if it covers none.

    Raises InstantError.
    """
    for candidate in signature_candidates(frame, payload):
        if ed25519.verify(public_key, sign_bytes(candidate.frame), signature):
            return candidate
    return None


def artifact_digests(artifacts: Sequence[str]) -> list[bytes]:
    """The 32-byte digests behind 64 lower-case hex digits each. Raises PayloadInvalidError."""
    if len(artifacts) > ARTIFACTS_MAX:
        raise PayloadInvalidError(
            member="artifacts", reason=f"has more than {ARTIFACTS_MAX} entries"
        )
    for position, artifact in enumerate(artifacts):
        if _ARTIFACT.fullmatch(artifact) is None:
            raise PayloadInvalidError(
                member=f"artifacts[{position}]", reason="is not 64 lower-case hex digits"
            )
    return [bytes.fromhex(artifact) for artifact in artifacts]


def artifacts_digest(digests: Sequence[bytes]) -> bytes:
    """Order and repetition count; of no artifacts it is BLAKE3 of nothing."""
    return blake3(b"".join(map(bincode.fixed32, digests))).digest()

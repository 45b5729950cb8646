"""What a principal signs to create an intent, versions 4 to 7 (signing.md §2).

The signature is over these bytes themselves. A client may sign one spelling of a number or a time and send another:
`signature_candidates` lists, in the order to try, every frame that a body may stand for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from schemas.canonical import bincode, ed25519
from schemas.canonical.json_digest import LiteralForm, jd, jd_normal
from schemas.errors import SignatureFormatError, ToolsInvalidError
from schemas.ids import is_canonical_uuid
from schemas.instants import Spelling, signed_spellings

TOOLS_MAX = 64
TOOL_LENGTH_MAX = 128

_VERSIONS = frozenset({4, 5, 6, 7})
_VERSIONS_WITH_POLICY = frozenset({5, 7})
_VERSIONS_WITH_PAYEE_KEY = frozenset({6, 7})
_COMPLETION_TAIL_VERSION = 2
_ASCII_BLANKS = " \t\n\v\f\r"
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPart:
    """The published policy that versions 5 and 7 bind; `version_seq` is a u32."""

    template_id: str
    version_seq: int
    content_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTail:
    """A completion contract, rebuilt from our own catalogue and never from the body."""

    preset_id: str
    provider: str
    api_version: str
    vendor_schema_digest: bytes | None
    canonical_schema_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentFrame:
    """Every signed field; texts as sent, digests and keys of 32 bytes.

    Raises SignatureFormatError when its parts do not make a frame of its version.
    """

    version: int
    tenant_id: str
    intent_id: str
    principal_did: str
    payee_did: str
    amount_cents: int
    currency: str
    deadline: str
    budget_digest: bytes
    evidence_schema_digest: bytes
    predicate_digest: bytes
    predicate_ref: str
    tools_digest: bytes
    settlement_rail: str
    policy: PolicyPart | None = None
    payee_public_key: bytes | None = None
    completion: CompletionTail | None = None

    def __post_init__(self) -> None:
        if self.version not in _VERSIONS:
            raise SignatureFormatError(what="signing_version", reason="is none of 4, 5, 6, 7")
        if not is_canonical_uuid(self.intent_id):
            raise SignatureFormatError(what="intent_id", reason="is not a lower-case UUID")
        if not bincode.I64_MIN <= self.amount_cents <= bincode.I64_MAX:
            raise SignatureFormatError(what="amount_cents", reason="is out of range")
        if (self.policy is not None) != (self.version in _VERSIONS_WITH_POLICY):
            raise SignatureFormatError(
                what="policy_binding", reason="goes with signing versions 5 and 7, and only them"
            )
        if self.policy is not None and not 0 <= self.policy.version_seq <= bincode.U32_MAX:
            raise SignatureFormatError(
                what="version_seq", reason="is not an unsigned 32-bit integer"
            )
        if (self.payee_public_key is not None) != (self.version in _VERSIONS_WITH_PAYEE_KEY):
            raise SignatureFormatError(
                what="payee_pubkey", reason="goes with signing versions 6 and 7, and only them"
            )
        if self.payee_public_key is not None and len(self.payee_public_key) != 32:
            raise SignatureFormatError(what="payee_pubkey", reason="is not 32 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentDocuments:
    """The three signed documents, canonical bytes with literals as received."""

    budget: bytes
    evidence_schema: bytes
    predicate: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentCandidate:
    """One frame that the body may stand for, and which spellings make it."""

    frame: IntentFrame
    deadline_spelling: Spelling
    literals: LiteralForm


def sign_bytes(frame: IntentFrame) -> bytes:
    """The message of the principal's signature."""
    pieces = [
        bincode.u8(frame.version),
        bincode.text(frame.tenant_id),
        bincode.uuid(frame.intent_id),
        bincode.text(frame.principal_did),
        bincode.text(frame.payee_did),
        bincode.i64(frame.amount_cents),
        bincode.text(frame.currency),
        bincode.text(frame.deadline),
        bincode.fixed32(frame.budget_digest),
        bincode.fixed32(frame.evidence_schema_digest),
        bincode.fixed32(frame.predicate_digest),
        bincode.text(frame.predicate_ref),
        bincode.fixed32(frame.tools_digest),
        bincode.text(frame.settlement_rail.strip(_ASCII_BLANKS)),
    ]
    if frame.policy is not None:
        pieces.append(bincode.text(frame.policy.template_id))
        pieces.append(bincode.varint(frame.policy.version_seq))
        pieces.append(bincode.fixed32(frame.policy.content_digest))
    if frame.payee_public_key is not None:
        pieces.append(bincode.fixed32(frame.payee_public_key))
    if frame.completion is not None:
        pieces.extend(_completion_pieces(frame.completion))
    return b"".join(pieces)


def signature_candidates(
    frame: IntentFrame, documents: IntentDocuments
) -> Iterator[IntentCandidate]:
    """Every frame that the received one may stand for, each once, lazily, in the order to try.

    `frame` is the received one: its deadline in the body's own text, its digests those of `documents`. The first
    candidate is `frame` itself and costs nothing. Raises InstantError when the second is asked for.
    """
    for literals in LiteralForm:
        in_form = frame if literals is LiteralForm.RECEIVED else _normal_form(frame, documents)
        if literals is LiteralForm.NORMAL and in_form == frame:
            return
        for spelling, deadline in signed_spellings(frame.deadline):
            yield IntentCandidate(
                frame=replace(in_form, deadline=deadline),
                deadline_spelling=spelling,
                literals=literals,
            )


def verified_candidate(
    frame: IntentFrame, documents: IntentDocuments, *, public_key: bytes, signature: bytes
) -> IntentCandidate | None:
    """The first candidate that the signature covers; None if it covers none.

    Raises InstantError.
    """
    for candidate in signature_candidates(frame, documents):
        if ed25519.verify(public_key, sign_bytes(candidate.frame), signature):
            return candidate
    return None


def normal_tools(tools: Sequence[str]) -> list[str]:
    """Trimmed of ASCII blanks, lower case, each once, by code point. Raises ToolsInvalidError."""
    if len(tools) > TOOLS_MAX:
        raise ToolsInvalidError(position=TOOLS_MAX, reason=f"is one too many (at most {TOOLS_MAX})")
    names = {_normal_tool(position, tool) for position, tool in enumerate(tools)}
    return sorted(names)


def tools_digest(tools: Sequence[str]) -> bytes:
    """Digest of the normalised names as a JSON list. Raises ToolsInvalidError."""
    return jd([*normal_tools(tools)])


def _normal_tool(position: int, tool: str) -> str:
    name = tool.strip(_ASCII_BLANKS)
    if not name:
        raise ToolsInvalidError(position=position, reason="is blank")
    if not (name.isascii() and name.isprintable()):
        raise ToolsInvalidError(position=position, reason="is not printable ASCII")
    if len(name) > TOOL_LENGTH_MAX:
        raise ToolsInvalidError(
            position=position, reason=f"has more than {TOOL_LENGTH_MAX} characters"
        )
    return name.lower()


def _completion_pieces(completion: CompletionTail) -> list[bytes]:
    return [
        bincode.u8(_COMPLETION_TAIL_VERSION),
        bincode.text(completion.preset_id),
        bincode.text(completion.provider),
        bincode.text(completion.api_version),
        bincode.fixed32(completion.vendor_schema_digest or _NO_DIGEST),
        bincode.fixed32(completion.canonical_schema_digest),
    ]


def _normal_form(frame: IntentFrame, documents: IntentDocuments) -> IntentFrame:
    return replace(
        frame,
        budget_digest=jd_normal(documents.budget),
        evidence_schema_digest=jd_normal(documents.evidence_schema),
        predicate_digest=jd_normal(documents.predicate),
    )

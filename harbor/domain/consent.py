"""Which signature a command needs, over which candidate bytes, and what was consented to once one verified.

Harbor verifies principals and payees itself and trusts no gateway; the verification runs ahead of the serial
`decide`, in a pool.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from harbor.domain.decision import Consent, EvidenceConsent, IntentConsent
from schemas.canonical import evidence_bytes, intent_bytes
from schemas.canonical.evidence_bytes import EvidenceFrame, artifacts_digest
from schemas.canonical.intent_bytes import IntentDocuments, IntentFrame, tools_digest
from schemas.canonical.json_digest import jd_bytes
from schemas.errors import InputError
from schemas.ids import is_canonical_uuid
from schemas.instants import parse_instant
from schemas.messages.commands import Command, CreateIntent, SubmitEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureWanted:
    """`candidates` are messages in the order to try (signing.md §1), made lazily."""

    public_key: bytes
    signature: bytes
    candidates: Iterable[bytes]


def signature_wanted(command: Command) -> SignatureWanted | None:
    """None = the command needs none, or can't be signed by anybody: `decide` will say why."""
    match command.body:
        case CreateIntent() as body if (frame := _intent_frame(command, body)) is not None:
            return SignatureWanted(
                public_key=body.principal_pubkey,
                signature=body.principal_signature,
                candidates=_intent_messages(frame, _documents(body)),
            )
        case SubmitEvidence() as body if (evidence := _evidence_frame(command, body)) is not None:
            return SignatureWanted(
                public_key=body.payee_pubkey,
                signature=body.payee_signature,
                candidates=_evidence_messages(evidence, body.payload),
            )
        case _:
            return None


def consent_of(command: Command, index: int | None) -> Consent:
    """What candidate `index` of `signature_wanted(command)` stands for; None = none verified."""
    if index is None:
        return None
    match command.body:
        case CreateIntent() as body if (frame := _intent_frame(command, body)) is not None:
            candidates = intent_bytes.signature_candidates(frame, _documents(body))
            signed = next(islice(candidates, index, None)).frame
            return IntentConsent(frame=signed, deadline_text=signed.deadline)
        case SubmitEvidence() as body if (evidence := _evidence_frame(command, body)) is not None:
            tries = evidence_bytes.signature_candidates(evidence, body.payload)
            accepted = next(islice(tries, index, None)).frame
            return EvidenceConsent(
                payload_digest=accepted.payload_digest,
                artifacts_digest=accepted.artifacts_digest,
            )
        case _:
            return None


def _intent_messages(frame: IntentFrame, documents: IntentDocuments) -> Iterator[bytes]:
    for candidate in intent_bytes.signature_candidates(frame, documents):
        yield intent_bytes.sign_bytes(candidate.frame)


def _evidence_messages(frame: EvidenceFrame, payload: bytes) -> Iterator[bytes]:
    for candidate in evidence_bytes.signature_candidates(frame, payload):
        yield evidence_bytes.sign_bytes(candidate.frame)


def _documents(body: CreateIntent) -> IntentDocuments:
    return IntentDocuments(
        budget=body.budget,
        evidence_schema=body.evidence_schema,
        predicate=body.predicate or b"",
    )


def _intent_frame(command: Command, body: CreateIntent) -> IntentFrame | None:
    """The frame as received; None for one that no signature can make good."""
    is_signable = body.signing_version == 6 and body.predicate is not None
    if not is_signable or command.intent_id is None or not is_canonical_uuid(command.intent_id):
        return None
    try:
        parse_instant(body.deadline)
        return IntentFrame(
            version=body.signing_version,
            tenant_id=command.tenant_id,
            intent_id=command.intent_id,
            principal_did=body.principal_did,
            payee_did=body.payee_did,
            amount_cents=body.amount_minor,
            currency=body.currency,
            deadline=body.deadline,
            budget_digest=jd_bytes(body.budget),
            evidence_schema_digest=jd_bytes(body.evidence_schema),
            predicate_digest=jd_bytes(body.predicate or b""),
            predicate_ref=body.predicate_ref,
            tools_digest=tools_digest(body.allowed_tools),
            settlement_rail=body.settlement_rail,
            payee_public_key=body.payee_pubkey,
        )
    except InputError:
        return None


def _evidence_frame(command: Command, body: SubmitEvidence) -> EvidenceFrame | None:
    if command.intent_id is None or not is_canonical_uuid(command.intent_id):
        return None
    try:
        parse_instant(body.submitted_at)
        return EvidenceFrame(
            tenant_id=command.tenant_id,
            intent_id=command.intent_id,
            payee_did=body.payee_did,
            payload_digest=jd_bytes(body.payload),
            artifacts_digest=artifacts_digest(body.artifacts),
            submitted_at=body.submitted_at,
        )
    except InputError:
        return None

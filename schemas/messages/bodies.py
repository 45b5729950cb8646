"""Bodies whose digests the ledger holds, on `paybond.evidence`: a tombstone erases a body, never the entry."""

from dataclasses import dataclass

from schemas.messages.shared import Hash32, Key32, Signature64


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentBody:
    """The documents of an intent, canonical JSON text with the literals as received."""

    tenant_id: str
    intent_id: str
    budget: str
    evidence_schema: str
    predicate: str
    allowed_tools: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBody:
    """With `salt`, everything that the entry's commitment commits to; `report` is the evaluation, compact JSON."""

    tenant_id: str
    intent_id: str
    evidence_id: str
    payload: str
    artifacts: tuple[Hash32, ...]
    payload_digest: Hash32
    artifacts_digest: Hash32
    payee_did: str
    payee_pubkey: Key32
    payee_signature: Signature64
    submitted_at: str
    salt: Hash32
    report: str

"""Every code an answer can carry as an error: its HTTP status, and whether it is kept for its idempotency key.

One table for Harbor, which decides what is stored, and the gateway, which answers (contracts: gateway §§1, 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Keeping(StrEnum):
    """What a repeat with the same key and body gets.

    `always`: this answer (malformed requests). `same_nonce`: this answer to the same proof, a new decision to a fresh
    one (refusals that depend on state). `never`: the refusal spends nothing and is not stored.
    """

    ALWAYS = "always"
    SAME_NONCE = "same_nonce"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RefusalRule:
    http_status: int
    keeping: Keeping
    message: str


_MALFORMED = Keeping.ALWAYS
_STATE = Keeping.SAME_NONCE
_NEVER = Keeping.NEVER

REFUSALS: Mapping[str, RefusalRule] = {
    # Edge and credential: decided by the gateway, never stored.
    "json_invalid": RefusalRule(400, _NEVER, "The body is not valid JSON."),
    "json_ambiguous": RefusalRule(400, _NEVER, "Two parsers could read this JSON differently."),
    "body_invalid": RefusalRule(400, _NEVER, "A member of the body is missing or of another type."),
    "body_too_large": RefusalRule(413, _NEVER, "The body is larger than 512 KiB."),
    "headers_too_large": RefusalRule(431, _NEVER, "The headers are larger than 16 KiB."),
    "not_found": RefusalRule(404, _NEVER, "There is nothing at this path."),
    "method_not_allowed": RefusalRule(405, _NEVER, "This path does not take this method."),
    "credential_invalid": RefusalRule(401, _NEVER, "The credential is missing or not valid."),
    "tenant_mismatch": RefusalRule(401, _NEVER, "x-tenant-id is not the credential's tenant."),
    "permission_denied": RefusalRule(403, _NEVER, "The credential may not do this."),
    "too_many_in_flight": RefusalRule(
        429, _NEVER, "Too many commands of this tenant are in flight."
    ),
    "idempotency_key_invalid": RefusalRule(
        400, _NEVER, "idempotency-key must have 1 to 256 characters, once."
    ),
    "recognition_proof_required": RefusalRule(401, _NEVER, "This route needs a recognition proof."),
    "recognition_proof_malformed": RefusalRule(401, _NEVER, "The recognition proof can't be read."),
    "unregistered_key": RefusalRule(401, _NEVER, "The proof's key is not registered."),
    "revoked_key": RefusalRule(401, _NEVER, "The proof's key was revoked."),
    "recognition_proof_expired": RefusalRule(
        401, _NEVER, "The proof is not valid now, or its window is longer than 10 minutes."
    ),
    "recognition_proof_replayed": RefusalRule(401, _NEVER, "The proof's nonce was used before."),
    "recognition_proof_mismatch": RefusalRule(401, _NEVER, "The proof is not about this request."),
    "unavailable": RefusalRule(
        503, _NEVER, "Not known yet; the same request with the same key gets the answer."
    ),
    "internal_error": RefusalRule(500, _NEVER, "Something failed on our side."),
    "agent_key_exists": RefusalRule(
        409, _NEVER, "An agent key with this id is registered, with another key or other terms."
    ),
    "operation_expired": RefusalRule(410, _NEVER, "Operations are kept for 7 days."),
    # Harbor: any command.
    "tenant_quarantined": RefusalRule(
        503, _NEVER, "This tenant is stopped until an operator has looked at its ledger."
    ),
    "idempotency_key_reused": RefusalRule(
        409, _STATE, "This idempotency key was used with another body."
    ),
    "command_expired": RefusalRule(409, _STATE, "The command was decided too late; send it again."),
    "intent_not_found": RefusalRule(404, _STATE, "There is no such intent."),
    # Create.
    "intent_exists": RefusalRule(409, _STATE, "There is an intent with this id."),
    "deadline_passed": RefusalRule(409, _STATE, "The deadline has passed."),
    "amount_invalid": RefusalRule(400, _MALFORMED, "amount_cents must be 1 to 99,999,999."),
    "currency_unsupported": RefusalRule(400, _MALFORMED, "The currency is not supported."),
    "deadline_invalid": RefusalRule(400, _MALFORMED, "The deadline is not a valid time."),
    "intent.predicate.invalid": RefusalRule(400, _MALFORMED, "The predicate is not valid."),
    "evidence_schema_invalid": RefusalRule(400, _MALFORMED, "The evidence schema is not valid."),
    "allowed_tools_empty": RefusalRule(400, _MALFORMED, "allowed_tools must name a tool."),
    "tools_invalid": RefusalRule(400, _MALFORMED, "A tool's name is not valid."),
    "key_pinned": RefusalRule(400, _MALFORMED, "This party is known under another key."),
    "key_published": RefusalRule(
        400, _MALFORMED, "This key is published in test vectors; a live tenant can't use it."
    ),
    "principal_signature_invalid": RefusalRule(
        400, _MALFORMED, "The principal's signature does not match."
    ),
    "rail_unknown": RefusalRule(422, _MALFORMED, "There is no such settlement rail."),
    "rail_not_enabled": RefusalRule(422, _MALFORMED, "This settlement rail is not enabled."),
    "amount_not_representable": RefusalRule(
        422, _MALFORMED, "The rail can't carry this amount exactly."
    ),
    "policy_unknown": RefusalRule(422, _MALFORMED, "There is no such published policy."),
    "preset_unknown": RefusalRule(422, _MALFORMED, "There is no such completion preset."),
    # Fund, confirm.
    "intent_final": RefusalRule(409, _STATE, "The intent has reached its final state."),
    "intent_frozen": RefusalRule(409, _STATE, "The intent is frozen by a dispute."),
    "payment_declined": RefusalRule(402, _STATE, "The rail declined the payment."),
    "no_evidence": RefusalRule(409, _STATE, "There is no evidence to settle on."),
    "settlement_in_progress": RefusalRule(409, _STATE, "The rail is still working on it."),
    # Evidence.
    "not_funded": RefusalRule(409, _STATE, "The intent is not funded."),
    "evidence_exists": RefusalRule(409, _STATE, "Evidence was submitted already."),
    "payee_mismatch": RefusalRule(400, _MALFORMED, "The payee is not the intent's."),
    "payee_signature_invalid": RefusalRule(
        400, _MALFORMED, "The payee's signature does not match."
    ),
    "payload_invalid": RefusalRule(422, _MALFORMED, "The evidence payload is not valid."),
    "submitted_at_skewed": RefusalRule(
        422, _MALFORMED, "submitted_at is more than 10 minutes from now."
    ),
    # Disputes.
    "not_disputable": RefusalRule(409, _STATE, "The intent can't be disputed now."),
    "not_disputed": RefusalRule(409, _STATE, "The intent is not disputed."),
    "split_invalid": RefusalRule(400, _MALFORMED, "The split must add up to the held amount."),
    "custody_required": RefusalRule(
        400, _MALFORMED, "An escalation needs custody and external_ref."
    ),
    # Proofs.
    "checkpoint_not_found": RefusalRule(404, _NEVER, "No checkpoint of this size was published."),
    "entry_not_found": RefusalRule(404, _NEVER, "There is no such entry."),
    # Provisioning.
    "tenant_exists": RefusalRule(409, _STATE, "The tenant exists."),
    "tenant_unknown": RefusalRule(404, _STATE, "The tenant is not provisioned."),
    "ledger_topic_missing": RefusalRule(503, _NEVER, "The tenant's ledger topic does not exist."),
    "effect_not_outstanding": RefusalRule(409, _STATE, "The effect is no longer outstanding."),
    "nothing_due": RefusalRule(409, _STATE, "Nothing is due."),
    "quarantine_stands": RefusalRule(409, _STATE, "The tenant's ledger still does not agree."),
    "rails_paused": RefusalRule(
        409,
        _STATE,
        "An operator has paused the rails; what was asked is carried out when they resume.",
    ),
    "command_too_large": RefusalRule(413, _NEVER, "The command is larger than a record may be."),
}


def rule_of(code: str) -> RefusalRule:
    """The code's row; an unlisted code is a programmer's mistake."""
    return REFUSALS[code]

"""Bodies of the mutating routes → command bodies: types and forms only.

Existence, state, amounts, signatures and predicates are Harbor's to judge: the gateway's tables lag, and Harbor
trusts no gateway. What can't even be put into a command is refused here.
"""

import re
from collections.abc import Mapping
from typing import Final

from gateway.commands import members
from gateway.edge.refused import RefusedError
from schemas.canonical.literal_json import Json, canonical
from schemas.ids import is_canonical_uuid
from schemas.messages.commands import (
    ConfirmSettlement,
    CreateIntent,
    FundIntent,
    OpenDispute,
    ResolveDispute,
    SubmitEvidence,
    WithdrawDispute,
)
from schemas.messages.shared import Custody, DisputeOutcome

TOOLS_MAX: Final = 64
TOOL_LENGTH_MAX: Final = 128
ARTIFACTS_MAX: Final = 64
_REFERENCE_LENGTH_MAX: Final = 512
_ARTIFACT = re.compile(r"[0-9a-f]{64}")


def intent_id_of(body: Mapping[str, Json]) -> str:
    intent_id = members.text(body, "intent_id", length_max=36)
    if not is_canonical_uuid(intent_id):
        raise members.wrong("intent_id", "must be a lower-case UUID")
    return intent_id


def create_intent(body: Mapping[str, Json]) -> CreateIntent:
    signing_version = members.integer(body, "signing_version")
    if signing_version not in {6, 7}:
        raise members.wrong("signing_version", "must be 6 or 7")
    predicate, template_id, version_seq = _predicate_or_policy(body, signing_version)
    return CreateIntent(
        signing_version=signing_version,
        principal_did=members.text(body, "principal_did"),
        principal_pubkey=members.base64_bytes(body, "principal_pubkey", 32),
        principal_signature=members.base64_bytes(
            body, "principal_signature", 64, code="principal_signature_invalid"
        ),
        payee_did=members.text(body, "payee_did"),
        payee_pubkey=members.base64_bytes(body, "payee_pubkey", 32),
        budget=canonical(members.document(body, "budget")),
        evidence_schema=canonical(
            members.document(body, "evidence_schema", code="evidence_schema_invalid")
        ),
        predicate=predicate,
        amount_minor=members.integer(body, "amount_cents", code="amount_invalid"),
        currency=members.text(body, "currency", code="currency_unsupported"),
        deadline=members.text(body, "deadline", code="deadline_invalid", length_max=64),
        settlement_rail=members.text(body, "settlement_rail", code="rail_unknown", length_max=128),
        allowed_tools=_tools(body),
        predicate_ref=members.optional_text(body, "predicate_ref", length_max=_REFERENCE_LENGTH_MAX)
        or "",
        policy_template_id=template_id,
        policy_version_seq=version_seq,
        completion_preset_id=members.optional_text(
            body, "completion_preset_id", length_max=_REFERENCE_LENGTH_MAX
        ),
    )


def _predicate_or_policy(
    body: Mapping[str, Json], signing_version: int
) -> tuple[bytes | None, str | None, int | None]:
    policy = body.get("policy_binding")
    if signing_version == 6:
        if policy is not None:
            raise members.wrong("policy_binding", "must be null in version 6")
        predicate = members.document(body, "predicate_dsl", code="intent.predicate.invalid")
        return canonical(predicate), None, None
    if "predicate_dsl" in body:
        raise members.wrong("predicate_dsl", "must not stand in version 7")
    binding = members.document(body, "policy_binding")
    version_seq = members.integer(binding, "version_seq")
    if not 0 <= version_seq < 2**32:
        raise members.wrong("policy_binding.version_seq", "is out of range")
    return None, members.text(binding, "template_id"), version_seq


def _tools(body: Mapping[str, Json]) -> tuple[str, ...]:
    def refuse(reason: str) -> RefusedError:
        return members.wrong("allowed_tools", reason, code="tools_invalid")

    tools = members.texts(body, "allowed_tools", refuse=refuse)
    if not tools:
        raise members.wrong("allowed_tools", "must name a tool", code="allowed_tools_empty")
    if len(tools) > TOOLS_MAX:
        raise refuse(f"must have at most {TOOLS_MAX} names")
    if any(len(tool) > TOOL_LENGTH_MAX for tool in tools):
        raise refuse(f"must have names of at most {TOOL_LENGTH_MAX} characters")
    return tools


def fund_intent(_body: Mapping[str, Json]) -> FundIntent:
    return FundIntent()


def confirm_settlement(_body: Mapping[str, Json]) -> ConfirmSettlement:
    return ConfirmSettlement()


def submit_evidence(body: Mapping[str, Json]) -> SubmitEvidence:
    return SubmitEvidence(
        payload=canonical(members.document(body, "payload", code="payload_invalid")),
        artifacts=_artifacts(body),
        payee_did=members.text(body, "payee_did"),
        payee_pubkey=members.base64_bytes(body, "payee_pubkey", 32),
        payee_signature=members.base64_bytes(
            body, "payee_signature", 64, code="payee_signature_invalid"
        ),
        submitted_at=members.text(body, "submitted_at", code="submitted_at_skewed", length_max=64),
    )


def _artifacts(body: Mapping[str, Json]) -> tuple[bytes, ...]:
    def refuse(reason: str) -> RefusedError:
        return members.wrong("artifacts", reason, code="payload_invalid")

    artifacts = members.texts(body, "artifacts", refuse=refuse)
    if len(artifacts) > ARTIFACTS_MAX:
        raise refuse(f"must have at most {ARTIFACTS_MAX} digests")
    if not all(_ARTIFACT.fullmatch(artifact) for artifact in artifacts):
        raise refuse("must be digests of 64 lower-case hex characters")
    return tuple(bytes.fromhex(artifact) for artifact in artifacts)


def open_dispute(body: Mapping[str, Json]) -> OpenDispute:
    return OpenDispute(reason_code=_reason_code(body))


def withdraw_dispute(body: Mapping[str, Json]) -> WithdrawDispute:
    return WithdrawDispute(reason_code=_reason_code(body))


def resolve_dispute(body: Mapping[str, Json]) -> ResolveDispute:
    outcome = members.text(body, "outcome", length_max=64)
    if outcome not in set(DisputeOutcome):
        raise members.wrong("outcome", "must be one of " + ", ".join(DisputeOutcome))
    payee, principal = _split(body)
    return ResolveDispute(
        outcome=DisputeOutcome(outcome),
        reason_code=_reason_code(body),
        payee_minor=payee,
        principal_minor=principal,
        custody=_custody(body),
        external_ref=members.optional_text(body, "external_ref", length_max=_REFERENCE_LENGTH_MAX),
    )


def _split(body: Mapping[str, Json]) -> tuple[int | None, int | None]:
    if body.get("split") is None:
        return None, None
    split = members.document(body, "split", code="split_invalid")
    return (
        members.integer(split, "payee_cents", code="split_invalid"),
        members.integer(split, "principal_cents", code="split_invalid"),
    )


def _custody(body: Mapping[str, Json]) -> Custody | None:
    custody = members.optional_text(body, "custody", length_max=64)
    if custody is None:
        return None
    if custody not in set(Custody):
        raise members.wrong("custody", "must be capture or cancel", code="custody_required")
    return Custody(custody)


_REASON_CODE = re.compile(r"[a-z0-9][a-z0-9._:-]*")


def _reason_code(body: Mapping[str, Json]) -> str:
    """A code, not a sentence: entries carry no free text."""
    code = members.text(body, "reason_code", length_max=members.REASON_CODE_LENGTH_MAX)
    if _REASON_CODE.fullmatch(code) is None:
        raise members.wrong("reason_code", "must match [a-z0-9][a-z0-9._:-]*")
    return code

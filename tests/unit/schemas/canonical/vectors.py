"""The contract's vectors, as frames. `tests/vectors` holds copies of the published files, unchanged."""

import json
from pathlib import Path
from typing import Any

from schemas.canonical.evidence_bytes import EvidenceFrame, artifact_digests, artifacts_digest
from schemas.canonical.intent_bytes import IntentDocuments, IntentFrame, PolicyPart, tools_digest
from schemas.canonical.json_digest import jd_bytes
from schemas.canonical.literal_json import canonical, parse

Vector = dict[str, Any]

_FOLDER = Path(__file__).parents[3] / "vectors"
MAIN: Vector = json.loads((_FOLDER / "vectors.json").read_text(encoding="utf-8"))
EDGE: Vector = json.loads((_FOLDER / "vectors-edge.json").read_text(encoding="utf-8"))


def name_of(vector: Vector) -> str:
    return str(vector["name"])


def is_refused(vector: Vector) -> bool:
    return vector.get("expect") == "refuse"


def canonical_of(document: object) -> bytes:
    """Canonical bytes of a vector's document; the vectors' documents hold no fractions."""
    return canonical(parse(json.dumps(document).encode()))


def inputs_of(vector: Vector) -> Vector:
    """The base inputs with the vector's changes, as the client sends them in the body."""
    inputs: Vector = EDGE["intent_base"] | vector["set"] | vector.get("body", {})
    if "body_deadline" in vector:
        inputs["deadline"] = vector["body_deadline"]
    return inputs


def documents_of(inputs: Vector) -> IntentDocuments:
    return IntentDocuments(
        budget=canonical_of(inputs["budget"]),
        evidence_schema=canonical_of(inputs["evidence_schema"]),
        predicate=canonical_of(inputs["predicate"]),
    )


def intent_frame_of(
    inputs: Vector, *, payee_public_key: bytes, tools: bytes | None = None
) -> IntentFrame:
    """`tools` replaces the digest where the vector's own tools are refused."""
    documents = documents_of(inputs)
    policy = inputs.get("policy")
    return IntentFrame(
        version=6 if policy is None else 7,
        tenant_id=inputs["tenant_id"],
        intent_id=inputs["intent_id"],
        principal_did=inputs["principal_did"],
        payee_did=inputs["payee_did"],
        amount_cents=inputs["amount_cents"],
        currency=inputs["currency"],
        deadline=inputs["deadline"],
        budget_digest=jd_bytes(documents.budget),
        evidence_schema_digest=jd_bytes(documents.evidence_schema),
        predicate_digest=jd_bytes(documents.predicate),
        predicate_ref=_text_of(inputs["predicate_ref"]),
        tools_digest=tools_digest(inputs["allowed_tools"]) if tools is None else tools,
        settlement_rail=inputs["settlement_rail"],
        policy=None
        if policy is None
        else PolicyPart(
            template_id=policy["template_id"],
            version_seq=policy["version_seq"],
            content_digest=bytes.fromhex(policy["content_digest_hex"]),
        ),
        payee_public_key=payee_public_key,
    )


def evidence_frame_of(inputs: Vector) -> EvidenceFrame:
    return EvidenceFrame(
        tenant_id=inputs["tenant_id"],
        intent_id=inputs["intent_id"],
        payee_did=inputs["payee_did"],
        payload_digest=jd_bytes(canonical_of(inputs["payload"])),
        artifacts_digest=artifacts_digest(artifact_digests(inputs["artifacts"])),
        submitted_at=inputs["submitted_at"],
    )


def _text_of(value: str | Vector | None) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case _:
            return str(value["repeat"]) * int(value["count"])

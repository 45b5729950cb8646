"""What a payee signs, against every published vector."""

from base64 import b64decode
from dataclasses import replace

import pytest

from schemas.canonical import ed25519
from schemas.canonical.evidence_bytes import (
    EvidenceFrame,
    artifact_digests,
    artifacts_digest,
    sign_bytes,
    signature_candidates,
    verified_candidate,
)
from schemas.canonical.json_digest import LiteralForm, jd, jd_bytes
from schemas.canonical.literal_json import canonical, normal, parse
from schemas.errors import InstantError, PayloadInvalidError, SignatureFormatError
from schemas.instants import Spelling
from tests.unit.schemas.canonical.vectors import (
    EDGE,
    MAIN,
    Vector,
    canonical_of,
    evidence_frame_of,
    name_of,
)

_VECTORS: list[Vector] = EDGE["evidence"]
_BASE: Vector = EDGE["evidence_base"]
_SEED = bytes.fromhex(EDGE["seeds"]["payee"])


def _sent(vector: Vector) -> Vector:
    return {**_BASE, **vector["set"], **vector.get("body", {})}


@pytest.mark.parametrize("vector", _VECTORS, ids=name_of)
def test_a_frame_has_the_published_bytes_and_signature(vector: Vector) -> None:
    frame = evidence_frame_of(_sent(vector))

    assert sign_bytes(frame).hex() == vector["sign_bytes_hex"]
    assert ed25519.sign(_SEED, sign_bytes(frame)) == b64decode(vector["payee_signature"])
    assert vector.get("artifacts_digest_hex", frame.artifacts_digest.hex()) == (
        frame.artifacts_digest.hex()
    )


@pytest.mark.parametrize(
    "vector", [vector for vector in _VECTORS if "submitted_at" in vector["set"]], ids=name_of
)
def test_what_a_client_signed_is_found_from_what_it_was_given(vector: Vector) -> None:
    inputs = {**_BASE, **vector["set"]}
    candidate = verified_candidate(
        evidence_frame_of(inputs),
        canonical_of(inputs["payload"]),
        public_key=ed25519.public_key(_SEED),
        signature=b64decode(vector["payee_signature"]),
    )

    assert candidate is not None
    assert candidate.frame.submitted_at == _sent(vector)["submitted_at"]


def test_the_worked_vector_has_its_published_bytes() -> None:
    worked: Vector = MAIN["evidence_v2"]
    body: Vector = worked["body"]
    frame = evidence_frame_of({**_BASE, **body})

    assert frame.payload_digest.hex() == worked["payload_digest_hex"]
    assert frame.artifacts_digest.hex() == worked["artifacts_digest_hex"]
    assert sign_bytes(frame).hex() == worked["sign_bytes_hex"]
    assert ed25519.verify(
        b64decode(body["payee_pubkey"]), sign_bytes(frame), b64decode(body["payee_signature"])
    )


def test_no_artifacts_have_the_digest_of_nothing() -> None:
    assert artifacts_digest([]).hex() == MAIN["json_digest"]["empty_artifacts_blake3_hex"]


def test_a_payload_that_was_signed_in_normal_form_is_found_second() -> None:
    payload = parse(b'{"score":1E5}')
    received = canonical(payload)
    frame = replace(
        evidence_frame_of(_BASE),
        payload_digest=jd_bytes(received),
        submitted_at="2030-01-02T17:04:05+02:00",
    )
    signed = replace(frame, payload_digest=jd(normal(payload)), submitted_at="2030-01-02T15:04:05Z")

    candidate = verified_candidate(
        frame,
        received,
        public_key=ed25519.public_key(_SEED),
        signature=ed25519.sign(_SEED, sign_bytes(signed)),
    )

    assert candidate is not None
    assert candidate.frame == signed
    assert candidate.literals is LiteralForm.NORMAL
    assert candidate.submitted_at_spelling is Spelling.UTC_SECONDS


def test_a_signature_over_another_payload_is_not_found() -> None:
    frame = evidence_frame_of(_BASE)
    other = replace(frame, payload_digest=bytes(32))

    found = verified_candidate(
        frame,
        canonical_of(_BASE["payload"]),
        public_key=ed25519.public_key(_SEED),
        signature=ed25519.sign(_SEED, sign_bytes(other)),
    )

    assert found is None


def test_the_first_candidate_parses_nothing() -> None:
    frame = replace(evidence_frame_of(_BASE), submitted_at="today")
    candidates = signature_candidates(frame, b"{")

    assert next(candidates).frame == frame
    with pytest.raises(InstantError):
        next(candidates)


@pytest.mark.parametrize(
    "artifact",
    ["", "ab" * 31, "ab" * 33, "AB" * 32, "0x" + "ab" * 31, "ab" * 31 + "g0", "ab " * 32],
)
def test_an_artifact_that_is_not_64_lower_case_hex_digits_is_refused(artifact: str) -> None:
    with pytest.raises(PayloadInvalidError, match=r"artifacts\[1\]"):
        artifact_digests(["ab" * 32, artifact])


def test_artifacts_have_a_named_maximum() -> None:
    assert len(artifact_digests(["ab" * 32] * 64)) == 64
    with pytest.raises(PayloadInvalidError, match="64"):
        artifact_digests(["ab" * 32] * 65)


def test_an_intent_id_in_another_spelling_makes_no_frame() -> None:
    with pytest.raises(SignatureFormatError, match="intent_id"):
        EvidenceFrame(
            tenant_id="tenant-vec",
            intent_id="7F2A9B1E-2F66-4F4F-9C6E-8F4B8E85C401",
            payee_did="did:web:payee.test",
            payload_digest=bytes(32),
            artifacts_digest=bytes(32),
            submitted_at="2030-01-02T15:04:05Z",
        )

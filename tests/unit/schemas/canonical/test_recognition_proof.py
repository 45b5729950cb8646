"""A recognition proof has one signed form and one accepted shape."""

import json
from base64 import urlsafe_b64encode
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import ed25519, recognition_proof
from schemas.canonical.recognition_proof import (
    RecognitionProof,
    RecognitionStatement,
    canonical_form,
    decode_header,
    digest,
    header_value,
    make_proof,
    sign_statement,
    verify_digest_and_signature,
)
from schemas.errors import RecognitionProofError
from tests.unit.schemas.canonical.vectors import MAIN, Vector

_WORKED: Vector = MAIN["recognition_proof"]
_SEED = bytes.fromhex(_WORKED["agent_seed_hex"])
_ISSUED = datetime(2030, 1, 2, 15, 0, tzinfo=UTC)

_names = st.from_regex(r"\A[a-z0-9][a-z0-9._:/-]{0,127}\Z")
_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40
)

_times = st.sampled_from(["2030-01-02T15:00:00Z", "2030-01-02t17:04:00.50+02:00"])
_statements = st.builds(
    RecognitionStatement,
    key_id=_names,
    issued_at=_times,
    expires_at=_times,
    nonce=_texts,
    purpose=_names,
    tenant_id=_texts,
    verifier_id=_names,
    method=_texts,
    path=_texts,
    body_digest_hex=st.binary(min_size=32, max_size=32).map(bytes.hex),
)


def _proof() -> RecognitionProof:
    return make_proof(
        seed=_SEED,
        key_id="agent-key-1",
        issued_at=_ISSUED,
        expires_at=_ISSUED + timedelta(minutes=4),
        nonce="nonce-1",
        purpose="harbor.intent.create",
        tenant_id="tenant-vec",
        method="POST",
        path="/harbor/intents",
        body=_WORKED["request_body"].encode(),
    )


def _header(document: object) -> str:
    return urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _changed(**changes: object) -> str:
    return _header(_WORKED["proof"] | changes)


def _nested(member: str, **changes: object) -> str:
    return _changed(**{member: _WORKED["proof"][member] | changes})


def test_the_worked_vector_is_read_rebuilt_and_verified() -> None:
    proof = decode_header(_WORKED["header_value"])

    assert canonical_form(proof.statement).decode() == _WORKED["canonical"]
    assert digest(proof.statement).hex() == _WORKED["proof"]["message_digest_sha256_hex"]
    assert verify_digest_and_signature(proof)


def test_a_proof_that_we_make_is_the_worked_one() -> None:
    proof = _proof()

    assert proof == decode_header(_WORKED["header_value"])
    assert decode_header(header_value(proof)) == proof
    assert proof.signature.hex() == _WORKED["proof"]["ed25519_signature_hex"]
    assert proof.statement.issued_instant == _ISSUED
    assert proof.statement.expires_instant == _ISSUED + timedelta(minutes=4)


@pytest.mark.parametrize("member", sorted(_WORKED["proof"]))
def test_a_missing_member_is_malformed(member: str) -> None:
    document = {name: value for name, value in _WORKED["proof"].items() if name != member}

    with pytest.raises(RecognitionProofError, match=member) as refused:
        decode_header(_header(document))
    assert refused.value.code == "recognition_proof_malformed"
    assert refused.value.http_status == 401


@pytest.mark.parametrize("member", sorted(_WORKED["proof"]))
def test_a_member_of_another_type_is_malformed(member: str) -> None:
    values: list[object] = [None, 7, True, [], "", {}]
    for value in values:
        with pytest.raises(RecognitionProofError) as refused:
            decode_header(_changed(**{member: value}))
        assert refused.value.code == "recognition_proof_malformed"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "not base64url!",
        _WORKED["header_value"] + "=",
        _WORKED["header_value"] + "\n",
        " " + _WORKED["header_value"],
        _WORKED["header_value"][:-1],
        _header([]),
        _header("text"),
        _header(None),
        urlsafe_b64encode(b'{"kind":1,"kind":1}').rstrip(b"=").decode(),
        urlsafe_b64encode(b"\xff\xff\xff").decode(),
        "A" * (16 * 1024 + 4),
        _changed(extra=1),
        _nested("verifier_context", extra=1),
        _nested("verifier_context", tenant_id=""),
        _nested("verifier_context", tenant_id={"a": 1}),
        _nested("verifier_context", verifier_id="Paybond-Gateway"),
        _nested("request_envelope", extra=1),
        _nested("request_envelope", method=""),
        _nested("request_envelope", path=1),
        _nested("request_envelope", body_digest_sha256_hex="AB" * 32),
        _nested("request_envelope", body_digest_sha256_hex="ab" * 31),
        _changed(schema_version=2),
        _changed(schema_version=1.0),
        _changed(kind="paybond.agent_recognition_proof_v2"),
        _changed(signature_algorithm="none"),
        _changed(key_id="Agent-Key-1"),
        _changed(key_id="-agent"),
        _changed(key_id="a" * 129),
        _changed(key_id="agent key"),
        _changed(key_id="agent\n"),
        _changed(purpose="Harbor.intent.create"),
        _changed(nonce="n" * 257),
        _changed(nonce="a\x00"),
        _changed(issued_at="2030-01-02 15:00:00Z"),
        _changed(expires_at="2030-01-02T15:04:60Z"),
        _changed(message_digest_sha256_hex=_WORKED["proof"]["message_digest_sha256_hex"].upper()),
        _changed(signing_public_key_ed25519_hex="ab" * 33),
        _changed(ed25519_signature_hex="ab" * 63),
        _changed(ed25519_signature_hex="AB" * 64),
    ],
)
def test_a_header_of_another_shape_is_malformed(header: str) -> None:
    with pytest.raises(RecognitionProofError) as refused:
        decode_header(header)
    assert refused.value.code == "recognition_proof_malformed"


@pytest.mark.parametrize("key_id", ["a", "0", "a" * 128, "a.b_c:d/e-f"])
def test_a_name_at_its_limits_is_read(key_id: str) -> None:
    assert decode_header(_changed(key_id=key_id)).statement.key_id == key_id


def test_a_nonce_is_counted_in_characters() -> None:
    assert decode_header(_changed(nonce="é" * 256)).statement.nonce == "é" * 256


def test_characters_of_html_are_signed_as_they_are() -> None:
    statement = replace(_proof().statement, nonce='<&>\u2028"\n\x01é')

    assert '"nonce":"<&>\u2028\\"\\n\\u0001é"' in canonical_form(statement).decode()


@pytest.mark.parametrize("member", [member.name for member in fields(RecognitionStatement)])
def test_no_signed_member_can_be_changed(member: str) -> None:
    proof = _proof()
    changed = replace(proof.statement, **{member: "another"})

    assert not verify_digest_and_signature(replace(proof, statement=changed))
    assert not verify_digest_and_signature(
        replace(proof, statement=changed, message_digest=digest(changed))
    )


def test_a_digest_that_is_not_the_statements_is_refused_although_it_is_signed() -> None:
    other = bytes(32)
    proof = replace(_proof(), message_digest=other, signature=ed25519.sign(_SEED, other))

    assert not verify_digest_and_signature(proof)


def test_a_digest_that_is_not_the_statements_is_refused_beside_a_good_signature() -> None:
    assert not verify_digest_and_signature(replace(_proof(), message_digest=bytes(32)))


def test_the_signature_is_over_the_digest_and_not_over_the_text() -> None:
    proof = _proof()
    over_text = replace(proof, signature=ed25519.sign(_SEED, canonical_form(proof.statement)))

    assert not verify_digest_and_signature(over_text)


@given(statement=_statements, seed=st.binary(min_size=32, max_size=32))
def test_every_proof_survives_its_header(statement: RecognitionStatement, seed: bytes) -> None:
    proof = sign_statement(statement, seed=seed)

    assert decode_header(header_value(proof)) == proof
    assert verify_digest_and_signature(decode_header(header_value(proof)))


@given(st.text(max_size=60))
def test_any_header_is_read_or_malformed(header: str) -> None:
    with pytest.raises(RecognitionProofError):
        decode_header(header)


def test_the_verifier_of_this_gateway_has_the_contracts_name() -> None:
    assert recognition_proof.VERIFIER_ID == "paybond-gateway"

"""What a principal signs, against every published vector."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace

import pytest
from blake3 import blake3

from schemas.canonical import ed25519
from schemas.canonical.intent_bytes import (
    CompletionTail,
    IntentDocuments,
    IntentFrame,
    PolicyPart,
    normal_tools,
    sign_bytes,
    signature_candidates,
    tools_digest,
    verified_candidate,
)
from schemas.canonical.json_digest import LiteralForm, jd, jd_bytes
from schemas.canonical.literal_json import canonical, normal, parse
from schemas.errors import InstantError, SignatureFormatError, ToolsInvalidError
from schemas.instants import Spelling
from tests.unit.schemas.canonical.vectors import (
    EDGE,
    MAIN,
    Vector,
    documents_of,
    inputs_of,
    intent_frame_of,
    is_refused,
    name_of,
)

_VECTORS: list[Vector] = EDGE["intents"]
_BASE: Vector = EDGE["intent_base"]

# Refused by these modules; amounts and currencies by schemas.money, the rest by the signature alone.
_NO_FRAME = "v7 version_seq 4294967296"
_SIGNED_BUT_NOT_SENT = "blank predicate_ref: signed, but not sent"
# The first two don't say `expect: refuse`, but the recipe's text does: a blank name, and names that are not
# printable ASCII once stripped of ASCII blanks. Their bytes are asserted over the digest they publish.
_TOOLS_REFUSED = {
    'tools: a blank entry stays, as ""',
    "tools: blanks, duplicates, mixed case",
    "tools: non-ASCII, lower-cased in ASCII only",
}


def _seed(inputs: Vector, party: str) -> bytes:
    return bytes.fromhex(inputs[f"{party}_seed_hex"])


def _frame(vector: Vector) -> IntentFrame:
    inputs = inputs_of(vector)
    tools = None
    if name_of(vector) in _TOOLS_REFUSED:
        tools = jd(parse(vector["tools_canonical"].encode()))
    return intent_frame_of(
        inputs, payee_public_key=ed25519.public_key(_seed(inputs, "payee")), tools=tools
    )


def _signed_deadline(vector: Vector) -> str:
    return str(
        vector["signed_deadline"] if "signed_deadline" in vector else inputs_of(vector)["deadline"]
    )


def _base_frame() -> IntentFrame:
    return _frame({"name": "base", "set": {}})


@pytest.mark.parametrize(
    "vector", [vector for vector in _VECTORS if name_of(vector) != _NO_FRAME], ids=name_of
)
def test_a_frame_has_the_published_bytes_and_signature(vector: Vector) -> None:
    inputs = inputs_of(vector)
    frame = replace(_frame(vector), deadline=_signed_deadline(vector))
    message = sign_bytes(frame)
    signature = b64decode(vector["principal_signature"])

    assert vector.get("sign_bytes_hex", message.hex()) == message.hex()
    assert vector.get("sign_bytes_length", len(message)) == len(message)
    assert vector.get("sign_bytes_blake3_hex", blake3(message).hexdigest()) == (
        blake3(message).hexdigest()
    )
    assert vector.get("field_hex", "") in message.hex()
    assert vector.get("field_head_hex", "") in message.hex()
    assert ed25519.sign(_seed(inputs, "principal"), message) == signature


@pytest.mark.parametrize(
    "vector", [vector for vector in _VECTORS if name_of(vector) != _NO_FRAME], ids=name_of
)
def test_what_a_client_signed_is_found_among_the_candidates(vector: Vector) -> None:
    inputs = inputs_of(vector)
    candidate = verified_candidate(
        _frame(vector),
        documents_of(inputs),
        public_key=ed25519.public_key(_seed(inputs, "principal")),
        signature=b64decode(vector["principal_signature"]),
    )

    assert candidate is not None
    assert candidate.frame.deadline == _signed_deadline(vector)


def test_every_vector_says_its_bytes_in_one_way_or_another() -> None:
    silent = [v for v in _VECTORS if "sign_bytes_hex" not in v and "sign_bytes_blake3_hex" not in v]

    assert len(_VECTORS) == 36
    assert silent == []


def test_a_blank_reference_that_was_signed_but_not_sent_is_not_found() -> None:
    vector = next(vector for vector in _VECTORS if name_of(vector) == _SIGNED_BUT_NOT_SENT)
    inputs = inputs_of(vector)
    client: Vector = vector["client"]
    signature = b64decode(client["principal_signature"])
    principal = ed25519.public_key(_seed(inputs, "principal"))
    signed = replace(_frame(vector), predicate_ref=client["signs"]["predicate_ref"])

    assert is_refused(vector)
    assert ed25519.verify(principal, sign_bytes(signed), signature)
    assert (
        verified_candidate(
            _frame(vector), documents_of(inputs), public_key=principal, signature=signature
        )
        is None
    )


def test_a_policy_version_past_32_bits_makes_no_frame() -> None:
    vector = next(vector for vector in _VECTORS if name_of(vector) == _NO_FRAME)

    assert is_refused(vector)
    with pytest.raises(SignatureFormatError, match="version_seq"):
        _frame(vector)


@pytest.mark.parametrize(
    "vector", [vector for vector in _VECTORS if name_of(vector) in _TOOLS_REFUSED], ids=name_of
)
def test_tool_names_that_are_blank_or_not_ascii_are_refused(vector: Vector) -> None:
    with pytest.raises(ToolsInvalidError):
        tools_digest(vector["set"]["allowed_tools"])


def test_tools_are_trimmed_lowered_sorted_and_each_once() -> None:
    vector = next(v for v in _VECTORS if name_of(v) == "v7, own tenant and seeds")
    tools = [" Travel.Search\t", "travel.search", "TRAVEL.SEARCH", "b", "a b", "b"]

    assert normal_tools(tools) == ["a b", "b", "travel.search"]
    assert tools_digest(tools) == tools_digest(["b", "travel.search", "a b"])
    assert tools_digest(vector["set"]["allowed_tools"]).hex() == vector["tools_digest_hex"]


@pytest.mark.parametrize(
    "tools", [["a", ""], ["a", " \t"], ["a", "é"], ["a", "a\x00b"], ["a", "\x7f"], ["a", "x" * 129]]
)
def test_a_refused_tool_is_named_by_its_position(tools: list[str]) -> None:
    with pytest.raises(ToolsInvalidError, match=r"allowed_tools\[1\]"):
        tools_digest(tools)


def test_tools_have_a_named_maximum() -> None:
    most = [f"tool-{number:03}" for number in range(64)]

    assert normal_tools(most) == most
    assert normal_tools(["x" * 128]) == ["x" * 128]
    with pytest.raises(ToolsInvalidError, match="64"):
        normal_tools([*most, "one.more"])


@pytest.mark.parametrize("version", [6, 7])
def test_the_worked_vectors_have_their_published_bytes(version: int) -> None:
    worked: Vector = MAIN[f"intent_v{version}"]
    body: Vector = worked["body"]
    frame = _frame({"name": "worked", "set": _worked_changes(worked)})
    principal = b64decode(body["principal_pubkey"])

    assert sign_bytes(frame).hex() == worked["sign_bytes_hex"]
    assert ed25519.verify(principal, sign_bytes(frame), b64decode(body["principal_signature"]))


def _worked_changes(worked: Vector) -> Vector:
    body: Vector = worked["body"]
    changes: Vector = {
        "budget": body["budget"],
        "evidence_schema": body["evidence_schema"],
        "predicate": worked.get("materialized_predicate", body.get("predicate_dsl")),
        "allowed_tools": body["allowed_tools"],
    }
    if body["policy_binding"] is not None:
        changes["policy"] = {
            **body["policy_binding"],
            "content_digest_hex": worked["policy_content_digest_hex"],
        }
    return changes


def test_a_number_that_was_signed_in_normal_form_is_found_second() -> None:
    budget = parse(b'{"max_spend":1e-05,"currency":"usd"}')
    received = canonical(budget)
    documents = replace(documents_of(_BASE), budget=received)
    frame = replace(
        _base_frame(), budget_digest=jd_bytes(received), deadline="2030-01-02t15:04:05z"
    )
    seed = _seed(_BASE, "principal")
    signed = replace(frame, budget_digest=jd(normal(budget)), deadline="2030-01-02T15:04:05Z")

    candidate = verified_candidate(
        frame,
        documents,
        public_key=ed25519.public_key(seed),
        signature=ed25519.sign(seed, sign_bytes(signed)),
    )

    assert candidate is not None
    assert candidate.frame == signed
    assert candidate.literals is LiteralForm.NORMAL
    assert candidate.deadline_spelling is Spelling.NORMAL


def test_candidates_come_once_each_in_the_order_of_the_recipe() -> None:
    received = b'{"max_spend":1e-05}'
    documents = replace(documents_of(_BASE), budget=received)
    frame = replace(
        _base_frame(), budget_digest=jd_bytes(received), deadline="2030-01-02t17:04:05.0+02:00"
    )

    order = [(c.literals, c.frame.deadline) for c in signature_candidates(frame, documents)]

    spellings = [
        "2030-01-02t17:04:05.0+02:00",
        "2030-01-02T17:04:05+02:00",
        "2030-01-02T15:04:05Z",
    ]
    assert order == [(form, text) for form in LiteralForm for text in spellings]


def test_a_body_in_the_usual_spelling_has_one_candidate_which_is_itself() -> None:
    frame = _base_frame()

    assert [c.frame for c in signature_candidates(frame, documents_of(_BASE))] == [frame]


def test_the_first_candidate_parses_nothing() -> None:
    unreadable = IntentDocuments(budget=b"{", evidence_schema=b"{", predicate=b"{")
    frame = replace(_base_frame(), deadline="tomorrow")
    candidates = signature_candidates(frame, unreadable)

    assert next(candidates).frame == frame
    with pytest.raises(InstantError):
        next(candidates)


def test_legacy_versions_have_no_payee_key_and_the_policy_stands_before_it() -> None:
    policy = PolicyPart(template_id="t", version_seq=300, content_digest=b"\xab" * 32)
    version_6 = _base_frame()
    version_7 = replace(version_6, version=7, policy=policy)
    version_4 = replace(version_6, version=4, payee_public_key=None)
    version_5 = replace(version_7, version=5, payee_public_key=None)
    key = version_6.payee_public_key
    assert key is not None

    assert sign_bytes(version_6)[1:] == sign_bytes(version_4)[1:] + key
    assert sign_bytes(version_7)[1:] == sign_bytes(version_5)[1:] + key
    assert sign_bytes(version_5)[1:] == (
        sign_bytes(version_4)[1:] + b"\x01t\xfb\x2c\x01" + b"\xab" * 32
    )


@pytest.mark.parametrize("vendor", [None, b"\x01" * 32])
def test_a_completion_contract_is_appended_with_zeros_for_no_vendor_schema(
    vendor: bytes | None,
) -> None:
    frame = _base_frame()
    completion = CompletionTail(
        preset_id="p",
        provider="é",
        api_version="",
        vendor_schema_digest=vendor,
        canonical_schema_digest=b"\x02" * 32,
    )
    tail = b"\x02\x01p\x02\xc3\xa9\x00" + (vendor or bytes(32)) + b"\x02" * 32

    assert sign_bytes(replace(frame, completion=completion)) == sign_bytes(frame) + tail


def test_the_rail_is_trimmed_and_nothing_else_is() -> None:
    frame = _base_frame()
    padded = replace(frame, settlement_rail=" stripe_connect\t")
    padded_tenant = replace(frame, tenant_id=" tenant-vec")

    assert sign_bytes(padded) == sign_bytes(frame)
    assert sign_bytes(padded_tenant) != sign_bytes(frame)


_POLICY = PolicyPart(template_id="t", version_seq=1, content_digest=bytes(32))


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: replace(frame, version=3),
        lambda frame: replace(frame, version=8),
        lambda frame: replace(frame, intent_id=frame.intent_id.upper()),
        lambda frame: replace(frame, intent_id="x"),
        lambda frame: replace(frame, amount_cents=2**63),
        lambda frame: replace(frame, amount_cents=-(2**63) - 1),
        lambda frame: replace(frame, policy=_POLICY),
        lambda frame: replace(frame, version=7),
        lambda frame: replace(frame, version=7, policy=replace(_POLICY, version_seq=-1)),
        lambda frame: replace(frame, payee_public_key=None),
        lambda frame: replace(frame, version=4),
        lambda frame: replace(frame, payee_public_key=b"short"),
    ],
)
def test_parts_that_make_no_frame_of_their_version_are_refused(
    change: Callable[[IntentFrame], IntentFrame],
) -> None:
    with pytest.raises(SignatureFormatError):
        change(_base_frame())

"""A value has one spelling in base64, and every other is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import base64_strict
from schemas.errors import SignatureFormatError


@pytest.mark.parametrize(
    "text",
    ["A", "AA", "AAA", "AB==", "AAB=", "AA==\n", " AA==", "AA= =", "AA==AA==", "A-_=", "====", "é"],
)
def test_another_spelling_of_standard_base64_is_refused(text: str) -> None:
    with pytest.raises(SignatureFormatError, match="principal_pubkey"):
        base64_strict.decode(text, what="principal_pubkey")


@pytest.mark.parametrize("text", ["A", "AB", "AAB", "AA==", "AAA=", "AA\n", "A+/A", "AA AA", "é"])
def test_another_spelling_of_base64url_is_refused(text: str) -> None:
    with pytest.raises(SignatureFormatError):
        base64_strict.decode_url(text, what="header")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(SignatureFormatError, match="32 bytes"):
        base64_strict.decode("AAAA", what="principal_pubkey", length=32)


@given(st.binary(max_size=80))
def test_every_value_survives_both_alphabets(raw: bytes) -> None:
    standard = base64_strict.encode(raw)
    url = base64_strict.encode_url(raw)

    assert standard == base64.b64encode(raw).decode()
    assert base64_strict.decode(standard, what="x", length=len(raw)) == raw
    assert base64_strict.decode_url(url, what="x") == raw


@given(st.text(alphabet="AQgw+/-_=", max_size=9))
def test_what_is_accepted_encodes_to_the_same_text(text: str) -> None:
    try:
        raw = base64_strict.decode(text, what="x")
    except SignatureFormatError:
        return

    assert base64_strict.encode(raw) == text

"""Bodies are read literally, and refused where two parsers may differ."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical.json_digest import jd
from schemas.canonical.literal_json import Json, NumberLiteral, canonical, normal, parse
from schemas.errors import JsonAmbiguousError, JsonInvalidError
from tests.unit.schemas.canonical.vectors import EDGE, MAIN, Vector, is_refused, name_of

# The published vector repeats a member ("é") and says what a client that keeps the last one signs, without
# `expect: refuse`. The contract refuses every duplicate; its bytes are asserted with the first one left out.
_REPEATS_A_MEMBER = "key order by code point"

_DIGESTS: list[Vector] = EDGE["json_digest"]
_REFUSED = [vector for vector in _DIGESTS if is_refused(vector)]
_ACCEPTED = [
    vector for vector in _DIGESTS if not is_refused(vector) and name_of(vector) != _REPEATS_A_MEMBER
]
_NUMBERS = [vector for vector in _ACCEPTED if "normal" in vector]
_RESPELLED = [vector for vector in _NUMBERS if "client" in vector]

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
_keys = st.text(
    st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\x00"),
    max_size=8,
)
_integers = st.integers(-(10**38), 10**38).map(lambda number: NumberLiteral(str(number)))
_fractions = st.from_regex(
    r"\A-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,9})?([eE][+-]?([0-5]?[0-9]|6[0-4]))?\Z"
).map(NumberLiteral)
_numbers = _integers | _fractions
_documents: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | _texts | _numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)
_brackets = st.text('[]{}"\\\\a', max_size=8)
_documents_with_brackets_in_texts: st.SearchStrategy[Json] = st.recursive(
    _brackets,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_brackets, inner, max_size=4),
    max_leaves=12,
)


def _depth(document: Json) -> int:
    match document:
        case list():
            return 1 + max(map(_depth, document), default=0)
        case dict():
            return 1 + max(map(_depth, document.values()), default=0)
        case _:
            return 0


def _raw(vector: Vector) -> bytes:
    return str(vector["raw"]).encode()


@pytest.mark.parametrize("vector", _ACCEPTED, ids=name_of)
def test_a_document_is_hashed_over_its_canonical_text(vector: Vector) -> None:
    document = parse(_raw(vector))

    assert canonical(document).hex() == vector["canonical_utf8_hex"]
    assert jd(document).hex() == vector["blake3_hex"]


@pytest.mark.parametrize("vector", _REFUSED, ids=name_of)
def test_what_two_parsers_read_differently_is_refused(vector: Vector) -> None:
    with pytest.raises(JsonAmbiguousError):
        parse(_raw(vector))


def test_keys_are_ordered_by_code_point_and_a_repeated_one_is_refused() -> None:
    vector = next(vector for vector in _DIGESTS if name_of(vector) == _REPEATS_A_MEMBER)
    once = parse(_raw(vector).replace('"é":1,'.encode(), b""))

    assert canonical(once).hex() == vector["canonical_utf8_hex"]
    assert jd(once).hex() == vector["blake3_hex"]
    with pytest.raises(JsonAmbiguousError, match="twice"):
        parse(_raw(vector))


@pytest.mark.parametrize("vector", _NUMBERS, ids=name_of)
def test_a_number_has_the_normal_form_that_clients_sign(vector: Vector) -> None:
    document = parse(_raw(vector))

    assert canonical(normal(document)).decode() == f'{{"n":{vector["normal"]}}}'


@pytest.mark.parametrize("vector", _RESPELLED, ids=name_of)
def test_what_a_client_signs_is_the_normal_form_of_what_it_sends(vector: Vector) -> None:
    client: Vector = vector["client"]
    sent = str(client.get("sends", vector["raw"])).encode()
    signed_digest = client.get("blake3_hex", vector["blake3_hex"])

    assert jd(normal(parse(sent))).hex() == signed_digest


def test_the_worked_vector_has_its_published_bytes_and_digest() -> None:
    worked: Vector = MAIN["json_digest"]
    document = parse(json.dumps(worked["input"]).encode())

    assert canonical(document).hex() == worked["canonical_utf8_hex"]
    assert jd(document).hex() == worked["blake3_hex"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{} {}",
        b"[1,]",
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":1.}',
        b'{"a":"\t"}',
        b'{"a":"\x00"}',
        b'"\\x"',
        b'"\\u12g4"',
        b'{"a":"\xff"}',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_what_is_not_json_in_utf8_is_refused(raw: bytes) -> None:
    with pytest.raises(JsonInvalidError):
        parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b'{"a":{"b":1,"b":1}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a\\u0000":1}',
        b'{"\\udc00":1}',
        b'["\\ud834x"]',
        b'["\\udd1e\\ud834"]',
        b"[" + b"1" * 41 + b"]",
        b"[0." + b"1" * 39 + b"]",
        b"[1e65]",
        b"[1E-65]",
        b"[1e+00000000000000000000000000000065]",
    ],
)
def test_an_ambiguous_document_is_refused_wherever_it_stands(raw: bytes) -> None:
    with pytest.raises(JsonAmbiguousError):
        parse(raw)


@pytest.mark.parametrize("text", ["1" * 40, "0." + "1" * 38, "1e64", "1E-64", "1e+0000064"])
def test_a_number_at_its_limits_is_accepted_as_it_stands(text: str) -> None:
    assert parse(text.encode()) == NumberLiteral(text)


def test_depth_is_refused_past_its_limit_and_not_at_it() -> None:
    at_limit = b"[" * 64 + b"]" * 64
    shallow_but_wide = b"[" + b",".join([b'{"[[":"]{\\""}'] * 200) + b"]"

    assert canonical(parse(at_limit)) == at_limit
    assert canonical(parse(shallow_but_wide)) == shallow_but_wide
    with pytest.raises(JsonInvalidError, match="64"):
        parse(b"[" + at_limit + b"]")
    with pytest.raises(JsonInvalidError, match="nested"):
        parse(b"[" * 250_000)


def test_a_string_does_not_hide_the_depth_that_follows_it() -> None:
    with pytest.raises(JsonInvalidError, match="nested"):
        parse(b'{"a\\"]]]}":' + b"[" * 64 + b"]" * 64 + b"}")


@given(_documents_with_brackets_in_texts)
def test_the_depth_of_a_document_is_that_of_its_containers_and_not_of_its_texts(
    document: Json,
) -> None:
    written = canonical(document)
    depth = _depth(document)

    assert parse(written, depth_max=depth) == document
    if depth:
        with pytest.raises(JsonInvalidError, match="nested"):
            parse(written, depth_max=depth - 1)


@pytest.mark.parametrize("end", [b"", b"\\"])
def test_a_string_that_is_never_closed_is_read_once(end: bytes) -> None:
    # As long as a body may be. Read once it takes milliseconds, once per quote more than ten minutes.
    quotes = b"[" * 65 + b'"' + b'\\"' * 260_000 + end

    with pytest.raises(JsonInvalidError):
        parse(quotes)


def test_a_number_is_exact_and_knows_whether_it_is_an_integer_literal() -> None:
    tenth = NumberLiteral("0.1")

    assert tenth.value == Decimal("0.1")
    assert NumberLiteral("1e2").value == 100
    assert not tenth.is_integer_literal
    assert not NumberLiteral("1e2").is_integer_literal
    assert not NumberLiteral("1.0").is_integer_literal
    assert NumberLiteral("-12345678901234567890").is_integer_literal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9223372036854775807", "9223372036854775807"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("-9223372036854775809", "-9.223372036854776e+18"),
        ("0e5", "0.0"),
        ("-0e0", "-0.0"),
        ("1e15", "1000000000000000.0"),
        ("123456789012345678.0", "1.2345678901234568e+17"),
        ("1234.5", "1234.5"),
        ("0.000012345", "0.000012345"),
        ("0.0000012345", "1.2345e-6"),
        ("1e-64", "1e-64"),
        ("1e64", "1e+64"),
        ("0.1000000000000000055511151231257827", "0.1"),
    ],
)
def test_the_normal_form_is_the_shortest_decimal_of_the_nearest_double(
    text: str, expected: str
) -> None:
    assert normal(NumberLiteral(text)) == NumberLiteral(expected)


@given(_documents)
def test_canonical_bytes_read_back_as_the_same_document(document: Json) -> None:
    written = canonical(document)

    assert parse(written, depth_max=100) == document
    assert canonical(parse(written, depth_max=100)) == written


@given(_documents)
def test_the_normal_form_of_a_normal_form_is_itself(document: Json) -> None:
    once = normal(document)

    assert normal(once) == once


def test_a_normal_form_may_leave_the_limits_of_what_is_received() -> None:
    # It is only ever hashed: nobody sends it, so nobody parses it.
    received = parse(b"100000E60")

    assert canonical(normal(received)) == b"1e+65"


@given(_fractions)
def test_the_normal_form_names_the_same_double(number: NumberLiteral) -> None:
    in_normal_form = normal(number)

    assert isinstance(in_normal_form, NumberLiteral)
    assert float(in_normal_form.text) == float(number.text)


@given(
    st.recursive(
        st.none() | st.booleans() | _texts | st.integers(-(2**63), 2**64 - 1),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
        max_leaves=12,
    )
)
def test_canonical_bytes_agree_with_the_standard_library_on_integers_and_text(
    document: object,
) -> None:
    compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    assert canonical(parse(json.dumps(document).encode(), depth_max=100)) == compact.encode()


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused_by_name(raw: bytes) -> None:
    try:
        document = parse(raw)
    except (JsonInvalidError, JsonAmbiguousError):
        return

    assert parse(canonical(document)) == document

"""Whether a payload matches a schema: exact values, the limits, and a second opinion."""

import json
from decimal import Decimal

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor.domain.evidence_schema import (
    PATTERN_UNITS_MAX,
    EvidenceSchema,
    SchemaVerdict,
    check_schema_document,
    matches,
)
from schemas.canonical.literal_json import Json, NumberLiteral, parse


def schema_of(document: object) -> EvidenceSchema:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    schema = check_schema_document(parse(raw), document_bytes=len(raw))
    assert isinstance(schema, EvidenceSchema), schema
    return schema


def verdict(document: object, payload: object) -> SchemaVerdict:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return matches(schema_of(document), parse(raw))


@pytest.mark.parametrize(
    ("document", "good", "bad"),
    [
        ({"type": "object"}, [{}], [[], None, "", 0, False]),
        ({"type": "integer"}, [1, 1.0, -3], [1.5, True, "1"]),
        ({"type": "number"}, [1, 1.5], [True, "1", None]),
        ({"type": ["boolean", "null"]}, [False, None], [0, "", {}]),
        ({"type": ["integer", "number"]}, [1.5], ["1.5"]),
        ({"enum": [1, "a", None]}, [1, 1.0, "a", None], [True, "1", False, "", 2]),
        ({"const": {"a": [1, True]}}, [{"a": [1.0, True]}], [{"a": [1, 1]}, {"a": [1]}, {}]),
        ({"const": False}, [False], [0, None, "", 0.0]),
        ({"required": ["a"]}, [{"a": None}, []], [{}, {"b": 1}]),
        ({"properties": {"a": {"type": "string"}}}, [{}, {"a": ""}, {"b": 1}], [{"a": 1}]),
        ({"properties": {"a": False}}, [{"b": 1}, "a"], [{"a": 1}]),
        (
            {"properties": {"a": {}}, "additionalProperties": {"type": "null"}},
            [{"a": 1}, {"a": 1, "b": None}, [1]],
            [{"b": 1}],
        ),
        ({"additionalProperties": False}, [{}, "a"], [{"a": 1}]),
        ({"items": {"type": "string"}}, [[], ["a"], {"0": 1}], [["a", 1]]),
        ({"minItems": 1, "maxItems": 2}, [[1], [1, 2], {}, ""], [[], [1, 2, 3]]),
        ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}, [], ""], [{}, {"a": 1, "b": 2}]),
        ({"minLength": 1, "maxLength": 1}, ["a", "\U0001f600", [], {}], ["", "ab"]),
        ({"minimum": 1, "maximum": 2}, [1, 2, "0"], [0.99, 2.01]),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 2}, [1.5, None], [1, 2, 1.0]),
        ({"pattern": "b+"}, ["abbc", 1], ["ac", ""]),
        ({"pattern": "^\\d{2}$"}, ["12"], ["123", "12\n", "\u0661\u0662"]),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1, 2], [0, 3]),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, [1, 2], [3]),
        ({"oneOf": [{"minimum": 1}, {"maximum": 2}]}, [0, 3], [1, 2]),
        (
            {"$ref": "#/$defs/a", "maximum": 5, "$defs": {"a": {"minimum": 1}}},
            [1, 5],
            [0, 6],
        ),
    ],
)
def test_each_keyword_means_what_draft_2020_12_says(
    document: object, good: list[object], bad: list[object]
) -> None:
    assert [payload for payload in good if verdict(document, payload) != "matches"] == []
    assert [payload for payload in bad if verdict(document, payload) != "differs"] == []


@pytest.mark.parametrize(
    ("keyword", "limit", "value", "is_match"),
    [
        ("maximum", "805012653154085152", "805012653154085152.0", True),
        ("exclusiveMaximum", "805012653154085152", "805012653154085152.0", False),
        ("maximum", "14671963471301223082.0", "14671963471301223082.1", False),
        ("exclusiveMinimum", "1e64", "1.00000000000000000000000000000000001e64", True),
        ("minimum", "0.10000000000000000000000000000000000001", "0.1", False),
        ("const", "1e-64", "0.1e-63", True),
        ("const", "9007199254740993", "9007199254740992", False),
        ("const", "1111111111111111111111111111111111111111", "1.1e1", False),
        ("const", "0", "-0.0", True),
        ("enum", "[0.1]", "0.1000000000000000055511151231257827", False),
    ],
)
def test_numbers_compare_exactly_where_the_fast_validator_rounds(
    keyword: str, limit: str, value: str, *, is_match: bool
) -> None:
    document = f'{{"{keyword}":{limit}}}'.encode()

    assert (verdict(document, value.encode()) is SchemaVerdict.MATCHES) is is_match


@pytest.mark.parametrize(
    ("value", "is_integer"),
    [
        ("1e64", True),
        ("100e-2", True),
        ("1e-64", False),
        ("123456789012345678901234567890123456789", True),
        ("12345678901234567890123456789012345678.5", False),
    ],
)
def test_integers_are_told_apart_at_every_length(value: str, *, is_integer: bool) -> None:
    result = verdict({"type": "integer"}, value.encode())

    assert (result is SchemaVerdict.MATCHES) is is_integer


def test_more_than_a_million_pairs_are_over_the_limit() -> None:
    document = {"enum": [0] * 1_998}
    full: list[Json] = [None] * 499
    schema = schema_of(document)

    assert schema.node_count * (len(full) + 1) == 1_000_000
    assert matches(schema, full) is SchemaVerdict.DIFFERS
    assert matches(schema, [*full, None]) is SchemaVerdict.OVER_LIMIT


def test_a_payload_deeper_than_evidence_may_be_is_over_the_limit() -> None:
    def nested(depth: int) -> Json:
        value: Json = NumberLiteral("1")
        for _ in range(depth):
            value = [value]
        return value

    schema = schema_of({})

    assert matches(schema, nested(32)) is SchemaVerdict.MATCHES
    assert matches(schema, nested(33)) is SchemaVerdict.OVER_LIMIT
    assert matches(schema, nested(100_000)) is SchemaVerdict.OVER_LIMIT


def test_patterns_may_read_only_so_much_text() -> None:
    document = {"items": {"pattern": "^a*$"}}
    # A pattern of the smallest size pays 16 for each character and for each text.
    text = "a" * (PATTERN_UNITS_MAX // 16 // 2 - 1)

    assert verdict(document, [text, text]) is SchemaVerdict.MATCHES
    assert verdict(document, [text, text, ""]) is SchemaVerdict.OVER_LIMIT


def test_a_spent_limit_is_no_verdict_also_where_a_sibling_decided() -> None:
    text = "a" * (PATTERN_UNITS_MAX // 16)
    pattern = {"pattern": "^a*$"}

    for document in ({"anyOf": [True, pattern]}, {"anyOf": [pattern, True]}, {"allOf": [pattern]}):
        assert verdict(document | {"type": "object"}, text) is SchemaVerdict.OVER_LIMIT


_NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -1.5, 2.0, 1e3])
_TEXTS = st.sampled_from(["", "a", "ab", "b1", "\u00e9", "\U0001f600", "a\n"])
_NAMES = st.sampled_from(["a", "b", "c"])
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=6,
)
_TYPES = st.sampled_from(["null", "boolean", "object", "array", "number", "integer", "string"])
_SIZES = st.integers(0, 3) | st.just(1.0)
_REFERENCES = st.sampled_from(["#/$defs/x", "#/$defs/y"])
_PATTERNS = st.sampled_from(["a", "^a$", "^[a-z]\\d?$", "^$", "\\W", ".", "\\s"])


def _keywords(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": _TYPES | st.lists(_TYPES, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(_NAMES, inner, max_size=2),
            "required": st.lists(_NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "enum": st.lists(_VALUES, min_size=1, max_size=3),
            "const": _VALUES,
            "minimum": _NUMBERS,
            "maximum": _NUMBERS,
            "exclusiveMinimum": _NUMBERS,
            "exclusiveMaximum": _NUMBERS,
            "minLength": _SIZES,
            "maxLength": _SIZES,
            "minItems": _SIZES,
            "maxItems": _SIZES,
            "minProperties": _SIZES,
            "maxProperties": _SIZES,
            "pattern": _PATTERNS,
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "title": st.just("ignored"),
        },
    )


_LEAVES: st.SearchStrategy[object] = st.one_of(
    st.booleans(),
    _TYPES.map(lambda name: {"type": name}),
    _VALUES.map(lambda value: {"const": value}),
)
_DEFINITIONS = st.fixed_dictionaries(
    {
        "x": st.recursive(_LEAVES, _keywords, max_leaves=3),
        "y": st.fixed_dictionaries({"$ref": st.just("#/$defs/x")}, optional={"maximum": _NUMBERS}),
    }
)
_SCHEMAS = st.builds(
    lambda root, definitions: {"allOf": [root], "$defs": definitions},
    st.recursive(_LEAVES | _REFERENCES.map(lambda name: {"$ref": name}), _keywords, max_leaves=6),
    _DEFINITIONS,
)


def exact(document: object) -> object:
    return json.loads(json.dumps(document), parse_float=Decimal)


@given(document=_SCHEMAS, payloads=st.lists(_VALUES, min_size=1, max_size=5))
def test_the_evaluation_agrees_with_jsonschema_rs(
    document: dict[str, object], payloads: list[object]
) -> None:
    oracle = jsonschema_rs.Draft202012Validator(
        exact(document),  # type: ignore[arg-type]
        pattern_options=jsonschema_rs.RegexOptions(),
    )

    for payload in payloads:
        expected = "matches" if oracle.is_valid(exact(payload)) else "differs"
        assert verdict(document, payload) == expected, payload


@given(document=_SCHEMAS, payload=_VALUES)
def test_the_order_of_members_changes_no_verdict(
    document: dict[str, object], payload: object
) -> None:
    reordered = json.loads(json.dumps(document, sort_keys=True))

    assert verdict(document, payload) is verdict(reordered, payload)
    assert schema_of(document).node_count == schema_of(reordered).node_count


@given(digits=st.integers(-(10**30), 10**30), exponent=st.integers(0, 30))
def test_a_number_matches_itself_in_every_spelling_and_no_neighbour(
    digits: int, exponent: int
) -> None:
    spelled, padded = f"{digits}e{exponent}", f"{digits}.00e{exponent}"
    neighbour = f"{digits + 1}e{exponent}"
    document = f'{{"const":{spelled},"minimum":{padded},"maximum":{spelled}}}'.encode()

    assert verdict(document, padded.encode()) is SchemaVerdict.MATCHES
    assert verdict(document, neighbour.encode()) is SchemaVerdict.DIFFERS
    assert verdict(b'{"type":"integer"}', padded.encode()) is SchemaVerdict.MATCHES

"""Which documents may judge evidence: the subset, its limits, and every refusal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor.domain.evidence_schema import EvidenceSchema, SchemaInvalid, check_schema_document
from harbor.domain.evidence_schema_grammar import (
    ANNOTATIONS,
    SCHEMA_BYTES_MAX,
    SCHEMA_DEPTH_MAX,
    SCHEMA_NODES_MAX,
)
from schemas.canonical.literal_json import parse


def checked(document: object) -> EvidenceSchema | SchemaInvalid:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return check_schema_document(parse(raw), document_bytes=len(raw))


def refused(document: object) -> SchemaInvalid:
    invalid = checked(document)
    assert isinstance(invalid, SchemaInvalid), invalid
    return invalid


def accepted(document: object) -> EvidenceSchema:
    schema = checked(document)
    assert isinstance(schema, EvidenceSchema), schema
    return schema


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": "object", "required": ["status"]},
        {"type": ["null", "integer"]},
        {"properties": {"a": True, "b": {"minLength": 1}}, "additionalProperties": False},
        {"items": {"enum": [1, "a", None, {"b": [1]}]}, "minItems": 1.0, "maxItems": 2},
        {"const": {"a": [1]}, "minProperties": 0, "maxProperties": 1e3, "maxLength": 5},
        {"minimum": -1.5, "maximum": 1e64, "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"pattern": "^[a-z]+$", "required": []},
        {"allOf": [{}], "anyOf": [True, False], "oneOf": [{"type": "string"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {}}, "$ref": "#/$defs/a", "type": "object"},
        {"properties": {"$ref": {"type": "string"}, "unknown": {}}},
        {"items": {"$defs": {"a": {"type": "string"}}}},
    ],
)
def test_the_subset_is_accepted(document: object) -> None:
    assert accepted(document).node_count >= 1


@pytest.mark.parametrize("name", sorted(ANNOTATIONS))
def test_annotations_are_ignored_whatever_they_hold(name: str) -> None:
    schema = accepted({name: {"minimum": "no schema", "$ref": "http://a.test/"}, "type": "object"})

    assert schema.node_count == accepted({"type": "object"}).node_count


@pytest.mark.parametrize(
    "name",
    [
        "$id",
        "$anchor",
        "$dynamicRef",
        "not",
        "if",
        "then",
        "prefixItems",
        "uniqueItems",
        "contains",
        "patternProperties",
        "propertyNames",
        "multipleOf",
        "dependentRequired",
        "definitions",
        "unevaluatedProperties",
        "additionalItems",
        "Type",
        "",
    ],
)
def test_any_other_keyword_is_refused_by_name(name: str) -> None:
    invalid = refused({"properties": {"a/b~": {name: {}}}})

    assert invalid.path == f"/properties/a~1b~0/{name}"
    assert "not in the subset" in invalid.message


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ([], "", "not an object"),
        (True, "", "not an object"),
        ({"items": []}, "/items", "an object or a boolean"),
        ({"items": None}, "/items", "an object or a boolean"),
        ({"properties": []}, "/properties", "object of schemas"),
        ({"properties": {"a": 1}}, "/properties/a", "an object or a boolean"),
        ({"additionalProperties": "no"}, "/additionalProperties", "an object or a boolean"),
        ({"type": "text"}, "/type", "a type is one of"),
        ({"type": 1}, "/type", "distinct strings"),
        ({"type": []}, "/type", "at least one type"),
        ({"type": ["string", "string"]}, "/type", "distinct strings"),
        ({"required": "a"}, "/required", "distinct strings"),
        ({"required": ["a", "a"]}, "/required", "distinct strings"),
        ({"required": [1]}, "/required", "distinct strings"),
        ({"enum": []}, "/enum", "at least one"),
        ({"enum": "a"}, "/enum", "at least one"),
        ({"minimum": "1"}, "/minimum", "minimum is a number"),
        ({"exclusiveMaximum": True}, "/exclusiveMaximum", "exclusiveMaximum is a number"),
        ({"minLength": -1}, "/minLength", "minLength is an integer"),
        ({"maxItems": 1.5}, "/maxItems", "maxItems is an integer"),
        ({"maxProperties": None}, "/maxProperties", "maxProperties is a number"),
        ({"allOf": []}, "/allOf", "at least one"),
        ({"anyOf": {}}, "/anyOf", "at least one"),
        ({"oneOf": [{}, 1]}, "/oneOf/1", "an object or a boolean"),
        ({"$defs": []}, "/$defs", "object of schemas"),
        ({"$defs": {"a": 1}}, "/$defs/a", "an object or a boolean"),
        ({"items": {"$defs": {"a": {"not": {}}}}}, "/items/$defs/a/not", "not in the subset"),
        ({"$ref": 1}, "/$ref", "starts with #/$defs/"),
        ({"$ref": "#"}, "/$ref", "starts with #/$defs/"),
        ({"$ref": "http://a.test/#/$defs/a"}, "/$ref", "starts with #/$defs/"),
        ({"$ref": "#/$defs/a"}, "/$ref", "leads nowhere"),
        ({"$ref": "#/$defs/"}, "/$ref", "without escapes"),
        ({"$ref": "#/$defs/a/items", "$defs": {"a": {"items": {}}}}, "/$ref", "without escapes"),
        ({"$ref": "#/$defs/a%20b", "$defs": {"a b": {}}}, "/$ref", "without escapes"),
        ({"$ref": "#/$defs/a~0b", "$defs": {"a~b": {}}}, "/$ref", "without escapes"),
        ({"pattern": 1}, "/pattern", "at most 256 characters"),
        ({"pattern": "a" * 257}, "/pattern", "at most 256 characters"),
        ({"pattern": "("}, "/pattern", "no regular expression"),
        ({"pattern": "(?=a)"}, "/pattern", "look-around"),
        ({"pattern": "(a)\\1"}, "/pattern", "back-references"),
        ({"pattern": "((a{100}){100}){100}"}, "/pattern", "too large"),
    ],
)
def test_a_keyword_of_another_shape_is_refused(document: object, path: str, message: str) -> None:
    invalid = refused(document)

    assert invalid.path == path
    assert message in invalid.message


@pytest.mark.parametrize(
    "definitions",
    [
        {"a": {"$ref": "#/$defs/a"}},
        {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}},
        {"a": {"properties": {"child": {"items": {"$ref": "#/$defs/a"}}}}},
    ],
)
def test_a_reference_that_leads_back_to_itself_is_refused(definitions: object) -> None:
    for document in ({"$defs": definitions}, {"$ref": "#/$defs/a", "$defs": definitions}):
        assert "leads back to itself" in refused(document).message


def test_a_document_as_long_as_the_limit_is_accepted_and_one_byte_more_is_refused() -> None:
    raw = b'{"type":"object"}'.ljust(SCHEMA_BYTES_MAX)

    accepted(raw)
    assert "longer than 16384 bytes" in refused(raw + b" ").message


def test_as_many_nodes_as_the_limit_are_accepted_and_one_more_is_refused() -> None:
    # One for the schema, one for the list.
    literals = [0] * (SCHEMA_NODES_MAX - 2)

    assert accepted({"enum": literals}).node_count == SCHEMA_NODES_MAX
    assert "more than 2000 nodes" in refused({"enum": [*literals, 0]}).message


def test_a_reference_counts_as_what_it_refers_to() -> None:
    inlined = accepted({"allOf": [{"enum": [1, 2]}, {"enum": [1, 2]}]})
    shared = accepted(
        {
            "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}],
            "$defs": {"a": {"enum": [1, 2]}},
        }
    )

    # Each of the two references is itself a keyword in a schema of its own.
    assert shared.node_count == inlined.node_count + 2 * 2


def chained(length: int, width: int) -> dict[str, object]:
    definitions: dict[str, object] = {
        f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{number + 1}"}] * width}
        for number in range(length)
    }
    return {"$ref": "#/$defs/d0", "$defs": definitions | {f"d{length}": {"type": "string"}}}


def test_29_chained_definitions_of_any_of_are_refused_without_unfolding_them() -> None:
    assert "more than 2000 nodes" in refused(chained(29, 2)).message


def test_the_longest_chain_that_fits_a_document_is_refused_without_spending_the_stack() -> None:
    document = {
        "$defs": {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(400)}
        | {"d400": {}}
    }

    assert "nested deeper than 64" in refused(document | {"$ref": "#/$defs/d0"}).message
    assert "nested deeper than 64" in refused(document).message


@pytest.mark.parametrize("is_resolved_before", [False, True])
def test_depth_counts_through_references(*, is_resolved_before: bool) -> None:
    def document(length: int) -> dict[str, object]:
        definitions: dict[str, object] = {
            f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(length)
        }
        definitions[f"d{length}"] = {"type": "string"}
        reference: dict[str, object] = {"properties": {"a": {"$ref": "#/$defs/d0"}}}
        if is_resolved_before:
            return {"$defs": definitions} | reference
        return reference | {"$defs": definitions}

    # The root, its property and d0 … d<length>.
    accepted(document(SCHEMA_DEPTH_MAX - 3))
    assert "nested deeper" in refused(document(SCHEMA_DEPTH_MAX - 2)).message


def test_many_large_patterns_are_refused_before_they_stall_the_creation() -> None:
    document = {"allOf": [{"pattern": f"^.{{1,255}}{number}$"} for number in range(30)]}

    assert "patterns compile to more than" in refused(document).message


_KEYWORDS = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "items",
        "enum",
        "allOf",
        "$ref",
        "$defs",
        "pattern",
        "minLength",
        "maximum",
        "additionalProperties",
        "a",
        "title",
    ]
)
_ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["a", "string", "#/$defs/a", "(", "^a$"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYWORDS, inner, max_size=4),
    max_leaves=12,
)


@given(document=_ANY_JSON)
def test_any_json_is_a_schema_or_a_refusal(document: object) -> None:
    assert isinstance(checked(document), EvidenceSchema | SchemaInvalid)

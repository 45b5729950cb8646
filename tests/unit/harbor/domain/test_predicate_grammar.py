"""The grammar of predicates: what is read, and that everything else is refused by name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor.domain.predicate_grammar import (
    PREDICATE_BYTES_MAX,
    PREDICATE_DEPTH_MAX,
    PREDICATE_NODES_MAX,
    AmountOperand,
    Combination,
    Comparison,
    Membership,
    Operator,
    Predicate,
    PredicateInvalid,
    parse_predicate,
)
from schemas.canonical.literal_json import parse


def parsed(document: object) -> Predicate | PredicateInvalid:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_predicate(parse(raw), document_bytes=len(raw))


def rooted(root: object) -> Predicate | PredicateInvalid:
    return parsed({"version": 1, "root": root})


def refused(root: object) -> PredicateInvalid:
    invalid = rooted(root)
    assert isinstance(invalid, PredicateInvalid)
    return invalid


def test_a_document_becomes_typed_clauses() -> None:
    predicate = rooted(
        {
            "op": "all",
            "clauses": [
                {"op": "lte", "path": ["cost"], "value_from": "amount_cents"},
                {"op": "in", "path": ["items", 0], "values": ["a", None]},
            ],
        }
    )

    assert isinstance(predicate, Predicate)
    assert predicate.node_count == 3
    assert predicate.root == Combination(
        op=Operator.ALL,
        clauses=(
            Comparison(op=Operator.LTE, path=("cost",), operand=AmountOperand()),
            Membership(op=Operator.IN, path=("items", 0), values=("a", None)),
        ),
    )


@pytest.mark.parametrize(
    "root",
    [
        {"op": "true"},
        {"op": "matches_schema"},
        {"op": "not", "clause": {"op": "true"}},
        {"op": "any", "clauses": [{"op": "true"}]},
        {"op": "exists", "path": ["a"]},
        {"op": "non_empty", "path": ["a", 0, "b"]},
        *({"op": op, "path": ["a"], "value": 1.5} for op in ("eq", "ne", "lt", "lte", "gt", "gte")),
        *({"op": "eq", "path": ["a"], "value": value} for value in (None, True, "", 0)),
        {"op": "gt", "path": ["a"], "value": "a"},
    ],
)
def test_every_operator_of_the_contract_is_read(root: object) -> None:
    assert isinstance(rooted(root), Predicate)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "not an object"),
        ({"version": 1}, "member root is missing"),
        ({"root": {"op": "true"}}, "member version is missing"),
        ({"version": 1, "root": {"op": "true"}, "else": 1}, 'member "else" is unknown'),
        ({"version": 2, "root": {"op": "true"}}, "only version is 1"),
        ({"version": "1", "root": {"op": "true"}}, "only version is 1"),
        ({"version": True, "root": {"op": "true"}}, "only version is 1"),
    ],
)
def test_a_document_of_another_shape_or_version_is_refused(document: object, message: str) -> None:
    invalid = parsed(document)

    assert isinstance(invalid, PredicateInvalid)
    assert invalid.clause == "predicate"
    assert message in invalid.message


_AT_A: dict[str, Any] = {"path": ["a"]}


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (None, "a clause is an object"),
        ([], "a clause is an object"),
        ({}, "has a member op"),
        ({"op": 1}, "has a member op"),
        ({"op": "xor"}, 'operator "xor" is unknown'),
        ({"op": "TRUE"}, 'operator "TRUE" is unknown'),
        ({"op": "true", "path": ["a"]}, 'member "path" is unknown'),
        ({"op": "matches_schema", "x": 1}, 'member "x" is unknown'),
        ({"op": "all"}, "member clauses is missing"),
        ({"op": "all", "clauses": []}, "at least one clause"),
        ({"op": "any", "clauses": {}}, "at least one clause"),
        ({"op": "any", "clauses": [{"op": "true"}], "n": 1}, 'member "n" is unknown'),
        ({"op": "not"}, "member clause is missing"),
        ({"op": "exists"}, "member path is missing"),
        ({"op": "exists", "path": []}, "at least one step"),
        ({"op": "exists", "path": "a"}, "at least one step"),
        ({"op": "exists", "path": [-1]}, "path[0]"),
        ({"op": "exists", "path": ["a", 1.0]}, "path[1]"),
        ({"op": "exists", "path": [True]}, "path[0]"),
        ({"op": "exists", "path": [None]}, "path[0]"),
        ({"op": "exists", "path": [["a"]]}, "path[0]"),
        ({"op": "exists", **_AT_A, "value": 1}, 'member "value" is unknown'),
        ({"op": "eq", **_AT_A}, "either value or value_from"),
        ({"op": "eq", **_AT_A, "value": 1, "value_from": "amount_cents"}, "either value"),
        ({"op": "eq", **_AT_A, "value": 1, "x": 1}, 'member "x" is unknown'),
        ({"op": "eq", "value": 1}, "member path is missing"),
        ({"op": "eq", **_AT_A, "value": []}, "value is a string, number"),
        ({"op": "ne", **_AT_A, "value": {}}, "value is a string, number"),
        ({"op": "eq", **_AT_A, "value_from": "deadline"}, "value_from is amount_cents"),
        ({"op": "eq", **_AT_A, "value_from": None}, "value_from is amount_cents"),
        ({"op": "lt", **_AT_A, "value": None}, "compares numbers or strings"),
        ({"op": "gte", **_AT_A, "value": True}, "compares numbers or strings"),
        ({"op": "in", **_AT_A}, "member values is missing"),
        ({"op": "in", **_AT_A, "values": []}, "at least one literal"),
        ({"op": "in", **_AT_A, "values": "ab"}, "at least one literal"),
        ({"op": "in", **_AT_A, "values": [1, [2]]}, "values[1] is a string, number"),
        ({"op": "in", **_AT_A, "values": [1], "value": 1}, 'member "value" is unknown'),
    ],
)
def test_a_clause_that_is_not_in_the_grammar_is_refused(root: object, message: str) -> None:
    invalid = refused(root)

    assert invalid.clause == "root"
    assert message in invalid.message


def test_a_refusal_names_the_clause_and_its_path() -> None:
    inner = {"op": "lt", "path": ["order", 2, "né"], "value": None}
    invalid = refused({"op": "all", "clauses": [{"op": "true"}, {"op": "not", "clause": inner}]})

    assert invalid.clause == "root.clauses[1].clause"
    assert invalid.path == '["order",2,"né"]'


def test_a_refusal_never_repeats_a_long_word_of_the_caller() -> None:
    invalid = refused({"op": "x" * 10_000})

    assert len(invalid.message) < 200


def nested(depth: int) -> object:
    clause: object = {"op": "true"}
    for _ in range(depth - 1):
        clause = {"op": "not", "clause": clause}
    return clause


def test_a_tree_as_deep_as_the_limit_is_read_and_one_deeper_is_refused() -> None:
    assert isinstance(rooted(nested(PREDICATE_DEPTH_MAX)), Predicate)
    assert "nested deeper" in refused(nested(PREDICATE_DEPTH_MAX + 1)).message


def test_as_many_clauses_as_the_limit_are_read_and_one_more_is_refused() -> None:
    inner = [{"op": "true"}] * (PREDICATE_NODES_MAX - 1)
    full = rooted({"op": "all", "clauses": inner})
    over = refused({"op": "all", "clauses": [*inner, {"op": "true"}]})

    assert isinstance(full, Predicate)
    assert full.node_count == PREDICATE_NODES_MAX
    assert over.clause == f"root.clauses[{PREDICATE_NODES_MAX - 1}]"
    assert "more than 256 clauses" in over.message


def test_a_document_as_long_as_the_limit_is_read_and_one_byte_more_is_refused() -> None:
    raw = b'{"version":1,"root":{"op":"true"}}'.ljust(PREDICATE_BYTES_MAX)

    assert isinstance(parsed(raw), Predicate)
    invalid = parsed(raw + b" ")
    assert isinstance(invalid, PredicateInvalid)
    assert "longer than 16384 bytes" in invalid.message


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["eq", "all", "not", "a", "1"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["op", "path", "value", "values", "clause", "clauses", "root"]), inner
        )
    ),
    max_leaves=12,
)


@given(root=_ANY_JSON)
def test_any_json_is_a_predicate_or_a_refusal(root: object) -> None:
    result = parsed({"version": 1, "root": root})

    assert isinstance(result, Predicate | PredicateInvalid)

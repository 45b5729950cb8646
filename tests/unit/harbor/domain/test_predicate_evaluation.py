"""The judge of evidence: three values, exact numbers, fuel and a complete trace."""

import json
from decimal import localcontext
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor.domain.evidence_schema import SchemaVerdict
from harbor.domain.predicate_evaluation import (
    FUEL_MAX,
    REPORT_BYTES_MAX,
    Reason,
    Report,
    Verdict,
    evaluate,
    report_json,
)
from harbor.domain.predicate_grammar import (
    PREDICATE_BYTES_MAX,
    PREDICATE_NODES_MAX,
    Predicate,
    parse_predicate,
)
from schemas.canonical.literal_json import parse
from tests.unit.harbor.domain.predicate_strategies import CLAUSES, PAYLOADS


def predicate_of(root: object) -> Predicate:
    # By hand, so that a float of a test keeps the spelling Python gives it and bytes stay exact.
    raw = root if isinstance(root, bytes) else json.dumps(root).encode()
    document = b'{"version":1,"root":' + raw + b"}"
    predicate = parse_predicate(parse(document), document_bytes=len(document))
    assert isinstance(predicate, Predicate), predicate
    return predicate


def judged(
    root: object,
    payload: object = None,
    *,
    schema: SchemaVerdict = SchemaVerdict.MATCHES,
    amount_minor: int = 20_000,
    fuel: int = FUEL_MAX,
) -> Report:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload or {}).encode()
    return evaluate(
        predicate_of(root),
        payload=parse(raw),
        amount_minor=amount_minor,
        matches_schema=lambda: schema,
        fuel=fuel,
    )


TRUE = {"op": "true"}
FALSE = {"op": "not", "clause": TRUE}
UNKNOWN = {"op": "eq", "path": ["missing"], "value": 1}
SPELLED: dict[Verdict, object] = {True: TRUE, False: FALSE, None: UNKNOWN}
VALUES: list[Verdict] = [True, False, None]


@pytest.mark.parametrize(("first", "second"), list(product(VALUES, VALUES)))
def test_all_and_any_follow_the_three_valued_tables(first: Verdict, second: Verdict) -> None:
    clauses = [SPELLED[first], SPELLED[second]]
    both, either = (judged({"op": op, "clauses": clauses}).passed for op in ("all", "any"))
    pair = {first, second}

    assert both == (False if False in pair else None if None in pair else True)
    assert either == (True if True in pair else None if None in pair else False)


def test_not_turns_true_and_false_and_leaves_unknown() -> None:
    passed = [judged({"op": "not", "clause": SPELLED[value]}).passed for value in VALUES]

    assert passed == [False, True, None]


def test_an_unknown_root_fails() -> None:
    report = judged(UNKNOWN)

    assert report.passed is None
    assert report.is_passed is False


@pytest.mark.parametrize(
    ("op", "value", "found", "passed"),
    [
        ("eq", b"1", b"1.0", True),
        ("eq", b"1", b"100e-2", True),
        ("eq", b"0", b"-0.0", True),
        ("eq", b"0.1", b"0.1000000000000000055511151231257827", False),
        ("ne", b"9007199254740993", b"9007199254740992", True),
        ("lt", b"1e64", b"1.00000000000000000000000000000000001e64", False),
        ("gt", b"1e64", b"1.00000000000000000000000000000000001e64", True),
        ("lt", b"1e-64", b"0.9e-64", True),
        ("lte", b"805012653154085152", b"805012653154085152.0", True),
        ("gte", b"805012653154085152", b"805012653154085152.0", True),
        ("gte", b'"b"', b'"a"', False),
        ("lt", b'"\xf0\x9f\x98\x80"', b'"\xef\xbf\xbf"', True),
        ("eq", b'"e\xcc\x81"', b'"\xc3\xa9"', False),
        ("eq", b"null", b"null", True),
        ("ne", b"true", b"false", True),
        ("eq", b"true", b"true", True),
    ],
)
def test_values_of_one_type_compare_exactly(
    op: str, value: bytes, found: bytes, *, passed: bool
) -> None:
    root = b'{"op":"%s","path":["a"],"value":%s}' % (op.encode(), value)

    assert judged(root, b'{"a":%s}' % found).passed is passed


@pytest.mark.parametrize("op", ["eq", "ne"])
@pytest.mark.parametrize(
    ("value", "found"),
    [(1, True), (0, False), (True, 1), (1, "1"), ("", None), (None, 0), ("a", ["a"]), ("a", {})],
)
def test_an_operand_of_another_type_is_unknown(op: str, value: object, found: object) -> None:
    report = judged({"op": op, "path": ["a"], "value": value}, {"a": found})

    assert report.passed is None
    assert report.trace[0].reason is Reason.TYPE_MISMATCH


@pytest.mark.parametrize("found", [None, True, 1, [1], {}])
@pytest.mark.parametrize("op", ["lt", "lte", "gt", "gte"])
def test_an_ordering_of_another_type_is_unknown(op: str, found: object) -> None:
    report = judged({"op": op, "path": ["a"], "value": "x"}, {"a": found})

    assert report.trace[0].reason is Reason.TYPE_MISMATCH


@pytest.mark.parametrize(
    ("path", "is_found"),
    [
        (["a"], True),
        (["a", 1], True),
        (["a", 2], False),
        (["a", "1"], False),
        (["b", "0"], True),
        (["b", 0], False),
        (["c"], False),
        (["a", 0, "x"], False),
    ],
)
def test_a_step_is_a_name_in_objects_and_a_position_in_arrays(
    path: list[object], *, is_found: bool
) -> None:
    payload = {"a": [1, None], "b": {"0": None}}
    exists = judged({"op": "exists", "path": path}, payload)
    equal = judged({"op": "eq", "path": path, "value": "none of them"}, payload)

    assert exists.passed is is_found
    assert (equal.trace[0].reason is Reason.PATH_MISSING) is not is_found


@pytest.mark.parametrize("op", ["eq", "ne", "lt", "in"])
def test_a_missing_path_is_unknown_and_stays_so_under_not(op: str) -> None:
    operand = {"values": [1]} if op == "in" else {"value": 1}
    report = judged({"op": "not", "clause": {"op": op, "path": ["a"], **operand}})

    assert report.passed is None
    assert report.trace[1].reason is Reason.PATH_MISSING


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        ("", False),
        ([], False),
        ({}, False),
        (None, False),
        ("a", True),
        ([None], True),
        ({"a": None}, True),
        (0, True),
        (False, True),
    ],
)
def test_non_empty_is_false_for_null_and_for_what_holds_nothing(
    found: object, *, passed: bool
) -> None:
    assert judged({"op": "non_empty", "path": ["a"]}, {"a": found}).passed is passed
    assert judged({"op": "non_empty", "path": ["b"]}, {"a": found}).passed is False


@pytest.mark.parametrize(
    ("values", "found", "passed"),
    [
        ([1, "a"], 1.0, True),
        ([1, 2], 3, False),
        ([1, "a"], "b", None),
        ([True], 1, None),
        ([None], None, True),
        ([1], [1], None),
    ],
)
def test_in_is_any_of_eq(values: list[object], found: object, passed: Verdict) -> None:
    membership = judged({"op": "in", "path": ["a"], "values": values}, {"a": found})
    equalities = [{"op": "eq", "path": ["a"], "value": value} for value in values]

    assert membership.passed is passed
    assert judged({"op": "any", "clauses": equalities}, {"a": found}).passed is passed


def test_value_from_compares_with_the_intents_amount() -> None:
    root = {"op": "lte", "path": ["cost"], "value_from": "amount_cents"}

    assert judged(root, {"cost": 20_000}, amount_minor=20_000).passed is True
    assert judged(root, b'{"cost":20000.01}', amount_minor=20_000).passed is False
    assert judged(root, {"cost": "20000"}, amount_minor=20_000).passed is None


@pytest.mark.parametrize(
    ("schema", "passed", "reason"),
    [
        (SchemaVerdict.MATCHES, True, None),
        (SchemaVerdict.DIFFERS, False, None),
        (SchemaVerdict.OVER_LIMIT, None, Reason.LIMIT),
    ],
)
def test_matches_schema_is_unknown_only_beyond_its_limits(
    schema: SchemaVerdict, passed: Verdict, reason: Reason | None
) -> None:
    report = judged({"op": "matches_schema"}, schema=schema)

    assert (report.passed, report.trace[0].reason) == (passed, reason)


def test_the_schema_is_asked_once_however_many_clauses_ask() -> None:
    asked: list[None] = []

    def matches_schema() -> SchemaVerdict:
        asked.append(None)
        return SchemaVerdict.MATCHES

    for op, count in (("matches_schema", 1), ("true", 0)):
        asked.clear()
        root = {"op": "all", "clauses": [{"op": op}] * 3}
        evaluate(predicate_of(root), payload={}, amount_minor=1, matches_schema=matches_schema)

        assert len(asked) == count


def test_the_trace_names_every_clause_in_the_documents_order() -> None:
    root = {
        "op": "any",
        "clauses": [TRUE, {"op": "not", "clause": {"op": "eq", "path": ["a", 0], "value": 1}}],
    }
    report = judged(root, {"a": ["1"]})

    assert json.loads(report_json(report)) == {
        "passed": True,
        "evaluator": "1",
        "trace": [
            {"clause": "root", "op": "any", "passed": True},
            {"clause": "root.clauses[0]", "op": "true", "passed": True},
            {"clause": "root.clauses[1]", "op": "not", "passed": None},
            {
                "clause": "root.clauses[1].clause",
                "op": "eq",
                "path": ["a", 0],
                "passed": None,
                "reason": "type_mismatch",
            },
        ],
    }


def test_spent_fuel_makes_this_and_every_later_clause_unknown() -> None:
    leaf = {"op": "eq", "path": ["a"], "value": 1}
    report = judged({"op": "all", "clauses": [leaf, leaf, TRUE]}, {"a": 1}, fuel=5)

    assert report.passed is None
    assert [(step.passed, step.reason) for step in report.trace[1:]] == [
        (True, None),
        (None, Reason.LIMIT),
        (None, Reason.LIMIT),
    ]


def test_without_fuel_the_root_itself_is_unknown() -> None:
    report = judged({"op": "not", "clause": TRUE}, fuel=0)

    assert [(step.passed, step.reason) for step in report.trace] == [(None, Reason.LIMIT)] * 2


def test_no_document_within_the_limits_spends_the_fuel() -> None:
    # Two bytes buy one unit at best: the most expensive document is one list of literals.
    head, tail = b'{"op":"in","path":["a"],"values":[', b"1]}"
    room = PREDICATE_BYTES_MAX - len(b'{"version":1,"root":}') - len(head) - len(tail)
    report = judged(head + b"1," * (room // 2) + tail, {"a": 2})

    assert report.passed is False


def test_the_largest_report_stays_below_its_bound() -> None:
    # Names of clauses are longest at the end of the deepest chain; paths repeat the document.
    leaf = b'{"op":"exists","path":["\\u0001"]}'
    chain_head = b'{"op":"all","clauses":[' * 14
    leaves = b",".join([leaf] * (PREDICATE_NODES_MAX - 14))
    report = judged(chain_head + leaves + b"]}" * 14)

    assert len(report.trace) == PREDICATE_NODES_MAX
    assert len(report_json(report)) <= REPORT_BYTES_MAX


def test_a_callers_decimal_context_changes_no_verdict() -> None:
    root = b'{"op":"eq","path":["a"],"value":1.0000000001}'
    with localcontext() as context:
        context.prec = 3
        report = judged(root, b'{"a":1.0000000002}')

    assert report.passed is False


@given(root=CLAUSES, payload=PAYLOADS, schema=st.sampled_from(SchemaVerdict))
def test_evaluation_never_raises_and_traces_every_clause(
    root: object, payload: object, schema: SchemaVerdict
) -> None:
    report = judged(root, payload, schema=schema)

    assert len(report.trace) == predicate_of(root).node_count
    assert len({step.clause for step in report.trace}) == len(report.trace)
    assert report.trace[0].passed is report.passed
    assert len(report_json(report)) <= REPORT_BYTES_MAX


@given(root=CLAUSES, payload=PAYLOADS)
def test_a_double_negation_is_the_clause_itself(root: object, payload: object) -> None:
    twice = {"op": "not", "clause": {"op": "not", "clause": root}}

    assert judged(twice, payload).passed is judged(root, payload).passed


@given(first=CLAUSES, second=CLAUSES, payload=PAYLOADS)
def test_de_morgan_holds_under_three_values(first: object, second: object, payload: object) -> None:
    clauses = [first, second]
    negated_clauses = [{"op": "not", "clause": clause} for clause in clauses]

    for one, other in (("all", "any"), ("any", "all")):
        left = judged({"op": "not", "clause": {"op": one, "clauses": clauses}}, payload)
        right = judged({"op": other, "clauses": negated_clauses}, payload)

        assert left.passed is right.passed


@given(root=CLAUSES, payload=PAYLOADS, fuel=st.integers(0, 40))
def test_less_fuel_only_makes_verdicts_unknown(root: object, payload: object, fuel: int) -> None:
    full = judged(root, payload)
    starved = judged(root, payload, fuel=fuel)

    assert all(
        less.passed is None or less.passed is more.passed
        for less, more in zip(starved.trace, full.trace, strict=True)
    )


@given(digits=st.integers(-(10**28), 10**28), shift=st.integers(0, 30))
def test_a_number_equals_itself_in_every_spelling(digits: int, shift: int) -> None:
    plain = f"{digits}"
    shifted = f"{digits}e{shift}"
    padded = f"{digits}.{'0' * (shift % 5 + 1)}e+{shift}"

    for spelling in (shifted, padded):
        root = f'{{"op":"eq","path":["a"],"value":{shifted}}}'.encode()
        report = judged(root, f'{{"a":{spelling}}}'.encode())
        nearly = judged(root, f'{{"a":{digits + 1}e{shift}}}'.encode())

        assert report.passed is True
        assert nearly.passed is False
    assert judged(
        f'{{"op":"eq","path":["a"],"value":{plain}e0}}'.encode(), f'{{"a":{plain}}}'.encode()
    ).passed

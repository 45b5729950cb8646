"""What a predicate may say: the document of an intent becomes typed clauses, or is refused.

Unknown members, operators and versions are refused instead of ignored, because a rule that is
skipped may release money. Grammar: gateway.md §3; the limits keep one
document from stalling the loop.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

from schemas.canonical.literal_json import Json, NumberLiteral, canonical

# One document must not stall the loop that every tenant of a partition waits for.
PREDICATE_BYTES_MAX: Final = 16 * 1024
PREDICATE_DEPTH_MAX: Final = 16
PREDICATE_NODES_MAX: Final = 256
PREDICATE_VERSION: Final = 1

Scalar: TypeAlias = bool | str | Decimal | None
"""What a clause compares with. A number is exact; `bool` is not one."""

Path: TypeAlias = tuple[str | int, ...]
"""Members (str) and array positions (int ≥ 0) from the payload's root."""


class Operator(StrEnum):
    """Every operator of version 1, as spelled on the wire."""

    TRUE = "true"
    ALL = "all"
    ANY = "any"
    NOT = "not"
    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    EXISTS = "exists"
    NON_EMPTY = "non_empty"
    MATCHES_SCHEMA = "matches_schema"


ORDERINGS: Final = frozenset({Operator.LT, Operator.LTE, Operator.GT, Operator.GTE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """`{"op":"true"}`."""

    op: Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """`all` or `any` of at least one clause."""

    op: Operator
    clauses: "tuple[Clause, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Negation:
    """`not` of one clause."""

    op: Operator
    clause: "Clause"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteralOperand:
    """`"value"`: what the document itself says."""

    value: Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountOperand:
    """`"value_from":"amount_cents"`: the intent's amount in minor units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One value of the payload against one operand."""

    op: Operator
    path: Path
    operand: LiteralOperand | AmountOperand


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """One value of the payload against a list of literals."""

    op: Operator
    path: Path
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """`exists` or `non_empty`."""

    op: Operator
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaMatch:
    """The intent's evidence schema over the whole payload."""

    op: Operator


Clause: TypeAlias = (
    Constant | Combination | Negation | Comparison | Membership | Presence | SchemaMatch
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """A document within the limits; `node_count` clauses stand in the tree."""

    root: Clause
    node_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredicateInvalid:
    """Why a document is refused with 400 `intent.predicate.invalid`.

    `clause` is spelled as in a report's trace (`root.clauses[0]`; `predicate` for the document
    around the root), `path` is that clause's own path as compact JSON where it could be read.
    """

    clause: str
    path: str | None
    message: str


def parse_predicate(document: Json, *, document_bytes: int) -> Predicate | PredicateInvalid:
    """Check a parsed document; `document_bytes` is its length as it was received."""
    try:
        return _predicate(document, document_bytes)
    except _RefusedError as refused:
        return refused.invalid


class _RefusedError(Exception):
    """Carries the refusal out of the recursion; never leaves this module."""

    def __init__(self, clause: str, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        text = None if path is None else path_json(path)
        self.invalid = PredicateInvalid(clause=clause, path=text, message=message)


def path_json(path: Path) -> str:
    """The path as compact JSON, the way it stood in the document."""
    return canonical(path_value(path)).decode()


def path_value(path: Path) -> Json:
    return [step if isinstance(step, str) else NumberLiteral(str(step)) for step in path]


_DOCUMENT = "predicate"


def _predicate(document: Json, document_bytes: int) -> Predicate:
    if document_bytes > PREDICATE_BYTES_MAX:
        raise _RefusedError(_DOCUMENT, f"the document is longer than {PREDICATE_BYTES_MAX} bytes")
    if not isinstance(document, dict):
        raise _RefusedError(_DOCUMENT, "the document is not an object")
    _require_members(document, {"version", "root"}, clause=_DOCUMENT)
    version = document["version"]
    if not isinstance(version, NumberLiteral) or version.value != PREDICATE_VERSION:
        raise _RefusedError(_DOCUMENT, f"the only version is {PREDICATE_VERSION}")
    reader = _ClauseReader()
    root = reader.read(document["root"], clause="root", depth=1)
    return Predicate(root=root, node_count=reader.node_count)


class _ClauseReader:
    """Reads clauses and counts them, so that the tree's size is known before it is finished."""

    def __init__(self) -> None:
        self.node_count = 0

    def read(self, document: Json, *, clause: str, depth: int) -> Clause:
        if depth > PREDICATE_DEPTH_MAX:
            raise _RefusedError(clause, f"clauses are nested deeper than {PREDICATE_DEPTH_MAX}")
        self.node_count += 1
        if self.node_count > PREDICATE_NODES_MAX:
            raise _RefusedError(clause, f"there are more than {PREDICATE_NODES_MAX} clauses")
        if not isinstance(document, dict):
            raise _RefusedError(clause, "a clause is an object")
        op = _operator(document, clause)
        match op:
            case Operator.TRUE:
                _require_members(document, {"op"}, clause=clause)
                return Constant(op=op)
            case Operator.MATCHES_SCHEMA:
                _require_members(document, {"op"}, clause=clause)
                return SchemaMatch(op=op)
            case Operator.ALL | Operator.ANY:
                return self._combination(document, op=op, clause=clause, depth=depth)
            case Operator.NOT:
                _require_members(document, {"op", "clause"}, clause=clause)
                inner = self.read(document["clause"], clause=f"{clause}.clause", depth=depth + 1)
                return Negation(op=op, clause=inner)
            case Operator.EXISTS | Operator.NON_EMPTY:
                _require_members(document, {"op", "path"}, clause=clause)
                return Presence(op=op, path=_path(document, clause))
            case Operator.IN:
                return _membership(document, clause)
            case (
                Operator.EQ | Operator.NE | Operator.LT | Operator.LTE | Operator.GT | Operator.GTE
            ):
                return _comparison(document, op=op, clause=clause)
            case _:
                assert_never(op)

    def _combination(
        self, document: dict[str, Json], *, op: Operator, clause: str, depth: int
    ) -> Combination:
        _require_members(document, {"op", "clauses"}, clause=clause)
        clauses = document["clauses"]
        # `all` of nothing would be true: money must not move because a list came out empty.
        if not isinstance(clauses, list) or not clauses:
            raise _RefusedError(clause, "clauses is an array of at least one clause")
        return Combination(
            op=op,
            clauses=tuple(
                self.read(inner, clause=f"{clause}.clauses[{index}]", depth=depth + 1)
                for index, inner in enumerate(clauses)
            ),
        )


def _operator(document: dict[str, Json], clause: str) -> Operator:
    name = document.get("op")
    if not isinstance(name, str):
        raise _RefusedError(clause, "a clause has a member op, a string")
    try:
        return Operator(name)
    except ValueError:
        raise _RefusedError(clause, f"the operator {_quoted(name)} is unknown") from None


def _membership(document: dict[str, Json], clause: str) -> Membership:
    _require_members(document, {"op", "path", "values"}, clause=clause)
    path = _path(document, clause)
    values = document["values"]
    if not isinstance(values, list) or not values:
        raise _RefusedError(clause, "values is an array of at least one literal", path)
    return Membership(
        op=Operator.IN,
        path=path,
        values=tuple(
            _scalar(value, member=f"values[{index}]", clause=clause, path=path)
            for index, value in enumerate(values)
        ),
    )


def _comparison(document: dict[str, Json], *, op: Operator, clause: str) -> Comparison:
    if ("value" in document) == ("value_from" in document):
        raise _RefusedError(clause, f"{op} has either value or value_from")
    source = "value" if "value" in document else "value_from"
    _require_members(document, {"op", "path", source}, clause=clause)
    path = _path(document, clause)
    if source == "value_from":
        if document["value_from"] != "amount_cents":
            raise _RefusedError(clause, "value_from is amount_cents", path)
        return Comparison(op=op, path=path, operand=AmountOperand())
    value = _scalar(document["value"], member="value", clause=clause, path=path)
    if op in ORDERINGS and (value is None or isinstance(value, bool)):
        raise _RefusedError(clause, f"{op} compares numbers or strings", path)
    return Comparison(op=op, path=path, operand=LiteralOperand(value=value))


def _scalar(value: Json, *, member: str, clause: str, path: Path) -> Scalar:
    match value:
        case NumberLiteral():
            return value.value
        case list() | dict():
            raise _RefusedError(clause, f"{member} is a string, number, boolean or null", path)
        case _:
            return value


def _path(document: dict[str, Json], clause: str) -> Path:
    steps = document["path"]
    if not isinstance(steps, list) or not steps:
        raise _RefusedError(clause, "path is an array of at least one step")
    return tuple(_step(step, index=index, clause=clause) for index, step in enumerate(steps))


def _step(step: Json, *, index: int, clause: str) -> str | int:
    match step:
        case str():
            return step
        # Only plain digits: `1e60` would make four bytes of document sixty of report.
        case NumberLiteral() if step.text.isdigit():
            return int(step.text)
        case _:
            raise _RefusedError(clause, f"path[{index}] is a member's name or an integer ≥ 0")


def _require_members(document: dict[str, Json], expected: Iterable[str], *, clause: str) -> None:
    names = set(expected)
    unknown = sorted(document.keys() - names)
    if unknown:
        raise _RefusedError(clause, f"the member {_quoted(unknown[0])} is unknown here")
    missing = sorted(names - document.keys())
    if missing:
        raise _RefusedError(clause, f"the member {missing[0]} is missing")


_QUOTED_LENGTH_MAX = 64


def _quoted(text: str) -> str:
    """The caller's own word, cut: a refusal is stored and must not be as long as the document."""
    return canonical(text[:_QUOTED_LENGTH_MAX]).decode()

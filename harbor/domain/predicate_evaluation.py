"""Whether evidence fulfils a predicate: true, false or unknown, with a trace of every clause.

Unknown is what keeps `not` from failing open: a path that is missing, a value of another type or a
spent limit is neither true nor false, and an unknown root fails. Source: gateway.md §3.

No clause is skipped, also where a sibling already decided: so the trace has one step per clause, in
the document's order, and its length and cost depend on the document alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

from harbor.domain.evidence_schema import SchemaVerdict
from harbor.domain.predicate_grammar import (
    AmountOperand,
    Clause,
    Combination,
    Comparison,
    Constant,
    LiteralOperand,
    Membership,
    Negation,
    Operator,
    Path,
    Predicate,
    Presence,
    Scalar,
    SchemaMatch,
    path_value,
)
from schemas.canonical.literal_json import Json, NumberLiteral, canonical

EVALUATOR: Final = "1"
"""Names these rules in the ledger; another verdict on any document needs another number."""

# One unit for each clause, step of a path and literal compared. A document of 16 KiB can't spend it
# (two bytes buy one unit at best): it is the second wall, and holds if the first is ever moved.
FUEL_MAX: Final = 10_000

# 256 steps of at most 199 bytes of clause and 110 of the rest, and the paths, whose bytes all stood
# in the 16 KiB of the document.
REPORT_BYTES_MAX: Final = 96 * 1024

Verdict: TypeAlias = bool | None
"""True, false, or None for unknown."""


class Reason(StrEnum):
    """Why a clause by itself is unknown; a combination is unknown only through its clauses."""

    PATH_MISSING = "path_missing"
    TYPE_MISMATCH = "type_mismatch"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStep:
    """One clause, named by its place in the document: `root.clauses[0]`, `root.clause`."""

    clause: str
    op: Operator
    path: Path | None
    passed: Verdict
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What stands in `predicate_evaluated`; replay reads it and never evaluates again."""

    passed: Verdict
    evaluator: str
    trace: tuple[TraceStep, ...]

    @property
    def is_passed(self) -> bool:
        """The wire's `predicate_passed`: an unknown root fails."""
        return self.passed is True


def evaluate(
    predicate: Predicate,
    *,
    payload: Json,
    amount_minor: int,
    matches_schema: Callable[[], SchemaVerdict],
    fuel: int = FUEL_MAX,
) -> Report:
    """Judge one payload. `matches_schema` is called at most once, and only if a clause asks."""
    evaluation = _Evaluation(
        payload=payload, amount=Decimal(amount_minor), matches_schema=matches_schema, fuel=fuel
    )
    trace = evaluation.judge(predicate.root, "root")
    return Report(passed=trace[0].passed, evaluator=EVALUATOR, trace=tuple(trace))


def report_json(report: Report) -> bytes:
    """The report as canonical JSON, at most REPORT_BYTES_MAX bytes."""
    encoded = canonical(report_value(report))
    assert len(encoded) <= REPORT_BYTES_MAX, "the grammar's limits bound the report"
    return encoded


def report_value(report: Report) -> Json:
    """The report as the wire shows it (gateway.md §3)."""
    return {
        "passed": report.passed,
        "evaluator": report.evaluator,
        "trace": [_step_value(step) for step in report.trace],
    }


def _step_value(step: TraceStep) -> Json:
    members: dict[str, Json] = {
        "clause": step.clause,
        "op": step.op.value,
        "passed": step.passed,
    }
    if step.path is not None:
        members["path"] = path_value(step.path)
    if step.reason is not None:
        members["reason"] = step.reason.value
    return members


class _Absent:
    """A path that leads nowhere; a class, because None is a JSON value."""


_ABSENT = _Absent()
_Found: TypeAlias = "Json | _Absent"


@dataclass(slots=True, kw_only=True)
class _Evaluation:
    payload: Json
    amount: Decimal
    matches_schema: Callable[[], SchemaVerdict]
    fuel: int
    schema_verdict: SchemaVerdict | None = None

    def judge(self, clause: Clause, name: str) -> list[TraceStep]:
        """The step of `clause`, followed by those of the clauses inside it."""
        inner: list[TraceStep] = []
        outcome: Verdict | Reason
        match clause:
            case Combination():
                outcome, inner = self._combination(clause, name)
            case Negation():
                outcome, inner = self._negation(clause, name)
            case _:
                outcome = self._leaf(clause)
        step = TraceStep(
            clause=name,
            op=clause.op,
            path=clause.path if isinstance(clause, Comparison | Membership | Presence) else None,
            passed=None if isinstance(outcome, Reason) else outcome,
            reason=outcome if isinstance(outcome, Reason) else None,
        )
        return [step, *inner]

    def _combination(
        self, clause: Combination, name: str
    ) -> tuple[Verdict | Reason, list[TraceStep]]:
        is_affordable = self._spend(1)
        traces = [
            self.judge(inner, f"{name}.clauses[{index}]")
            for index, inner in enumerate(clause.clauses)
        ]
        steps = [step for trace in traces for step in trace]
        if not is_affordable:
            return Reason.LIMIT, steps
        verdicts = [trace[0].passed for trace in traces]
        return (all_of(verdicts) if clause.op is Operator.ALL else any_of(verdicts)), steps

    def _negation(self, clause: Negation, name: str) -> tuple[Verdict | Reason, list[TraceStep]]:
        is_affordable = self._spend(1)
        steps = self.judge(clause.clause, f"{name}.clause")
        return (negated(steps[0].passed) if is_affordable else Reason.LIMIT), steps

    def _leaf(
        self, clause: Constant | Comparison | Membership | Presence | SchemaMatch
    ) -> Verdict | Reason:
        if not self._spend(_leaf_cost(clause)):
            return Reason.LIMIT
        match clause:
            case Constant():
                return True
            case SchemaMatch():
                return self._schema_match()
            case Presence():
                found = _look_up(self.payload, clause.path)
                return _is_present(found, clause.op)
            case Comparison():
                found = _look_up(self.payload, clause.path)
                if isinstance(found, _Absent):
                    return Reason.PATH_MISSING
                return _compared(clause.op, found, self._operand(clause.operand))
            case Membership():
                found = _look_up(self.payload, clause.path)
                if isinstance(found, _Absent):
                    return Reason.PATH_MISSING
                return _is_member(found, clause.values)
            case _:
                assert_never(clause)

    def _schema_match(self) -> Verdict | Reason:
        if self.schema_verdict is None:
            self.schema_verdict = self.matches_schema()
        match self.schema_verdict:
            case SchemaVerdict.MATCHES:
                return True
            case SchemaVerdict.DIFFERS:
                return False
            case SchemaVerdict.OVER_LIMIT:
                return Reason.LIMIT
            case _:
                assert_never(self.schema_verdict)

    def _operand(self, operand: LiteralOperand | AmountOperand) -> Scalar:
        return self.amount if isinstance(operand, AmountOperand) else operand.value

    def _spend(self, units: int) -> bool:
        """Once refused, always refused: what comes later in the document is unknown too."""
        if units > self.fuel:
            self.fuel = 0
            return False
        self.fuel -= units
        return True


def all_of(verdicts: list[Verdict]) -> Verdict:
    """False if one is false, else unknown if one is."""
    if False in verdicts:
        return False
    return None if None in verdicts else True


def any_of(verdicts: list[Verdict]) -> Verdict:
    """True if one is true, else unknown if one is."""
    if True in verdicts:
        return True
    return None if None in verdicts else False


def negated(verdict: Verdict) -> Verdict:
    return None if verdict is None else not verdict


def _leaf_cost(clause: Constant | Comparison | Membership | Presence | SchemaMatch) -> int:
    match clause:
        case Comparison():
            return 2 + len(clause.path)
        case Membership():
            return 1 + len(clause.path) + len(clause.values)
        case Presence():
            return 1 + len(clause.path)
        case Constant() | SchemaMatch():
            return 1
        case _:
            assert_never(clause)


def _look_up(payload: Json, path: Path) -> _Found:
    value = payload
    for step in path:
        match value:
            case dict() if isinstance(step, str) and step in value:
                value = value[step]
            case list() if isinstance(step, int) and step < len(value):
                value = value[step]
            case _:
                return _ABSENT
    return value


def _is_present(found: _Found, op: Operator) -> bool:
    if isinstance(found, _Absent):
        return False
    if op is Operator.EXISTS:
        return True
    match found:
        case None:
            return False
        case str() | list() | dict():
            return bool(found)
        # A number or a boolean, also 0 or false, is something that was filled in.
        case _:
            return True


def _compared(op: Operator, found: Json, operand: Scalar) -> bool | Reason:
    value = found.value if isinstance(found, NumberLiteral) else found
    if isinstance(value, list | dict) or type(value) is not type(operand):
        return Reason.TYPE_MISMATCH
    if op is Operator.EQ:
        return value == operand
    if op is Operator.NE:
        return value != operand
    # Python compares Decimals exactly, whatever the context's precision, and strings by code point.
    if isinstance(value, Decimal) and isinstance(operand, Decimal):
        return _is_ordered(op, (value > operand) - (value < operand))
    assert isinstance(value, str)
    assert isinstance(operand, str)
    return _is_ordered(op, (value > operand) - (value < operand))


def _is_ordered(op: Operator, sign: int) -> bool:
    """`sign` of value − operand."""
    match op:
        case Operator.LT:
            return sign < 0
        case Operator.LTE:
            return sign <= 0
        case Operator.GT:
            return sign > 0
        case _:
            assert op is Operator.GTE
            return sign >= 0


def _is_member(found: Json, values: tuple[Scalar, ...]) -> Verdict | Reason:
    """`in` is `any` of `eq`, so a literal of another type makes "not among them" unknown."""
    compared = [_compared(Operator.EQ, found, value) for value in values]
    if True in compared:
        return True
    return Reason.TYPE_MISMATCH if Reason.TYPE_MISMATCH in compared else False

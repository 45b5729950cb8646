"""Whether evidence matches the intent's schema: yes, no, or beyond the limits.

The limits exist because one document would otherwise stall every tenant of a partition: 29 chained
`$defs` of `anyOf` take seconds in a fast validator (measured). Source: gateway.md §3.
"""

from enum import StrEnum
from typing import Final

from harbor.domain.evidence_schema_grammar import (
    EvidenceSchema,
    SchemaInvalid,
    check_schema_document,
)
from harbor.domain.evidence_schema_keywords import PatternMeter, plain
from schemas.canonical.literal_json import Json

__all__ = ["EvidenceSchema", "SchemaInvalid", "SchemaVerdict", "check_schema_document", "matches"]

# Schema nodes × payload nodes: each pair is looked at once at most.
PAIRS_MAX: Final = 1_000_000
PAYLOAD_DEPTH_MAX: Final = 32
# Characters × KiB of pattern: at 80 ns each (harbor.domain.linear_pattern) a third of a second.
# An ordinary pattern may read 260,000 characters, one of the largest 2,000.
PATTERN_UNITS_MAX: Final = 4 * 1024 * 1024


class SchemaVerdict(StrEnum):
    MATCHES = "matches"
    DIFFERS = "differs"
    OVER_LIMIT = "over_limit"


def matches(schema: EvidenceSchema, payload: Json) -> SchemaVerdict:
    """Judge a payload; OVER_LIMIT is the unknown with reason `limit`, and never raises."""
    payload_nodes_max = PAIRS_MAX // schema.node_count
    if not _is_within(payload, nodes_max=payload_nodes_max):
        return SchemaVerdict.OVER_LIMIT
    meter = PatternMeter(units_left=PATTERN_UNITS_MAX)
    is_match = schema.root.holds(plain(payload), meter)
    if meter.is_spent:
        return SchemaVerdict.OVER_LIMIT
    return SchemaVerdict.MATCHES if is_match else SchemaVerdict.DIFFERS


def _is_within(payload: Json, *, nodes_max: int) -> bool:
    """Whether a payload is small and flat enough, found out level by level."""
    level: list[Json] = [payload]
    nodes = 0
    depth = 0
    while level:
        nodes += len(level)
        if nodes > nodes_max or depth > PAYLOAD_DEPTH_MAX:
            return False
        level = [child for value in level for child in _children(value)]
        depth += 1
    return True


def _children(value: Json) -> list[Json]:
    match value:
        case list():
            return value
        case dict():
            return list(value.values())
        case _:
            return []

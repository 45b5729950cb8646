"""An intent's predicate and evidence schema, parsed once for all intents that have the same.

Whoever integrates writes them once and sends them with every intent; Harbor needs them at its creation and at its
evidence. Kept by their bytes alone, without a tenant: the answer depends on nothing else. What is kept is bounded, 128
documents of 16 KiB, and no schema whose patterns are large: those have a bound of their own (`linear_pattern`).
"""

from functools import lru_cache
from typing import Final

from harbor.domain.evidence_schema import EvidenceSchema, SchemaInvalid, check_schema_document
from harbor.domain.evidence_schema_grammar import SCHEMA_BYTES_MAX
from harbor.domain.predicate_grammar import (
    PREDICATE_BYTES_MAX,
    Predicate,
    PredicateInvalid,
    parse_predicate,
)
from schemas.canonical.literal_json import parse

_KEPT_MAX: Final = 128
_KEPT_PATTERN_KIBIBYTES_MAX: Final = 64


def predicate_of(raw: bytes) -> Predicate | PredicateInvalid:
    """Raises JsonInvalidError, JsonAmbiguousError."""
    return _parsed_predicate(raw) if len(raw) > PREDICATE_BYTES_MAX else _kept_predicate(raw)


def schema_of(raw: bytes) -> EvidenceSchema | SchemaInvalid:
    """Raises JsonInvalidError, JsonAmbiguousError."""
    if len(raw) > SCHEMA_BYTES_MAX:
        return _parsed_schema(raw)
    try:
        return _kept_schema(raw)
    except _TooLargeError as large:
        return large.schema


def _parsed_predicate(raw: bytes) -> Predicate | PredicateInvalid:
    return parse_predicate(parse(raw), document_bytes=len(raw))


def _parsed_schema(raw: bytes) -> EvidenceSchema | SchemaInvalid:
    return check_schema_document(parse(raw), document_bytes=len(raw))


_kept_predicate = lru_cache(maxsize=_KEPT_MAX)(_parsed_predicate)


class _TooLargeError(Exception):
    """Carries a schema past the cache, which keeps no exceptions; never leaves this module.

    So it is parsed once for each look: its patterns may take 0.2 s to compile.
    """

    def __init__(self, schema: EvidenceSchema) -> None:
        super().__init__()
        self.schema = schema


@lru_cache(maxsize=_KEPT_MAX)
def _kept_schema(raw: bytes) -> EvidenceSchema | SchemaInvalid:
    """Raises _TooLargeError for one that is too large to keep."""
    schema = _parsed_schema(raw)
    if isinstance(schema, EvidenceSchema) and (
        schema.pattern_kibibytes > _KEPT_PATTERN_KIBIBYTES_MAX
    ):
        raise _TooLargeError(schema)
    return schema

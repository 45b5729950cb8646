"""The same document is parsed once; what is large is not kept, and what is wrong stays wrong."""

import json
from unittest.mock import Mock

import pytest

from harbor.domain import parsed_documents
from harbor.domain.evidence_schema import EvidenceSchema, SchemaInvalid, check_schema_document
from harbor.domain.parsed_documents import predicate_of, schema_of
from harbor.domain.predicate_grammar import Predicate, PredicateInvalid
from schemas.errors import InputError

_PREDICATE = b'{"version":1,"root":{"op":"matches_schema"}}'
_SMALL = b'{"type":"object","properties":{"url":{"type":"string","pattern":"^https:"}}}'
# Measured with jsonschema-rs: its program takes 512 KiB.
_LARGE = b'{"type":"string","pattern":"^.{1,255}$"}'


def test_the_same_bytes_are_parsed_once() -> None:
    assert isinstance(predicate_of(_PREDICATE), Predicate)
    assert predicate_of(_PREDICATE) is predicate_of(bytes(bytearray(_PREDICATE)))
    assert isinstance(schema_of(_SMALL), EvidenceSchema)
    assert schema_of(_SMALL) is schema_of(bytes(bytearray(_SMALL)))


def test_a_schema_with_large_patterns_is_not_kept() -> None:
    first, second = schema_of(_LARGE), schema_of(_LARGE)

    assert isinstance(first, EvidenceSchema)
    assert isinstance(second, EvidenceSchema)
    assert first.pattern_kibibytes > 64
    assert first is not second


def test_a_schema_that_is_not_kept_is_parsed_once_for_each_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = Mock(side_effect=check_schema_document)
    monkeypatch.setattr(parsed_documents, "check_schema_document", check)

    # Bytes of its own: nothing that another test left behind answers for them.
    for looks in (1, 2):
        schema_of(_LARGE + b" ")
        assert check.call_count == looks


def test_a_document_that_is_too_long_is_refused_and_not_kept() -> None:
    long = json.dumps({"title": "x" * 20_000}).encode()

    for read, refused in ((predicate_of, PredicateInvalid), (schema_of, SchemaInvalid)):
        first, second = read(long), read(long)
        assert isinstance(first, refused)
        assert first == second
        assert first is not second


@pytest.mark.parametrize("read", [predicate_of, schema_of])
@pytest.mark.parametrize("raw", [b"{", b'{"a":1,"a":2}', b"\xff"])
def test_what_is_no_json_is_refused_each_time(read: object, raw: bytes) -> None:
    assert callable(read)
    for _ in range(2):
        with pytest.raises(InputError):
            read(raw)

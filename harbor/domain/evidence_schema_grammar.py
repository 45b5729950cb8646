"""Which JSON Schemas may judge evidence: our own walk over the subset, with its limits.

A keyword we don't know is refused, never skipped: a skipped demand would release money. References
are resolved once and shared, so that a document that unfolds to 2^29 schemas is refused at the
speed of its 16 KiB. Subset and limits: gateway.md §3.
"""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from harbor.domain.evidence_schema_keywords import (
    AdditionalProperties,
    Assertion,
    Bound,
    Branches,
    Enumeration,
    Items,
    JsonType,
    Metered,
    Pattern,
    Plain,
    Properties,
    Quantifier,
    Required,
    SchemaNode,
    Size,
    Type,
    is_integer,
    plain,
)
from harbor.domain.linear_pattern import PATTERN_LENGTH_MAX, compile_pattern
from schemas.canonical.literal_json import Json, NumberLiteral

SCHEMA_BYTES_MAX: Final = 16 * 1024
SCHEMA_NODES_MAX: Final = 2_000
# References chained through a document of 16 KiB would nest 600 schemas and spend Python's stack.
SCHEMA_DEPTH_MAX: Final = 64
# Compiling is paid at creation and again at evidence: 8 MiB of programs take at most 0.2 s.
PATTERN_KIBIBYTES_MAX: Final = 8 * 1024

# What JSON Schema 2020-12 calls annotations; `format` is one there. The dialect that `$schema`
# names is ignored too: in this subset they differ only in what is refused here.
ANNOTATIONS: Final = frozenset(
    {
        "$comment",
        "$schema",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "default",
        "deprecated",
        "description",
        "examples",
        "format",
        "readOnly",
        "title",
        "writeOnly",
    }
)
_REFERENCE_PREFIX: Final = "#/$defs/"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSchema:
    """A document within the subset; `node_count` with references inlined, `pattern_kibibytes` of compiled programs."""

    root: SchemaNode
    node_count: int
    pattern_kibibytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaInvalid:
    """Why a document is refused with 400 `evidence_schema_invalid`; `path` is a JSON Pointer."""

    path: str
    message: str


def check_schema_document(document: Json, *, document_bytes: int) -> EvidenceSchema | SchemaInvalid:
    """Check a parsed document; `document_bytes` is its length as it was received."""
    if document_bytes > SCHEMA_BYTES_MAX:
        return SchemaInvalid(
            path="", message=f"the document is longer than {SCHEMA_BYTES_MAX} bytes"
        )
    if not isinstance(document, dict):
        return SchemaInvalid(path="", message="the document is not an object")
    reader = _SchemaReader(document)
    try:
        root = reader.read_document()
    except _RefusedError as refused:
        return refused.invalid
    return EvidenceSchema(
        root=root, node_count=root.cost, pattern_kibibytes=reader.pattern_kibibytes
    )


class _RefusedError(Exception):
    """Carries the refusal out of the recursion; never leaves this module."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.invalid = SchemaInvalid(path=path, message=message)


@dataclass(slots=True, kw_only=True)
class _Parts:
    """A schema while its keywords are read."""

    assertions: list[Assertion]
    metered: list[Metered]
    cost: int = 1
    depth: int = 0

    def add_schema(self, schema: SchemaNode) -> SchemaNode:
        self.cost += schema.cost
        self.depth = max(self.depth, schema.depth)
        return schema


class _SchemaReader:
    def __init__(self, document: dict[str, Json]) -> None:
        self._document = document
        definitions = document.get("$defs", {})
        self._definitions = definitions if isinstance(definitions, dict) else {}
        self._resolved: dict[str, SchemaNode] = {}
        self._being_resolved: set[str] = set()
        self.pattern_kibibytes = 0

    def read_document(self) -> SchemaNode:
        return self._schema(self._document, path="", depth=1)

    def _schema(self, document: Json, *, path: str, depth: int) -> SchemaNode:
        if depth > SCHEMA_DEPTH_MAX:
            raise _RefusedError(path, f"schemas are nested deeper than {SCHEMA_DEPTH_MAX}")
        parts = _Parts(assertions=[], metered=[])
        match document:
            case True:
                pass
            case False:
                parts.assertions.append(Type(allowed=frozenset()))
            case dict():
                for name, value in document.items():
                    self._keyword(parts, document, name, _At(path, name, value, depth))
            case _:
                raise _RefusedError(path, "a schema is an object or a boolean")
        if parts.cost > SCHEMA_NODES_MAX:
            raise _RefusedError(
                path, f"there are more than {SCHEMA_NODES_MAX} nodes with references inlined"
            )
        return SchemaNode(
            assertions=tuple(parts.assertions),
            metered=tuple(parts.metered),
            cost=parts.cost,
            depth=1 + parts.depth,
        )

    def _keyword(self, parts: _Parts, document: dict[str, Json], name: str, at: "_At") -> None:
        if name in ANNOTATIONS:
            return
        if name in _ASSERTIONS:
            parts.assertions.append(_ASSERTIONS[name](at))
            parts.cost += _count(at.value)
            return
        match name:
            case "$defs":
                # They cost where they are referred to; one that nobody refers to must be right too.
                for key, definition in at.members():
                    if at.path == "/$defs":
                        self._definition(key, at)
                    else:
                        self._schema(definition, path=at.below(key), depth=at.depth + 1)
                return
            case "$ref":
                schema = parts.add_schema(self._reference(at))
                parts.metered.append(Branches(quantifier=Quantifier.ALL_OF, schemas=(schema,)))
            case "pattern":
                parts.metered.append(self._pattern(at))
            case "properties":
                members = tuple(
                    (key, parts.add_schema(self._inner(member, at, key)))
                    for key, member in at.members()
                )
                parts.metered.append(Properties(members=members))
            case "additionalProperties":
                named = document.get("properties", {})
                schema = parts.add_schema(self._inner(at.value, at))
                parts.metered.append(
                    AdditionalProperties(
                        named=frozenset(named if isinstance(named, dict) else ()), schema=schema
                    )
                )
            case "items":
                parts.metered.append(Items(schema=parts.add_schema(self._inner(at.value, at))))
            case "allOf" | "anyOf" | "oneOf":
                schemas = tuple(
                    parts.add_schema(self._inner(branch, at, str(index)))
                    for index, branch in enumerate(at.array_of_some("schemas"))
                )
                parts.metered.append(Branches(quantifier=Quantifier(name), schemas=schemas))
            case _:
                raise at.refused("the keyword is not in the subset that judges evidence")
        # The keyword itself; what stands below it was counted as schemas.
        parts.cost += 1

    def _inner(self, document: Json, at: "_At", key: str | None = None) -> SchemaNode:
        path = at.path if key is None else at.below(key)
        return self._schema(document, path=path, depth=at.depth + 1)

    def _reference(self, at: "_At") -> SchemaNode:
        text = at.value
        if not isinstance(text, str) or not text.startswith(_REFERENCE_PREFIX):
            raise at.refused(f"a reference starts with {_REFERENCE_PREFIX}")
        name = text.removeprefix(_REFERENCE_PREFIX)
        # Escaped names have two readings among validators; a longer pointer leads into a schema.
        if not name or not {"/", "~", "%"}.isdisjoint(name):
            raise at.refused("a reference names one member of $defs, without escapes")
        if name not in self._definitions:
            raise at.refused("the reference leads nowhere")
        return self._definition(name, at)

    def _definition(self, name: str, at: "_At") -> SchemaNode:
        if name in self._being_resolved:
            raise at.refused("the reference leads back to itself")
        if name not in self._resolved:
            self._being_resolved.add(name)
            self._resolved[name] = self._schema(
                self._definitions[name], path=f"/$defs/{_escaped(name)}", depth=at.depth + 1
            )
            self._being_resolved.remove(name)
        schema = self._resolved[name]
        if at.depth + schema.depth > SCHEMA_DEPTH_MAX:
            raise at.refused(f"schemas are nested deeper than {SCHEMA_DEPTH_MAX}")
        return schema

    def _pattern(self, at: "_At") -> Pattern:
        text = at.value
        if not isinstance(text, str) or len(text) > PATTERN_LENGTH_MAX:
            raise at.refused(f"a pattern is a string of at most {PATTERN_LENGTH_MAX} characters")
        pattern = compile_pattern(text)
        if pattern is None:
            raise at.refused(
                "the pattern is too large or no regular expression without look-around and"
                " back-references"
            )
        self.pattern_kibibytes += pattern.size_kibibytes
        if self.pattern_kibibytes > PATTERN_KIBIBYTES_MAX:
            raise at.refused(
                f"the document's patterns compile to more than {PATTERN_KIBIBYTES_MAX} KiB"
            )
        return Pattern(pattern=pattern)


class _At:
    """One keyword's value and where it stands, with the shapes a value may be asked for."""

    def __init__(self, schema_path: str, name: str, value: Json, depth: int) -> None:
        self.path = f"{schema_path}/{_escaped(name)}"
        self.name = name
        self.value = value
        self.depth = depth

    def below(self, key: str) -> str:
        return f"{self.path}/{_escaped(key)}"

    def refused(self, message: str) -> _RefusedError:
        return _RefusedError(self.path, message)

    def members(self) -> Iterable[tuple[str, Json]]:
        if not isinstance(self.value, dict):
            raise self.refused(f"{self.name} is an object of schemas")
        return self.value.items()

    def array_of_some(self, what: str) -> list[Json]:
        if not isinstance(self.value, list) or not self.value:
            raise self.refused(f"{self.name} is an array of {what}, at least one")
        return self.value

    def distinct_strings(self) -> list[str]:
        strings = [item for item in _items(self.value) if isinstance(item, str)]
        if not isinstance(self.value, list) or len(set(strings)) != len(self.value):
            raise self.refused(f"{self.name} is an array of distinct strings")
        return strings

    def number(self) -> Decimal:
        if not isinstance(self.value, NumberLiteral):
            raise self.refused(f"{self.name} is a number")
        return self.value.value


def _items(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _type(at: _At) -> Type:
    names = [at.value] if isinstance(at.value, str) else at.distinct_strings()
    try:
        allowed = frozenset(JsonType(name) for name in names)
    except ValueError:
        raise at.refused(f"a type is one of {', '.join(JsonType)}") from None
    if not allowed:
        raise at.refused("type names at least one type")
    return Type(allowed=allowed)


def _enum(at: _At) -> Enumeration:
    literals: list[Plain] = [plain(literal) for literal in at.array_of_some("values")]
    return Enumeration(literals=tuple(literals))


def _const(at: _At) -> Enumeration:
    return Enumeration(literals=(plain(at.value),))


def _required(at: _At) -> Required:
    return Required(names=frozenset(at.distinct_strings()))


_Reader: TypeAlias = Callable[[_At], Assertion]


def _bound(compare: Callable[[Decimal, Decimal], bool]) -> _Reader:
    return lambda at: Bound(limit=at.number(), compare=compare)


def _size(
    container: type[str] | type[list[Plain]] | type[dict[str, Plain]],
    compare: Callable[[int, int], bool],
) -> _Reader:
    def read(at: _At) -> Size:
        limit = at.number()
        if limit < 0 or not is_integer(limit):
            raise at.refused(f"{at.name} is an integer ≥ 0")
        return Size(container=container, limit=int(limit), compare=compare)

    return read


_ASSERTIONS: Final[dict[str, _Reader]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "minimum": _bound(operator.ge),
    "maximum": _bound(operator.le),
    "exclusiveMinimum": _bound(operator.gt),
    "exclusiveMaximum": _bound(operator.lt),
    "minLength": _size(str, operator.ge),
    "maxLength": _size(str, operator.le),
    "minItems": _size(list, operator.ge),
    "maxItems": _size(list, operator.le),
    "minProperties": _size(dict, operator.ge),
    "maxProperties": _size(dict, operator.le),
}


def _count(value: Json) -> int:
    """How many JSON values `value` consists of."""
    match value:
        case list():
            return 1 + sum(map(_count, value))
        case dict():
            return 1 + sum(map(_count, value.values()))
        case _:
            return 1


def _escaped(name: str) -> str:
    """One step of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")

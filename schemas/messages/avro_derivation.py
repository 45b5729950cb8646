"""From a frozen dataclass to its Avro schema and to converters between values and fastavro's records.

The classes are the source; the `.avsc` files are derived and committed, and a test holds the two together. The
converters are built once per class, so that encoding costs no reflection.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from schemas.errors import CodecError
from schemas.messages.avro_types import Fixed

NAMESPACE = "paybond"
Schema: TypeAlias = str | dict[str, Any] | list[Any]
Record: TypeAlias = Any
Convert: TypeAlias = Callable[[Any], Any]

_PRIMITIVES: Mapping[Any, Schema] = {
    str: "string",
    bytes: "bytes",
    int: "long",
    bool: "boolean",
    datetime: {"type": "long", "logicalType": "timestamp-micros"},
}


def schema_of(message: type) -> dict[str, Any]:
    """The Avro record schema of a message class, named types defined at their first use."""
    schema = _record_schema(message, set())
    assert isinstance(schema, dict)
    return schema


def _record_schema(message: type, seen: set[str]) -> Schema:
    name = f"{NAMESPACE}.{message.__name__}"
    if name in seen:
        return name
    seen.add(name)
    hints = get_type_hints(message, include_extras=True)
    return {
        "type": "record",
        "name": message.__name__,
        "namespace": NAMESPACE,
        "doc": (message.__doc__ or "").strip().splitlines()[0] if message.__doc__ else "",
        "fields": [_field_schema(f.name, hints[f.name], f.default, seen) for f in fields(message)],
    }


def _field_schema(name: str, hint: Any, default: Any, seen: set[str]) -> dict[str, Any]:
    field: dict[str, Any] = {"name": name, "type": _type_schema(hint, seen)}
    if _is_optional(hint) and default is None:
        field["default"] = None
    elif default is not MISSING and not _is_optional(hint):
        field["default"] = [] if default == () else default
    return field


def _type_schema(hint: Any, seen: set[str]) -> Schema:
    if hint in _PRIMITIVES:
        return _PRIMITIVES[hint]
    if get_origin(hint) is Annotated:
        _, fixed = get_args(hint)
        return _fixed_schema(fixed, seen)
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _type_schema(get_args(hint)[0], seen)}
    if is_union(hint):
        # Null first: it is the default of every optional field.
        members = sorted(get_args(hint), key=lambda member: member is not types.NoneType)
        return [
            "null" if member is types.NoneType else _type_schema(member, seen) for member in members
        ]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enum_schema(hint, seen)
    if isinstance(hint, type) and is_dataclass(hint):
        return _record_schema(hint, seen)
    raise CodecError(f"no Avro type for {hint!r}")


def _fixed_schema(fixed: Fixed, seen: set[str]) -> Schema:
    name = f"{NAMESPACE}.{fixed.name}"
    if name in seen:
        return name
    seen.add(name)
    return {"type": "fixed", "name": fixed.name, "namespace": NAMESPACE, "size": fixed.size}


def _enum_schema(enum: type[StrEnum], seen: set[str]) -> Schema:
    name = f"{NAMESPACE}.{enum.__name__}"
    if name in seen:
        return name
    seen.add(name)
    return {
        "type": "enum",
        "name": enum.__name__,
        "namespace": NAMESPACE,
        "symbols": [member.value for member in enum],
    }


def is_union(hint: Any) -> bool:
    """Whether an annotation is a union, `X | None` included."""
    # `X | None` is a Union instead of a UnionType where X is Annotated.
    return get_origin(hint) in {types.UnionType, Union}


def _is_optional(hint: Any) -> bool:
    return is_union(hint) and types.NoneType in get_args(hint)


def members_of(hint: Any) -> list[Any]:
    """A union's branches in order, but for null."""
    return [member for member in get_args(hint) if member is not types.NoneType]


def to_record_of(message: type) -> Convert:
    """Value → what fastavro writes. A union of records becomes (full name, record): no guessing by shape."""
    hints = get_type_hints(message, include_extras=True)
    plain: list[str] = []
    converted: list[tuple[str, Convert]] = []
    for field in fields(message):
        convert = _to_avro(hints[field.name])
        if convert is None:
            plain.append(field.name)
        else:
            converted.append((field.name, convert))

    def to_record(value: Any) -> Record:
        record = {name: getattr(value, name) for name in plain}
        for name, convert in converted:
            record[name] = convert(getattr(value, name))
        return record

    return to_record


def _to_avro(hint: Any) -> Convert | None:
    """None = fastavro takes the Python value as it is."""
    if get_origin(hint) is tuple:
        item = _to_avro(get_args(hint)[0])
        return list if item is None else (lambda values: [item(value) for value in values])
    if is_union(hint):
        return _union_to_avro(members_of(hint))
    if isinstance(hint, type) and is_dataclass(hint):
        return to_record_of(hint)
    return None


def _union_to_avro(members: list[Any]) -> Convert | None:
    if len(members) == 1:
        convert = _to_avro(members[0])
        if convert is None:
            return None
        return lambda value: None if value is None else convert(value)
    named = {member: (f"{NAMESPACE}.{member.__name__}", to_record_of(member)) for member in members}

    def to_union(value: Any) -> Any:
        if value is None:
            return None
        name, convert = named[type(value)]
        return name, convert(value)

    return to_union


def from_record_of(message: type) -> Convert:
    """What fastavro read → value. A member that the data lacks takes the class's default."""
    hints = get_type_hints(message, include_extras=True)
    converters = [
        (field.name, convert)
        for field in fields(message)
        if (convert := _from_avro(hints[field.name])) is not None
    ]

    def from_record(record: dict[str, Any]) -> Any:
        for name, convert in converters:
            if name in record:
                record[name] = convert(record[name])
        return message(**record)

    return from_record


def _from_avro(hint: Any) -> Convert | None:
    if get_origin(hint) is tuple:
        item = _from_avro(get_args(hint)[0])
        return tuple if item is None else (lambda values: tuple(item(value) for value in values))
    if is_union(hint):
        return _union_from_avro(members_of(hint))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    if isinstance(hint, type) and is_dataclass(hint):
        return from_record_of(hint)
    return None


def _union_from_avro(members: list[Any]) -> Convert | None:
    if len(members) == 1:
        convert = _from_avro(members[0])
        if convert is None:
            return None
        return lambda value: None if value is None else convert(value)
    named = {f"{NAMESPACE}.{member.__name__}": from_record_of(member) for member in members}

    def from_union(value: Any) -> Any:
        if value is None:
            return None
        name, record = value
        return named[name](record)

    return from_union

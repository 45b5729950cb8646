"""Avro bodies ↔ message values by straight-line code made once per class: three to four times fastavro with dicts.

The code is Python source derived from the annotations, as the schema is. It writes the bytes that fastavro and Apache's
`avro` write (a property test holds all three together) and reads them back, stricter where the format leaves a choice:
a boolean is 0 or 1, a union's index one byte, lengths are not negative.
"""

import types
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

from schemas.errors import CodecError
from schemas.frozen_values import open_twin
from schemas.messages.avro_derivation import is_union, members_of

Write: TypeAlias = Callable[[Any], bytes]
# Body bytes, where to begin, where the bytes end → the value and where it ended.
Read: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]

_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
_LONG_BYTES_MAX = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SMALL_COUNT = 4096
_INDENT = "    "


def write_long(number: int) -> bytes:
    """Avro's zigzag variable-length long. Raises OverflowError past 64 bits."""
    if not _LONG_MIN <= number <= _LONG_MAX:
        raise OverflowError(f"{number} is no 64-bit long")
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SMALL = tuple(write_long(number) for number in range(_SMALL_COUNT))


def read_long(body: bytes, at: int) -> tuple[int, int]:
    """The long at `at`, and where it ended. Raises ValueError, IndexError."""
    number = shift = 0
    for _ in range(_LONG_BYTES_MAX):
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >> 64:
                break
            return (number >> 1) ^ -(number & 1), at
        shift += 7
    raise ValueError("a long of more than 64 bits")


# A batch has few instants and many places for them; an instant's bytes do not depend on its time zone.
@lru_cache(maxsize=4096)
def _micros(instant: datetime) -> bytes:
    since = instant - _EPOCH
    return write_long((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _misfit(what: str) -> Any:
    raise ValueError(what)


class _Compiler:
    """Collects the source of one message's functions and the values they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "LONG": write_long,
            "READ_LONG": read_long,
            "SMALL": _SMALL,
            "MICROS": _micros,
            "EPOCH": _EPOCH,
            "DELTA": timedelta,
            "NEW": object.__new__,
            "MISFIT": _misfit,
        }
        self._made: set[str] = set()
        self._variables = 0

    def functions(self) -> dict[str, Any]:
        # The source is made of names of our own classes and fields, of nothing that ever came from outside.
        exec(compile("\n".join(self.lines), "<avro>", "exec"), self.names)  # noqa: S102
        return self.names

    def writer(self, message: type) -> str:
        """The name of the function that appends a record's chunks."""
        name = f"write_{message.__name__}"
        if name not in self._made:
            self._made.add(name)
            hints = get_type_hints(message, include_extras=True)
            body = [
                line
                for field in fields(message)
                for line in self._write(hints[field.name], f"value.{field.name}")
            ]
            self._define(f"def {name}(value, put):", body or ["pass"])
        return name

    def reader(self, message: type) -> str:
        name = f"read_{message.__name__}"
        if name not in self._made:
            self._made.add(name)
            self.names[message.__name__] = message
            hints = get_type_hints(message, include_extras=True)
            self.names[f"TWIN_{message.__name__}"] = open_twin(message)
            body = [f"value = NEW(TWIN_{message.__name__})"]
            for field in fields(message):
                body += self._read(hints[field.name], f"value.{field.name}")
            body.append(f"value.__class__ = {message.__name__}")
            self._define(f"def {name}(body, at, end):", [*body, "return value, at"])
        return name

    def _define(self, head: str, body: list[str]) -> None:
        self.lines += [head, *(_INDENT + line for line in body), ""]

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    def _write(self, hint: Any, source: str) -> Iterator[str]:
        if get_origin(hint) is Annotated:
            size = get_args(hint)[1].size
            yield f"fixed = {source}"
            yield f"put(fixed if len(fixed) == {size} else MISFIT('not {size} bytes'))"
        elif get_origin(hint) is tuple:
            yield from self._write_array(get_args(hint)[0], source)
        elif is_union(hint):
            yield from self._write_union(hint, source)
        elif isinstance(hint, type) and issubclass(hint, StrEnum):
            symbols = f"SYMBOLS_{hint.__name__}"
            self.names[symbols] = {member: write_long(at) for at, member in enumerate(hint)}
            yield f"put({symbols}[{source}])"
        elif isinstance(hint, type) and is_dataclass(hint):
            yield f"{self.writer(hint)}({source}, put)"
        else:
            yield from _write_primitive(hint, source)

    def _write_array(self, item: Any, source: str) -> Iterator[str]:
        variable = self._variable()
        yield f"if {source}:"
        yield f"{_INDENT}put(LONG(len({source})))"
        yield f"{_INDENT}for {variable} in {source}:"
        yield from (_INDENT * 2 + line for line in self._write(item, variable))
        yield "put(b'\\x00')"

    def _write_union(self, hint: Any, source: str) -> Iterator[str]:
        """Null is the first branch wherever it is one."""
        members, variable = members_of(hint), self._variable()
        first = 1 if types.NoneType in get_args(hint) else 0
        yield f"{variable} = {source}"
        word = "if"
        if first:
            yield f"if {variable} is None:"
            yield f"{_INDENT}put(b'\\x00')"
            word = "elif"
        for at, member in enumerate(members, start=first):
            if len(members) == 1:
                yield "else:"
            else:
                self.names[member.__name__] = member
                yield f"{word} type({variable}) is {member.__name__}:"
                word = "elif"
            yield f"{_INDENT}put({write_long(at)!r})"
            yield from (_INDENT + line for line in self._write(member, variable))
        if len(members) > 1:
            yield "else:"
            yield f"{_INDENT}MISFIT(f'no branch for {{type({variable}).__name__}}')"

    def _read(self, hint: Any, target: str) -> Iterator[str]:
        if get_origin(hint) is Annotated:
            size = get_args(hint)[1].size
            yield f"{target} = body[at:at + {size}]"
            yield f"at += {size}"
            yield "if at > end: MISFIT('the record is cut')"
        elif get_origin(hint) is tuple:
            yield from self._read_array(get_args(hint)[0], target)
        elif is_union(hint):
            yield from self._read_union(hint, target)
        elif isinstance(hint, type) and issubclass(hint, StrEnum):
            members = f"MEMBERS_{hint.__name__}"
            self.names[members] = tuple(hint)
            yield "n = body[at]; at += 1"
            yield f"{target} = {members}[n >> 1] if n < 128 and not n & 1 else MISFIT('no symbol')"
        elif isinstance(hint, type) and is_dataclass(hint):
            yield f"{target}, at = {self.reader(hint)}(body, at, end)"
        else:
            yield from _read_primitive(hint, target)

    def _read_array(self, item: Any, target: str) -> Iterator[str]:
        """One block is what we write; more, and blocks with their size in bytes, are Avro too."""
        items, count, variable = self._variable(), self._variable(), self._variable()
        yield f"{items} = []"
        yield f"{count}, at = READ_LONG(body, at)"
        yield f"while {count}:"
        yield f"{_INDENT}if {count} < 0:"
        yield f"{_INDENT * 2}{count} = -{count}; _, at = READ_LONG(body, at)"
        yield f"{_INDENT}for _ in range({count}):"
        yield from (_INDENT * 2 + line for line in self._read(item, variable))
        yield f"{_INDENT * 2}{items}.append({variable})"
        yield f"{_INDENT}{count}, at = READ_LONG(body, at)"
        yield f"{target} = tuple({items})"

    def _read_union(self, hint: Any, target: str) -> Iterator[str]:
        branch = self._variable()
        first = 1 if types.NoneType in get_args(hint) else 0
        yield f"{branch} = body[at]; at += 1"
        word = "if"
        if first:
            yield f"if {branch} == 0:"
            yield f"{_INDENT}{target} = None"
            word = "elif"
        for at, member in enumerate(members_of(hint), start=first):
            yield f"{word} {branch} == {at * 2}:"
            yield from (_INDENT + line for line in self._read(member, target))
            word = "elif"
        yield "else:"
        yield f"{_INDENT}MISFIT('no such branch of a union')"


def _write_primitive(hint: Any, source: str) -> Iterator[str]:
    if hint is str:
        yield f"text = {source}.encode()"
        yield f"n = len(text); put(SMALL[n] if n < {_SMALL_COUNT} else LONG(n)); put(text)"
    elif hint is bytes:
        yield f"n = len({source}); put(SMALL[n] if n < {_SMALL_COUNT} else LONG(n)); put({source})"
    elif hint is int:
        yield f"put(SMALL[{source}] if 0 <= {source} < {_SMALL_COUNT} else LONG({source}))"
    elif hint is bool:
        yield f"put(b'\\x01' if {source} else b'\\x00')"
    elif hint is datetime:
        yield f"put(MICROS({source}))"
    else:
        raise CodecError(f"no Avro type for {hint!r}")


def _read_primitive(hint: Any, target: str) -> Iterator[str]:
    if hint is bool:
        yield "if body[at] > 1: MISFIT('no boolean')"
        yield f"{target} = body[at] == 1; at += 1"
        return
    yield "n = body[at]; at += 1"
    yield "if n < 128: n = (n >> 1) ^ -(n & 1)"
    yield "else: n, at = READ_LONG(body, at - 1)"
    if hint is int:
        yield f"{target} = n"
    elif hint is datetime:
        yield f"{target} = EPOCH + DELTA(microseconds=n)"
    elif hint in {str, bytes}:
        yield "if n < 0 or at + n > end: MISFIT('the record is cut')"
        yield f"{target} = body[at:at + n]{'.decode()' if hint is str else ''}; at += n"
    else:
        raise CodecError(f"no Avro type for {hint!r}")


def compiled_writer(message: type) -> Write:
    """Value → body bytes. What does not fit: ValueError, TypeError, KeyError, OverflowError, AttributeError."""
    compiler = _Compiler()
    name = compiler.writer(message)
    write = compiler.functions()[name]

    def body_of(value: Any) -> bytes:
        chunks: list[bytes] = []
        write(value, chunks.append)
        return b"".join(chunks)

    return body_of


def compiled_reader(message: type) -> Read:
    """Body bytes → value. Raises ValueError, IndexError, OverflowError, UnicodeError for what is no such record."""
    compiler = _Compiler()
    name = compiler.reader(message)
    read: Read = compiler.functions()[name]
    return read

"""JSON that keeps number literals and refuses what two correct parsers may read differently.

A client signs the text of its numbers, so `1.0` and `1` must stay apart from parsing to hashing:
a number is its literal, never an `int` or a float. Sources: signing.md §1, gateway.md §1 (bodies).
"""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn, TypeAlias

from schemas.errors import JsonAmbiguousError, JsonInvalidError

DEPTH_MAX = 64
# Longer literals carry no amount anybody means, and exact arithmetic on them has no bound.
NUMBER_LENGTH_MAX = 40
EXPONENT_MAX = 64

_INTEGER_MIN = -(2**63)
_INTEGER_MAX = 2**64 - 1
# Plain notation for these decimal exponents, scientific beyond (signing.md §1).
_PLAIN_EXPONENT_MIN = -5
_PLAIN_EXPONENT_MAX = 15

# A string that nobody closes is one token up to the end, and nothing in it is tried twice (`*+`): else each of its
# quotes would begin a search to the end of the body, which takes minutes of one that is full of them.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    """A JSON number as it was written. Equality is by spelling; compare `value` for the number."""

    text: str

    @property
    def value(self) -> Decimal:
        """The exact number: no context, no rounding."""
        return Decimal(self.text)

    @property
    def is_integer_literal(self) -> bool:
        """Written without fraction and exponent, as amounts must be."""
        return self.text.lstrip("-").isdigit()


Json: TypeAlias = "bool | str | NumberLiteral | list[Json] | dict[str, Json] | None"


def parse(raw: bytes, *, depth_max: int = DEPTH_MAX) -> Json:
    """Read one JSON document.

    Raises JsonInvalidError (no JSON, no UTF-8, deeper than `depth_max`) or JsonAmbiguousError.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise JsonInvalidError("it is not UTF-8") from error
    # The scanner recurses in C: depth is counted before it runs, so that the answer never depends
    # on how much stack the caller has left.
    _refuse_too_deep(text, depth_max)
    try:
        value: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonInvalidError(f"{error.msg} at character {error.pos}") from error
    # Surrogates and U+0000 can only come from a \u escape: UTF-8 and the scanner refuse them raw.
    if "\\u" in text:
        _refuse_unstorable_text(value)
    return value


def canonical(value: Json) -> bytes:
    """Compact, keys by code point, escapes of signing.md §1, number literals as received."""
    pieces: list[str] = []
    _write(value, pieces)
    return "".join(pieces).encode()


def normal(value: Json) -> Json:
    """Rewrite every number in normal form (signing.md §1); all else stays."""
    match value:
        case NumberLiteral():
            return _normal_number(value)
        case list():
            return [normal(item) for item in value]
        case dict():
            return {key: normal(item) for key, item in value.items()}
        case _:
            return value


def _refuse_too_deep(text: str, depth_max: int) -> None:
    if text.count("{") + text.count("[") <= depth_max:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.findall(text):
        if token in ("{", "["):
            depth += 1
            if depth > depth_max:
                raise JsonInvalidError(f"it is nested deeper than {depth_max} levels")
        elif token in ("}", "]"):
            depth -= 1


def _number(text: str) -> NumberLiteral:
    if len(text) > NUMBER_LENGTH_MAX:
        raise JsonAmbiguousError(f"a number has more than {NUMBER_LENGTH_MAX} characters")
    _, marker, exponent = text.replace("E", "e").partition("e")
    if marker and abs(int(exponent)) > EXPONENT_MAX:
        raise JsonAmbiguousError(
            f"a number's exponent lies outside -{EXPONENT_MAX}…{EXPONENT_MAX}: {text}"
        )
    return NumberLiteral(text)


def _integer(text: str) -> NumberLiteral:
    if len(text) > NUMBER_LENGTH_MAX:
        raise JsonAmbiguousError(f"a number has more than {NUMBER_LENGTH_MAX} characters")
    return NumberLiteral(text)


def _refuse_constant(text: str) -> NoReturn:
    raise JsonAmbiguousError(f"{text} is not a JSON number")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonAmbiguousError("an object has a member twice")
    for key in members:
        # Clients that sort by UTF-16 unit order these differently than by code point.
        if not key.isascii() and max(key) > "\uffff":
            raise JsonAmbiguousError("a member's name has a character outside the BMP")
    return members


def _refuse_unstorable_text(root: Json) -> None:
    waiting: list[Json] = [root]
    while waiting:
        value = waiting.pop()
        match value:
            case str():
                _refuse_unstorable_string(value)
            case list():
                waiting.extend(value)
            case dict():
                waiting.extend(value.keys())
                waiting.extend(value.values())
            case _:
                pass


def _refuse_unstorable_string(text: str) -> None:
    # PostgreSQL's text can't hold U+0000.
    if "\x00" in text:
        raise JsonAmbiguousError("a string has the character U+0000")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise JsonAmbiguousError("a string has a lone surrogate") from error


def _write(value: Json, pieces: list[str]) -> None:
    match value:
        case str():
            pieces.append(_QUOTE(value))
        case NumberLiteral():
            pieces.append(value.text)
        case None:
            pieces.append("null")
        case bool():
            pieces.append("true" if value else "false")
        case list():
            separator = "["
            for item in value:
                pieces.append(separator)
                _write(item, pieces)
                separator = ","
            pieces.append("]" if value else "[]")
        case dict():
            separator = "{"
            for key in sorted(value):
                pieces.append(f"{separator}{_QUOTE(key)}:")
                _write(value[key], pieces)
                separator = ","
            pieces.append("}" if value else "{}")


def _normal_number(number: NumberLiteral) -> NumberLiteral:
    text = number.text
    if number.is_integer_literal and text != "-0" and _INTEGER_MIN <= int(text) <= _INTEGER_MAX:
        return number
    # The one float of the system: clients sign the nearest double, `repr` is its shortest decimal.
    sign, digits, exponent = Decimal(repr(float(text))).as_tuple()
    assert isinstance(exponent, int)
    figures = "".join(map(str, digits))
    # Position of the decimal point relative to the first figure: d.ddd × 10^scale.
    scale = len(figures) - 1 + exponent
    figures = figures.rstrip("0")
    minus = "-" if sign else ""
    if not figures:
        return NumberLiteral(f"{minus}0.0")
    return NumberLiteral(minus + _spelled(figures, scale))


def _spelled(figures: str, scale: int) -> str:
    """`figures` as d.ddd × 10^`scale` in the notation of signing.md §1."""
    if not _PLAIN_EXPONENT_MIN <= scale <= _PLAIN_EXPONENT_MAX:
        fraction = f".{figures[1:]}" if len(figures) > 1 else ""
        return f"{figures[0]}{fraction}e{'+' if scale > 0 else '-'}{abs(scale)}"
    if scale < 0:
        return f"0.{'0' * (-scale - 1)}{figures}"
    whole = figures[: scale + 1].ljust(scale + 1, "0")
    return f"{whole}.{figures[scale + 1 :] or '0'}"


# Escapes `"`, `\\`, the characters below U+0020 (short, else lower-case \u00xx) and nothing else.
_QUOTE = json.JSONEncoder(ensure_ascii=False).encode
_DECODER = json.JSONDecoder(
    parse_float=_number,
    parse_int=_integer,
    parse_constant=_refuse_constant,
    object_pairs_hook=_object,
)

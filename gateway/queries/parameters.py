"""Query parameters into values, after the credential was judged; whatever does not fit is 400 `body_invalid`.

A parameter that stands twice or is unknown is refused: a typo must not read something else than was meant.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from gateway.edge.refused import RefusedError
from schemas.canonical.base64_strict import decode_url, encode_url
from schemas.errors import SignatureFormatError
from schemas.ids import DID_LENGTH_MAX

CURSOR_LENGTH_MAX: Final = 512
# 16 digits, like a ledger key's.
SEQ_MAX: Final = 10**16 - 1
_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}")


class Parameters:
    """The query of one request; `known` = all names that the route takes."""

    def __init__(self, pairs: Iterable[tuple[str, str]], *, known: Collection[str]) -> None:
        values: dict[str, str] = {}
        for name, value in pairs:
            if name not in known:
                raise refused(name, "is not a parameter of this route")
            if name in values:
                raise refused(name, "stands twice")
            values[name] = value
        self._values: Mapping[str, str] = values

    def text(self, name: str, *, length_max: int = DID_LENGTH_MAX) -> str | None:
        value = self._values.get(name)
        if value is None:
            return None
        if not 1 <= len(value) <= length_max or "\x00" in value:
            raise refused(name, f"must have 1 to {length_max} characters")
        return value

    def one_of(self, name: str, allowed: Collection[str]) -> str | None:
        value = self._values.get(name)
        if value is not None and value not in allowed:
            raise refused(name, "must be one of " + ", ".join(sorted(allowed)))
        return value

    def integer(self, name: str, *, minimum: int = 0, maximum: int = SEQ_MAX) -> int | None:
        value = self._values.get(name)
        return None if value is None else integer_of(name, value, minimum=minimum, maximum=maximum)

    def required_integer(self, name: str, *, minimum: int = 0) -> int:
        value = self.integer(name, minimum=minimum)
        if value is None:
            raise refused(name, "is missing")
        return value

    def limit(self, *, default: int, maximum: int) -> int:
        return self.integer("limit", minimum=1, maximum=maximum) or default

    def cursor(self, kind: str) -> str | None:
        """The position in a `next_cursor` of the same list."""
        value = self._values.get("cursor")
        return None if value is None else read_cursor(kind, value)


def integer_of(name: str, text: str, *, minimum: int, maximum: int) -> int:
    """Plain decimal digits without leading zeros."""
    if _INTEGER.fullmatch(text) is None or not minimum <= int(text) <= maximum:
        raise refused(name, f"must be an integer from {minimum} to {maximum}")
    return int(text)


def cursor_of(kind: str, position: str) -> str:
    """Opaque to clients: `kind` keeps a cursor of one list out of another."""
    return encode_url(f"{kind}:{position}".encode())


def read_cursor(kind: str, cursor: str) -> str:
    """The position. It only says where a page begins; what may be seen is the query's tenant alone."""
    if not 1 <= len(cursor) <= CURSOR_LENGTH_MAX:
        raise refused("cursor", f"must have 1 to {CURSOR_LENGTH_MAX} characters")
    try:
        found, separator, position = decode_url(cursor, what="cursor").decode().partition(":")
    except (SignatureFormatError, UnicodeDecodeError) as error:
        raise refused("cursor", "was not given by this route") from error
    if found != kind or not separator or "\x00" in position:
        raise refused("cursor", "was not given by this route")
    return position


def refused(name: str, reason: str) -> RefusedError:
    return RefusedError("body_invalid", f"`{name}` {reason}.", details={"parameter": name})

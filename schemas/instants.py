"""UTC instants, RFC 3339 and the spellings in which clients sign them (signing.md §1).

A `datetime` holds microseconds: fraction digits seven to nine are cut, never rounded, so that an instant is never
later than its text. The text itself is kept wherever it was signed.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from schemas.errors import InstantError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MICROSECOND = timedelta(microseconds=1)
_FRACTION_DIGITS_OF_A_DATETIME = 6
# [0-9], not \d: the latter takes every script's digits. 9 fraction digits is what clients can hold.
_RFC_3339 = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt](?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_UTC_OFFSETS = frozenset({"Z", "z", "+00:00", "-00:00"})


class Spelling(StrEnum):
    """Which text of an instant a signature covers, in the order in which they are tried."""

    RECEIVED = "received"
    NORMAL = "normal"
    UTC_SECONDS = "utc_seconds"


def parse_instant(text: str) -> datetime:
    """UTC, cut to microseconds. Raises InstantError."""
    return _instant(text, _match(text))


def normal_spelling(text: str) -> str:
    """`T` and `Z` in upper case, a zero offset as `Z`, no trailing zeros; other offsets stay.

    Raises InstantError.
    """
    match = _match(text)
    _instant(text, match)
    fraction = _significant_fraction(match)
    offset = "Z" if match["offset"] in _UTC_OFFSETS else match["offset"]
    return f"{match['date']}T{match['clock']}{fraction and '.'}{fraction}{offset}"


def utc_seconds_spelling(text: str) -> str | None:
    """The same instant as `YYYY-MM-DDTHH:MM:SSZ`; None if it lies between two seconds.

    Raises InstantError.
    """
    match = _match(text)
    instant = _instant(text, match)
    return None if _significant_fraction(match) else format_instant(instant)


def signed_spellings(text: str) -> Iterator[tuple[Spelling, str]]:
    """Every text that a client may have signed for `text`, each once, lazily, in the order to try.

    Raises InstantError when the second one is asked for.
    """
    yield Spelling.RECEIVED, text
    in_normal_form = normal_spelling(text)
    if in_normal_form != text:
        yield Spelling.NORMAL, in_normal_form
    in_utc = utc_seconds_spelling(text)
    if in_utc is not None and in_utc not in (text, in_normal_form):
        yield Spelling.UTC_SECONDS, in_utc


def format_instant(instant: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ`, the wire form; fractions are cut."""
    utc = _utc(instant).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='seconds')}Z"


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970, exact: Avro's timestamp-micros."""
    return (_utc(instant) - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    return EPOCH + micros * _MICROSECOND


def _match(text: str) -> re.Match[str]:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise InstantError(text=text, reason="write it as YYYY-MM-DDTHH:MM:SSZ")
    return match


def _instant(text: str, match: re.Match[str]) -> datetime:
    year, month, day = map(int, match["date"].split("-"))
    hour, minute, second = map(int, match["clock"].split(":"))
    digits = (match["fraction"] or "").ljust(_FRACTION_DIGITS_OF_A_DATETIME, "0")
    micros = int(digits[:_FRACTION_DIGITS_OF_A_DATETIME])
    try:
        local = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
        return local - _offset(text, match["offset"])
    except (ValueError, OverflowError) as error:
        raise InstantError(text=text, reason=str(error)) from error


def _offset(text: str, offset: str) -> timedelta:
    if offset in _UTC_OFFSETS:
        return timedelta(0)
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise InstantError(text=text, reason="the offset is out of range")
    distance = timedelta(hours=hours, minutes=minutes)
    return -distance if offset[0] == "-" else distance


def _significant_fraction(match: re.Match[str]) -> str:
    return (match["fraction"] or "").rstrip("0")


def _utc(instant: datetime) -> datetime:
    assert instant.tzinfo is not None, "a naive datetime has no instant"
    return instant.astimezone(UTC)

"""RFC 3339 times: which are accepted, and in which spellings they may have been signed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InstantError
from schemas.instants import (
    Spelling,
    format_instant,
    from_micros,
    normal_spelling,
    parse_instant,
    signed_spellings,
    to_micros,
    utc_seconds_spelling,
)
from tests.unit.schemas.canonical.vectors import EDGE, Vector, name_of

_VECTORS: list[Vector] = EDGE["times_outside_the_recipe"]
# The one vector of this list that the recipe's text accepts. It refuses a blank for `T`, ten fraction digits and a
# 60th second, which a client takes and signs in another way, and what clients refuse themselves.
_ACCEPTED = "time 2030-01-02T15:04:05-00:00"

_offsets = st.integers(-(23 * 60 + 59), 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))
_instants = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=_offsets,
)


@pytest.mark.parametrize(
    "vector", [vector for vector in _VECTORS if name_of(vector) != _ACCEPTED], ids=name_of
)
def test_a_time_outside_the_recipe_is_refused(vector: Vector) -> None:
    for operation in (parse_instant, normal_spelling, utc_seconds_spelling):
        with pytest.raises(InstantError):
            operation(vector["text"])


def test_an_unknown_local_offset_is_utc_as_clients_sign_it() -> None:
    vector = next(vector for vector in _VECTORS if name_of(vector) == _ACCEPTED)

    assert normal_spelling(vector["text"]) == vector["client"]["signs"]
    assert parse_instant(vector["text"]) == parse_instant(vector["client"]["signs"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2030-01-02",
        "2030-01-02T15:04Z",
        "2030-01-02T15:04:05.Z",
        "2030-01-02T15:04:05,1Z",
        "2030-01-02T15:04:05.1234567890Z",
        "2030-1-2T15:04:05Z",
        "2030-01-02T15:04:05Z\n",
        "2030-01-02T15:04:05Z ",
        "2030-01-02_15:04:05Z",
        "2030-13-02T15:04:05Z",
        "2030-01-00T15:04:05Z",
        "2029-02-29T15:04:05Z",
        "2030-01-02T15:60:05Z",
        "2030-01-02T15:04:05+24:00",
        "2030-01-02T15:04:05+00:60",
        "2030-01-02T15:04:05+02",
        "2030-01-02T15:04:05UTC",
        "0000-01-02T15:04:05Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-02T15:04:05Z",
        "\u0662\u0660\u0663\u0660-01-02T15:04:05Z",
    ],
)
def test_what_is_not_an_instant_of_the_contract_is_refused(text: str) -> None:
    with pytest.raises(InstantError) as refused:
        parse_instant(text)
    assert refused.value.code == "deadline_invalid"


@pytest.mark.parametrize(
    ("text", "normal", "utc_seconds"),
    [
        ("2030-01-02T15:04:05Z", "2030-01-02T15:04:05Z", "2030-01-02T15:04:05Z"),
        ("2030-01-02t15:04:05z", "2030-01-02T15:04:05Z", "2030-01-02T15:04:05Z"),
        ("2030-01-02T15:04:05+00:00", "2030-01-02T15:04:05Z", "2030-01-02T15:04:05Z"),
        ("2030-01-02T15:04:05-00:00", "2030-01-02T15:04:05Z", "2030-01-02T15:04:05Z"),
        ("2030-01-02T15:04:05.000Z", "2030-01-02T15:04:05Z", "2030-01-02T15:04:05Z"),
        ("2030-01-02T15:04:05.120Z", "2030-01-02T15:04:05.12Z", None),
        ("2030-01-02T15:04:05.000000001Z", "2030-01-02T15:04:05.000000001Z", None),
        ("2030-01-02T17:04:05+02:00", "2030-01-02T17:04:05+02:00", "2030-01-02T15:04:05Z"),
        ("2030-01-02t17:04:05.50-02:30", "2030-01-02T17:04:05.5-02:30", None),
        ("2029-12-31T23:30:00-01:00", "2029-12-31T23:30:00-01:00", "2030-01-01T00:30:00Z"),
    ],
)
def test_a_time_has_its_normal_form_and_its_utc_seconds(
    text: str, normal: str, utc_seconds: str | None
) -> None:
    assert normal_spelling(text) == normal
    assert utc_seconds_spelling(text) == utc_seconds


def test_spellings_come_once_each_in_the_order_to_try() -> None:
    usual = list(signed_spellings("2030-01-02T15:04:05Z"))
    rare = list(signed_spellings("2030-01-02t17:04:05.0+02:00"))

    assert usual == [(Spelling.RECEIVED, "2030-01-02T15:04:05Z")]
    assert rare == [
        (Spelling.RECEIVED, "2030-01-02t17:04:05.0+02:00"),
        (Spelling.NORMAL, "2030-01-02T17:04:05+02:00"),
        (Spelling.UTC_SECONDS, "2030-01-02T15:04:05Z"),
    ]


def test_digits_past_the_microsecond_are_cut_and_never_rounded() -> None:
    expected = datetime(2030, 1, 2, 15, 4, 5, 999999, tzinfo=UTC)

    assert parse_instant("2030-01-02T15:04:05.999999999Z") == expected
    assert parse_instant("2030-01-02T15:04:05.9Z") == expected.replace(microsecond=900000)


def test_the_wire_form_is_utc_with_whole_seconds() -> None:
    eastern = timezone(timedelta(hours=-5))

    assert format_instant(datetime(2030, 1, 2, 15, 4, 5, 999999, tzinfo=eastern)) == (
        "2030-01-02T20:04:05Z"
    )
    assert format_instant(datetime(33, 1, 2, tzinfo=UTC)) == "0033-01-02T00:00:00Z"


def test_a_naive_datetime_is_a_programmers_mistake() -> None:
    with pytest.raises(AssertionError):
        format_instant(datetime(2030, 1, 2))  # noqa: DTZ001 - the mistake itself


@given(_instants)
def test_every_instant_survives_microseconds_and_text(instant: datetime) -> None:
    text = instant.isoformat(timespec="microseconds")

    assert from_micros(to_micros(instant)) == instant
    assert parse_instant(text) == instant


@given(_instants)
def test_the_normal_form_is_stable_and_names_the_same_instant(instant: datetime) -> None:
    text = instant.isoformat(timespec="microseconds").replace("T", "t")
    once = normal_spelling(text)
    in_utc = utc_seconds_spelling(text)

    assert normal_spelling(once) == once
    assert parse_instant(once) == instant
    assert (in_utc is None) == (instant.microsecond != 0)
    assert in_utc is None or parse_instant(in_utc) == instant

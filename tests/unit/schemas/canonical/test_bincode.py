"""Bincode's lengths and integers, at every boundary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import bincode


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"),
        (250, "fa"),
        (251, "fbfb00"),
        (2**16 - 1, "fbffff"),
        (2**16, "fc00000100"),
        (2**32 - 1, "fcffffffff"),
        (2**32, "fd0000000001000000"),
        (2**64 - 1, "fdffffffffffffffff"),
    ],
)
def test_a_varint_grows_exactly_at_its_boundaries(value: int, expected: str) -> None:
    assert bincode.varint(value).hex() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (100, "c8"),
        (20000, "fb409c"),
        (2**63 - 1, "fdfeffffffffffffff"),
        (-(2**63), "fdffffffffffffffff"),
    ],
)
def test_a_signed_integer_is_zigzag(value: int, expected: str) -> None:
    assert bincode.i64(value).hex() == expected


def test_a_text_counts_bytes_and_a_uuid_has_its_length() -> None:
    assert bincode.text("é") == b"\x02\xc3\xa9"
    assert bincode.uuid("00000000-0000-4000-8000-0000000000ff").hex() == (
        "10000000000000400080000000000000ff"
    )


@pytest.mark.parametrize("value", [-1, 2**64])
def test_a_varint_outside_64_bits_is_a_programmers_mistake(value: int) -> None:
    with pytest.raises(AssertionError):
        bincode.varint(value)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_no_varint_is_the_beginning_of_another(one: int, other: int) -> None:
    written = bincode.varint(one), bincode.varint(other)

    assert (one == other) == written[0].startswith(written[1])


@given(st.integers(-(2**63), 2**63 - 1))
def test_zigzag_keeps_every_integer_apart(value: int) -> None:
    zigzag = (value << 1) ^ (value >> 63)

    assert bincode.i64(value) == bincode.varint(zigzag)

"""Amounts are whole minor units of a known currency, and a split loses nothing."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical.literal_json import NumberLiteral, parse
from schemas.errors import (
    AmountNotRepresentableError,
    CurrencyUnsupportedError,
    MoneyError,
    SplitInvalidError,
)
from schemas.money import (
    EXPONENTS,
    MINOR_UNITS_MAX,
    Money,
    amount_of,
    check_representable,
    exponent_of,
    rail_granularity,
    split,
)
from tests.unit.schemas.canonical.vectors import EDGE, Vector, is_refused, name_of

_INTENTS: list[Vector] = EDGE["intents"]
_AMOUNTS = [vector for vector in _INTENTS if "amount_cents" in vector["set"]]
_CURRENCIES = [vector for vector in _INTENTS if "currency" in vector["set"]]


@pytest.mark.parametrize("vector", _AMOUNTS, ids=name_of)
def test_an_amount_is_accepted_exactly_where_the_vectors_accept_it(vector: Vector) -> None:
    literal = parse(json.dumps(vector["set"]["amount_cents"]).encode())

    if not is_refused(vector):
        assert amount_of(literal) == vector["set"]["amount_cents"]
        return
    with pytest.raises(MoneyError) as refused:
        amount_of(literal)
    assert refused.value.code in vector["why"]


@pytest.mark.parametrize("vector", _CURRENCIES, ids=name_of)
def test_a_currency_is_accepted_exactly_where_the_vectors_accept_it(vector: Vector) -> None:
    currency = vector["set"]["currency"]

    if not is_refused(vector):
        assert exponent_of(currency) in {0, 2}
        return
    with pytest.raises(CurrencyUnsupportedError) as refused:
        exponent_of(currency)
    assert refused.value.code in vector["why"]


@pytest.mark.parametrize(
    "raw", [b"1.0", b"1e2", b'"100"', b"true", b"null", b"[1]", b"0", b"-0", b"-1", b"100000000"]
)
def test_what_is_no_integer_of_minor_units_is_no_amount(raw: bytes) -> None:
    with pytest.raises(MoneyError) as refused:
        amount_of(parse(raw))
    assert refused.value.code == "amount_invalid"
    assert refused.value.http_status == 400


@pytest.mark.parametrize("currency", ["usd ", "US", "usdt", "xxx", "isk", "ugx", "mga", "Usd"])
def test_a_currency_outside_the_table_is_refused(currency: str) -> None:
    with pytest.raises(CurrencyUnsupportedError):
        Money(minor_units=1, currency=currency)


@pytest.mark.parametrize("minor_units", [-1, MINOR_UNITS_MAX + 1])
def test_money_outside_its_range_is_refused(minor_units: int) -> None:
    with pytest.raises(MoneyError):
        Money(minor_units=minor_units, currency="usd")


def test_the_table_holds_lower_case_codes_and_exponents_of_iso_4217() -> None:
    assert len(EXPONENTS) >= 30
    assert all(re.fullmatch("[a-z]{3}", code) for code in EXPONENTS)
    assert {code for code, exponent in EXPONENTS.items() if exponent == 3} == {
        "bhd",
        "jod",
        "kwd",
        "omr",
        "tnd",
    }
    assert exponent_of("jpy") == 0
    assert exponent_of("usd") == 2


@pytest.mark.parametrize(("currency", "granularity"), [("jpy", 1), ("usd", 1), ("kwd", 10)])
def test_the_rail_holds_thousandths_in_steps_of_ten(currency: str, granularity: int) -> None:
    assert rail_granularity(currency) == granularity


def test_an_amount_finer_than_the_rail_is_refused() -> None:
    check_representable(Money(minor_units=1230, currency="kwd"))
    check_representable(Money(minor_units=1, currency="jpy"))
    with pytest.raises(AmountNotRepresentableError, match="multiple of 10") as refused:
        check_representable(Money(minor_units=1234, currency="kwd"))
    assert refused.value.http_status == 422
    assert refused.value.code == "amount_not_representable"


@pytest.mark.parametrize(
    ("payee_cents", "principal_cents"), [(0, 100), (100, 0), (-1, 101), (50, 49), (50, 51)]
)
def test_parts_that_are_no_exact_split_are_refused(payee_cents: int, principal_cents: int) -> None:
    held = Money(minor_units=100, currency="usd")

    with pytest.raises(SplitInvalidError) as refused:
        split(held, payee_cents=payee_cents, principal_cents=principal_cents)
    assert refused.value.code == "split_invalid"


def test_a_part_finer_than_the_rail_is_refused() -> None:
    with pytest.raises(AmountNotRepresentableError):
        split(Money(minor_units=100, currency="kwd"), payee_cents=55, principal_cents=45)


@given(st.integers(2, MINOR_UNITS_MAX), st.data())
def test_an_exact_split_adds_up_to_what_is_held(minor_units: int, data: st.DataObject) -> None:
    held = Money(minor_units=minor_units, currency="usd")
    payee_cents = data.draw(st.integers(1, minor_units - 1))

    payee, principal = split(
        held, payee_cents=payee_cents, principal_cents=minor_units - payee_cents
    )

    assert payee.minor_units + principal.minor_units == held.minor_units
    assert payee.minor_units == payee_cents
    assert {payee.currency, principal.currency} == {"usd"}


@given(st.integers(1, MINOR_UNITS_MAX))
def test_every_amount_in_range_is_read_from_its_literal(amount: int) -> None:
    assert amount_of(NumberLiteral(str(amount))) == amount

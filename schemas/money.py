"""Money is whole minor units plus a currency; nothing here divides, rounds or knows a float.

The table holds the currencies in which a rail can hold an amount first and capture it later.
"""

from dataclasses import dataclass

from schemas.canonical.literal_json import Json, NumberLiteral
from schemas.errors import (
    AmountNotRepresentableError,
    CurrencyUnsupportedError,
    MoneyError,
    SplitInvalidError,
)

# Stripe's largest charge is eight digits of minor units (docs.stripe.com/currencies#minimum-and-maximum).
MINOR_UNITS_MAX = 99_999_999

# ISO 4217 exponents. Left out, because Stripe's unit is not the minor unit of ISO 4217 and one integer would
# mean two amounts: isk, ugx (Stripe wants hundredths that do not exist), mga (the reverse).
EXPONENTS: dict[str, int] = {
    "aed": 2, "aud": 2, "bgn": 2, "bhd": 3, "brl": 2, "cad": 2, "chf": 2, "clp": 0, "cop": 2,
    "crc": 2, "czk": 2, "dkk": 2, "eur": 2, "gbp": 2, "hkd": 2, "huf": 2, "idr": 2, "ils": 2,
    "inr": 2, "jod": 3, "jpy": 0, "kes": 2, "krw": 0, "kwd": 3, "mad": 2, "mxn": 2, "myr": 2,
    "nok": 2, "nzd": 2, "omr": 3, "pen": 2, "php": 2, "pln": 2, "pyg": 0, "qar": 2, "ron": 2,
    "sar": 2, "sek": 2, "sgd": 2, "thb": 2, "tnd": 3, "try": 2, "twd": 2, "usd": 2, "uyu": 2,
    "vnd": 0, "xaf": 0, "xof": 0, "zar": 2,
}  # fmt: skip

# Stripe holds three-decimal currencies to two decimals: the last digit must be 0.
_STRIPE_GRANULARITY_OF_THOUSANDTHS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An amount ≥ 0. Raises CurrencyUnsupportedError or MoneyError."""

    minor_units: int
    currency: str

    def __post_init__(self) -> None:
        exponent_of(self.currency)
        if not 0 <= self.minor_units <= MINOR_UNITS_MAX:
            raise MoneyError(f"it lies outside 0…{MINOR_UNITS_MAX}")


def exponent_of(currency: str) -> int:
    """Fraction digits of the major unit, exact spelling. Raises CurrencyUnsupportedError."""
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise CurrencyUnsupportedError(currency)
    return exponent


def amount_of(value: Json) -> int:
    """1…99,999,999 from an integer literal; a fraction, an exponent or a string is none.

    Raises MoneyError.
    """
    if not isinstance(value, NumberLiteral) or not value.is_integer_literal:
        raise MoneyError("it is not a JSON integer of minor units")
    amount = int(value.text)
    if not 1 <= amount <= MINOR_UNITS_MAX:
        raise MoneyError(f"it lies outside 1…{MINOR_UNITS_MAX}")
    return amount


def rail_granularity(currency: str) -> int:
    """The smallest step, in minor units, that `stripe_connect` holds.

    Raises CurrencyUnsupportedError. Source: docs.stripe.com/currencies#three-decimal.
    """
    return _STRIPE_GRANULARITY_OF_THOUSANDTHS if exponent_of(currency) == 3 else 1


def check_representable(money: Money) -> None:
    """Raises AmountNotRepresentableError if the rail would have to round."""
    granularity = rail_granularity(money.currency)
    if money.minor_units % granularity:
        raise AmountNotRepresentableError(
            minor_units=money.minor_units, currency=money.currency, granularity=granularity
        )


def split(held: Money, *, payee_cents: int, principal_cents: int) -> tuple[Money, Money]:
    """Payee's and principal's part: both > 0, together exactly what is held, each representable.

    Raises SplitInvalidError or AmountNotRepresentableError.
    """
    if payee_cents < 1 or principal_cents < 1:
        raise SplitInvalidError("each part of a split must be above 0")
    if payee_cents + principal_cents != held.minor_units:
        raise SplitInvalidError(
            f"{payee_cents} + {principal_cents} is not the held {held.minor_units}"
        )
    payee = Money(minor_units=payee_cents, currency=held.currency)
    principal = Money(minor_units=principal_cents, currency=held.currency)
    check_representable(payee)
    check_representable(principal)
    return payee, principal

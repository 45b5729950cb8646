"""The demo's sums are shown per currency, in units that people read."""

from deploy.local.demo_report import decimal, money_line


def test_minor_units_are_shown_with_two_decimals() -> None:
    assert [decimal(1), decimal(100), decimal(123_456_789)] == ["0.01", "1.00", "1,234,567.89"]


def test_sums_are_added_up_per_currency_and_nothing_is_shown_twice() -> None:
    nothing = {"placed_cents": 0, "held_cents": 0, "released_cents": 0, "custody_cents": 0}
    rows = [
        {**nothing, "currency": "usd", "placed_cents": 500, "released_cents": 500},
        {**nothing, "currency": "usd", "placed_cents": 300},
        {**nothing, "currency": "eur", "placed_cents": 200, "held_cents": 200},
    ]
    for row, refunded in zip(rows, (0, 300, 0), strict=True):
        row["refunded_cents"] = refunded

    line = money_line(rows)

    assert line == ("eur 2.00 placed = 2.00 held; usd 8.00 placed = 5.00 released + 3.00 refunded")

"""Which numbers a depth chooses."""

import pytest

from tests.support.depth import VARIABLE, by_depth


@pytest.mark.parametrize(
    ("chosen", "number", "without_long"),
    [(None, 1, 1), ("", 1, 1), ("usual", 1, 1), ("long", 2, 1), ("deep", 3, 3)],
)
def test_each_depth_has_its_number_and_long_is_usual_where_it_has_none(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, number: int, without_long: int
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if chosen is not None:
        monkeypatch.setenv(VARIABLE, chosen)

    assert by_depth(usual=1, long=2, deep=3) == number
    assert by_depth(usual=1, deep=3) == without_long


def test_a_word_that_is_no_depth_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "deeper")

    with pytest.raises(ValueError, match="deeper"):
        by_depth(usual=1, deep=2)

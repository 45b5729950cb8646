"""Query parameters and cursors: whatever does not fit is refused, by name."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.refused import RefusedError
from gateway.queries.minimum_seq import minimum_seq_of
from gateway.queries.parameters import (
    CURSOR_LENGTH_MAX,
    SEQ_MAX,
    Parameters,
    cursor_of,
    read_cursor,
)

KNOWN = ("limit", "cursor", "status", "did")
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=64)


def _parameters(*pairs: tuple[str, str]) -> Parameters:
    return Parameters(pairs, known=KNOWN)


@given(_TEXT)
def test_a_cursor_gives_its_position_back(position: str) -> None:
    assert read_cursor("intents", cursor_of("intents", position)) == position


@given(st.text(max_size=64))
def test_a_text_that_no_list_gave_is_refused_and_never_an_error(text: str) -> None:
    with suppress(RefusedError):
        position = read_cursor("intents", text)

        assert cursor_of("intents", position) == text


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "A" * (CURSOR_LENGTH_MAX + 1),
        cursor_of("keys", "5"),
        "aW50ZW50cw",
        cursor_of("intents", "\x00"),
        "_w",
    ],
    ids=["empty", "long", "other list", "no separator", "NUL", "no UTF-8"],
)
def test_a_cursor_of_another_list_or_form_is_refused(cursor: str) -> None:
    with pytest.raises(RefusedError) as refused:
        _parameters(("cursor", cursor)).cursor("intents")

    assert refused.value.code == "body_invalid"
    assert refused.value.details == {"parameter": "cursor"}


@pytest.mark.parametrize("pairs", [[("color", "red")], [("limit", "1"), ("limit", "1")]])
def test_an_unknown_or_repeated_parameter_is_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(RefusedError):
        _parameters(*pairs)


@pytest.mark.parametrize("text", ["0", "201", "-1", "+1", "01", "1.0", " 1", "", "٣", "1" * 17])
def test_a_limit_outside_its_bounds_is_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        _parameters(("limit", text)).limit(default=50, maximum=200)


def test_parameters_that_fit_are_read() -> None:
    parameters = _parameters(("limit", "200"), ("status", "open"), ("did", "did:web:a"))

    assert parameters.limit(default=50, maximum=200) == 200
    assert parameters.one_of("status", {"open", "funded"}) == "open"
    assert parameters.text("did") == "did:web:a"
    assert _parameters().limit(default=50, maximum=200) == 50
    assert _parameters().text("did") is None
    assert _parameters().cursor("intents") is None


@pytest.mark.parametrize("value", ["", "x" * 513, "a\x00b"])
def test_a_text_outside_its_bounds_is_refused(value: str) -> None:
    with pytest.raises(RefusedError):
        _parameters(("did", value)).text("did")


def test_a_missing_parameter_that_is_needed_is_refused() -> None:
    with pytest.raises(RefusedError):
        _parameters().required_integer("limit")


def test_the_minimum_seq_is_one_positive_integer_or_nothing() -> None:
    assert minimum_seq_of([]) is None
    assert minimum_seq_of(["7"]) == 7
    assert minimum_seq_of([str(SEQ_MAX)]) == SEQ_MAX
    for values in (["7", "7"], ["0"], ["07"], [str(SEQ_MAX + 1)]):
        with pytest.raises(RefusedError):
            minimum_seq_of(values)

"""The error tree: statuses and exit codes belong to classes, and the docstring draws what is there."""

import inspect
from collections.abc import Iterator

import pytest

from schemas import errors
from schemas.errors import (
    AmountNotRepresentableError,
    BodyInvalidError,
    BrokerUnavailableError,
    ChainBreakError,
    CheckpointMismatchError,
    CodecError,
    ConfigurationError,
    CurrencyUnsupportedError,
    DatabaseUnavailableError,
    InputError,
    InstantError,
    IntegrityError,
    OutageError,
    OwnershipLostError,
    PaybondError,
    RecognitionProofCode,
    RecognitionProofError,
    StateMismatchError,
    UnknownSchemaError,
)


def _classes(root: type[PaybondError]) -> Iterator[type[PaybondError]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


def _own_classes() -> list[type[PaybondError]]:
    """Those of this module: whether a program's own errors are loaded depends on what ran before."""
    return [each for each in _classes(PaybondError) if each.__module__ == errors.__name__]


def test_the_docstring_draws_every_class_once() -> None:
    drawn = inspect.getdoc(errors)
    assert drawn is not None

    for each in _own_classes():
        assert drawn.split().count(each.__name__) == 1, each.__name__


@pytest.mark.parametrize("each", _own_classes(), ids=lambda each: str(each.__name__))
def test_every_class_has_a_status_an_exit_code_and_a_wire_name(each: type[PaybondError]) -> None:
    assert each.http_status in {400, 401, 422, 500, 503}
    assert each.exit_code in {1, 2, 3}
    assert each.code.replace("_", "").isalpha()
    assert each.__name__.endswith("Error")


@pytest.mark.parametrize(
    ("root", "http_status", "exit_code"),
    [
        (InputError, 400, 1),
        (OutageError, 503, 3),
        (IntegrityError, 500, 1),
        (ConfigurationError, 500, 2),
    ],
)
def test_a_family_has_one_meaning_for_shells_and_for_http(
    root: type[PaybondError], http_status: int, exit_code: int
) -> None:
    assert root.http_status == http_status
    assert {each.exit_code for each in _own_classes() if issubclass(each, root)} == {exit_code}


@pytest.mark.parametrize("code", RecognitionProofCode)
def test_a_refused_proof_is_401_under_one_of_seven_codes(code: RecognitionProofCode) -> None:
    error = RecognitionProofError(code, "reason")

    assert (error.http_status, error.code) == (401, code.value)
    assert len(RecognitionProofCode) == 7


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InstantError(text="x" * 999, reason="no time"), "'" + "x" * 64 + "'"),
        (CurrencyUnsupportedError("u" * 99), "'" + "u" * 16 + "'"),
        (
            AmountNotRepresentableError(minor_units=5, currency="kwd", granularity=10),
            "multiple of 10",
        ),
        (BodyInvalidError(member="budget", reason="is missing"), "`budget` is missing"),
        (BrokerUnavailableError("timed out"), "timed out"),
        (DatabaseUnavailableError("refused"), "refused"),
        (ChainBreakError(tenant_id="acme", seq=7, reason="prev_hash"), "acme breaks at seq 7"),
        (CheckpointMismatchError(tenant_id="acme", size=7, reason="root"), "acme at size 7"),
        (CodecError("no header"), "no header"),
        (UnknownSchemaError(100_001), "100001"),
        (StateMismatchError(subject="acme", reason="tip"), "acme"),
        (OwnershipLostError(resource="slot 0", reason="fenced"), "slot 0"),
        (ConfigurationError("PAYBOND_X is unknown"), "PAYBOND_X"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_message_says_what_and_which(error: PaybondError, said: str) -> None:
    assert said in str(error)
    assert len(str(error)) < 200

"""Operation ids are told from forged ones without any outcome."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.attempt import Attempt
from gateway.commands.operation_id import Operation, operation_id_of, read_operation_id
from schemas.ids import CommandId, TenantId

KEY = b"k" * 32
ACME = TenantId("acme")
OPERATIONS = st.builds(
    Operation,
    command_id=st.uuids().map(str).map(CommandId),
    started_at=st.integers(0, 2**40).map(
        lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    ),
    attempt=st.none()
    | st.builds(
        Attempt, body=st.binary(min_size=4, max_size=4), sender=st.binary(min_size=4, max_size=4)
    ),
)


@given(operation=OPERATIONS)
def test_an_operation_id_is_read_back(operation: Operation) -> None:
    text = operation_id_of(KEY, ACME, operation)

    assert read_operation_id(KEY, ACME, text) == operation


@given(operation=OPERATIONS, position=st.integers(0, 53))
def test_a_changed_character_makes_it_a_forgery(operation: Operation, position: int) -> None:
    text = operation_id_of(KEY, ACME, operation)
    position = min(position, len(text) - 1)
    forged = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]

    assert read_operation_id(KEY, ACME, forged) is None


def test_an_id_from_before_attempts_were_in_it_is_read() -> None:
    operation = Operation(
        command_id=CommandId("7f2a9b1e-2f66-8f4f-9c6e-8f4b8e85c401"),
        started_at=datetime(2030, 1, 2, tzinfo=UTC),
    )

    given_then = "op_fyqbHi9mj0-cbo9LjoXEAQG43-wQAOWZrcM4obUq"

    assert operation_id_of(KEY, ACME, operation) == given_then
    assert read_operation_id(KEY, ACME, given_then) == operation


@given(operation=OPERATIONS)
def test_another_tenants_operation_is_nobodys(operation: Operation) -> None:
    text = operation_id_of(KEY, ACME, operation)

    assert read_operation_id(KEY, TenantId("acme-corp"), text) is None


@given(text=st.text(max_size=60))
def test_noise_is_no_operation(text: str) -> None:
    assert read_operation_id(KEY, ACME, text) is None

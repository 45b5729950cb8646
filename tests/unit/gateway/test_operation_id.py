"""Operation ids are told from forged ones without any outcome."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

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
)


@given(operation=OPERATIONS)
def test_an_operation_id_is_read_back(operation: Operation) -> None:
    text = operation_id_of(KEY, ACME, operation)

    assert read_operation_id(KEY, ACME, text) == operation


@given(operation=OPERATIONS, position=st.integers(0, 42))
def test_a_changed_character_makes_it_a_forgery(operation: Operation, position: int) -> None:
    text = operation_id_of(KEY, ACME, operation)
    position = min(position, len(text) - 1)
    forged = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]

    assert read_operation_id(KEY, ACME, forged) is None


@given(operation=OPERATIONS)
def test_another_tenants_operation_is_nobodys(operation: Operation) -> None:
    text = operation_id_of(KEY, ACME, operation)

    assert read_operation_id(KEY, TenantId("acme-corp"), text) is None


@given(text=st.text(max_size=60))
def test_noise_is_no_operation(text: str) -> None:
    assert read_operation_id(KEY, ACME, text) is None

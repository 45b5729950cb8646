"""A value that was made as its open twin is locked like any other of its class."""

from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from schemas.frozen_values import open_twin
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.commands import Command
from schemas.money import Money
from schemas.replacing import replace
from tests.support.builders import a_command, create_intent


@dataclass(slots=True)
class _Open:
    name: str


@dataclass(frozen=True)
class _WithoutSlots:
    name: str


@pytest.mark.parametrize("cls", [_Open, _WithoutSlots, Money, int])
def test_a_class_without_slots_or_lock_or_with_checks_of_its_own_has_no_twin(cls: type) -> None:
    with pytest.raises(AssertionError):
        open_twin(cls)


def test_copied_and_decoded_values_are_locked() -> None:
    command = a_command(create_intent(), number=1)

    made: list[Any] = [replace(command), decode_as(Command, encode(command))]

    for value in made:
        assert type(value) is Command
        assert value == command
        assert hash(value.actor) == hash(command.actor)
        with pytest.raises(FrozenInstanceError):
            setattr(value, "tenant_id", "another")  # noqa: B010 – the checker refuses it sooner

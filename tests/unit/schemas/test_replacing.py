"""A quicker `replace` means what the standard one means."""

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.intent_fold import IntentState
from schemas.messages.commands import Command
from schemas.messages.outcomes import Outcome
from schemas.money import Money
from schemas.replacing import replace
from tests.support.builders import a_command, create_intent
from tests.support.message_strategies import messages

CLASSES: tuple[type[Any], ...] = (IntentState, Command, Outcome)


@pytest.mark.parametrize("cls", CLASSES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_it_gives_what_the_standard_one_gives(cls: type[Any], data: st.DataObject) -> None:
    value, other = data.draw(messages(cls)), data.draw(messages(cls))
    names = data.draw(st.sets(st.sampled_from([field.name for field in dataclasses.fields(cls)])))
    changes = {name: getattr(other, name) for name in names}
    before = dataclasses.replace(value)

    changed = replace(value, **changes)

    assert changed == dataclasses.replace(value, **changes)
    assert type(changed) is cls
    assert value == before


def test_a_field_that_there_is_not_is_refused() -> None:
    command: Any = a_command(create_intent(), number=1)

    with pytest.raises(TypeError, match="Command has no field tenant"):
        replace(command, tenant="other")


def test_a_class_that_checks_itself_is_refused() -> None:
    with pytest.raises(AssertionError):
        replace(Money(minor_units=1, currency="usd"), minor_units=2)

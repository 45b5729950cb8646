"""Hypothesis strategies for any message class, derived from its annotations."""

import types
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

INSTANTS = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001 – hypothesis wants naive bounds beside timezones
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def messages(message: type) -> st.SearchStrategy[Any]:
    """Values of a message class with every field drawn from all that its Avro type can carry."""
    hints = get_type_hints(message, include_extras=True)
    return st.builds(message, **{f.name: _values(hints[f.name]) for f in fields(message)})


def _values(hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is Annotated:
        size = get_args(hint)[1].size
        return st.binary(min_size=size, max_size=size)
    if get_origin(hint) is tuple:
        return st.lists(_values(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) in {types.UnionType, Union}:
        return st.one_of([_values(member) for member in get_args(hint)])
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return messages(hint)
    return _primitive(hint)


def _primitive(hint: Any) -> st.SearchStrategy[Any]:
    plain: dict[Any, st.SearchStrategy[Any]] = {
        types.NoneType: st.none(),
        bool: st.booleans(),
        str: st.text(max_size=12),
        bytes: st.binary(max_size=12),
        int: st.integers(min_value=-(2**63), max_value=2**63 - 1),
        datetime: INSTANTS,
    }
    return plain[hint]

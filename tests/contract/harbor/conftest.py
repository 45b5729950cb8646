"""The same cases on memory, and on the session's broker under each group protocol it has."""

import pytest

from streams.runtime.shared_settings import GroupProtocol
from tests.contract.harbor.worlds import OpenWorld, kafka_world, memory_world, settings_for

MEMORY = "memory"
_CLASSIC = pytest.param(GroupProtocol.CLASSIC, marks=pytest.mark.integration)
_APACHE_ONLY = [
    pytest.param(protocol, marks=[pytest.mark.integration, pytest.mark.apache_only])
    for protocol in GroupProtocol
]


@pytest.fixture(params=[MEMORY, _CLASSIC, _APACHE_ONLY[-1]])
def open_world(request: pytest.FixtureRequest, *, is_apache: bool) -> OpenWorld:
    """What every broker can show."""
    return _world(request, is_apache=is_apache)


@pytest.fixture(params=[MEMORY, *_APACHE_ONLY])
def open_strict_world(request: pytest.FixtureRequest, *, is_apache: bool) -> OpenWorld:
    """What the embedded broker can't show: generations, stable offsets, fencing."""
    return _world(request, is_apache=is_apache)


def _world(request: pytest.FixtureRequest, *, is_apache: bool) -> OpenWorld:
    if request.param == MEMORY:
        return memory_world
    settings = settings_for(
        request.getfixturevalue("kafka"), is_apache=is_apache, protocol=request.param
    )
    return lambda: kafka_world(settings)

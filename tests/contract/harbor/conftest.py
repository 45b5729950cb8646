"""The same cases on memory, and on the session's broker under each group protocol it has."""

import pytest

from streams.runtime.shared_settings import GroupProtocol
from tests.contract.harbor.worlds import OpenWorld, kafka_world, memory_world, settings_for
from tests.support.brokers import EMBEDDED_REASON


@pytest.fixture(
    params=[
        "memory",
        pytest.param("classic", marks=pytest.mark.integration),
        pytest.param("kip848", marks=[pytest.mark.integration, pytest.mark.apache_only]),
    ]
)
def open_world(request: pytest.FixtureRequest, *, is_apache: bool) -> OpenWorld:
    """Opens a world of the parameter's kind."""
    if request.param == "memory":
        return memory_world
    needs_apache = request.node.get_closest_marker("not_on_embedded") is not None
    if needs_apache and not is_apache:
        pytest.skip(EMBEDDED_REASON)
    protocol = GroupProtocol.CONSUMER if request.param == "kip848" else GroupProtocol.CLASSIC
    settings = settings_for(
        request.getfixturevalue("kafka"), is_apache=is_apache, protocol=protocol
    )
    return lambda: kafka_world(settings)

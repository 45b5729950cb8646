"""A site per test: the session's broker with new topics, and a folder of its own."""

import asyncio
from pathlib import Path

import pytest

from streams.runtime.shared_settings import GroupProtocol
from tests.integration.harbor.programs import Site
from tests.integration.harbor.worlds import KafkaWorld, settings_for


@pytest.fixture
def bare_site(kafka: str, tmp_path: Path, *, is_apache: bool) -> Site:
    """A cluster without our topics."""
    settings = settings_for(kafka, is_apache=is_apache, protocol=GroupProtocol.CLASSIC)

    async def forget() -> None:
        world = KafkaWorld(settings)
        try:
            await world.forget()
        finally:
            await world.close()

    asyncio.run(forget())
    return Site(bootstrap=kafka, folder=tmp_path, is_apache=is_apache)


@pytest.fixture
def site(bare_site: Site) -> Site:
    """After `topics apply`."""
    applied = bare_site.call("topics", "apply")
    assert applied.status == 0, applied.talk
    return bare_site

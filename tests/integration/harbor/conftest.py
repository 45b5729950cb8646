"""A site per test: the session's broker with new topics, and a folder of its own."""

from pathlib import Path

import pytest

from schemas.topics import GROUP_HARBOR
from tests.integration.harbor.programs import Site
from tests.integration.harbor.worlds import SECONDS_MAX
from tests.support.records import forget


@pytest.fixture
def bare_site(kafka: str, tmp_path: Path, *, is_apache: bool) -> Site:
    """A cluster without our topics."""
    forget(kafka, group=GROUP_HARBOR, seconds=SECONDS_MAX)
    return Site(bootstrap=kafka, folder=tmp_path, is_apache=is_apache)


@pytest.fixture
def site(bare_site: Site) -> Site:
    """After `topics apply`."""
    applied = bare_site.call("topics", "apply")
    assert applied.status == 0, applied.talk
    return bare_site

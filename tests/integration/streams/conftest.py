"""The indexer's cluster: its subscription sees every ledger there is, so no other test's may be left."""

from collections.abc import Iterator

import pytest

from schemas.topics import GROUP_VIEWS
from streams.runtime.migrations import migrate
from tests.integration.streams.indexing import SECONDS_MAX, Cluster
from tests.support.brokers import TestBroker, chosen_broker, running_broker
from tests.support.databases import FreshDatabase
from tests.support.records import forget


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """For a test that stops its broker."""
    with running_broker(chosen_broker()) as broker:
        yield Cluster(bootstrap=broker.bootstrap, server=broker.server)


@pytest.fixture
def cluster(request: pytest.FixtureRequest, *, is_apache: bool) -> Cluster:
    """Topics and group as on the first day. Apache Kafka takes seconds to start and can forget; the other can't."""
    if not is_apache:
        own: Cluster = request.getfixturevalue("own_cluster")
        return own
    broker: TestBroker = request.getfixturevalue("kafka_broker")
    forget(broker.bootstrap, group=GROUP_VIEWS, seconds=SECONDS_MAX)
    return Cluster(bootstrap=broker.bootstrap)


@pytest.fixture
def migrated(postgres: FreshDatabase) -> FreshDatabase:
    migrate(postgres.owner_dsn)
    return postgres

"""Fixtures every test may ask for, and the guards that no test can do without.

Servers are started once a session and only if a test asks; names and databases are a test's own.
"""

import secrets
from collections.abc import Callable, Generator, Iterator
from functools import partial

import pytest

from deploy.local.embedded_postgres import EmbeddedPostgres
from tests.support.brokers import (
    EMBEDDED_REASON,
    ContainerUnavailableError,
    TestBroker,
    chosen_broker,
    running_broker,
)
from tests.support.databases import FreshDatabase, fresh_database, running_postgres
from tests.support.failures import FailuresAtOnce
from tests.support.figures import PROPERTY, figures_of
from tests.support.guards import (
    install_socket_guard,
    no_task_left_behind,
    no_thread_left_behind,
)
from tests.support.log_search import search

_APACHE_LANE = "--apache-lane"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        _APACHE_LANE,
        action="store_true",
        help="fail if the broker is not Apache Kafka, no apache_only test ran, or one was skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(_APACHE_LANE) and not chosen_broker().is_apache:
        raise pytest.UsageError(f"{_APACHE_LANE} needs PAYBOND_TEST_KAFKA=apache or HOST:PORT")


def pytest_sessionstart(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # A process of the Apache lane hands its reports to the one that shows them.
    if reporter is not None and not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(FailuresAtOnce(reporter))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if chosen_broker().is_apache:
        about_embedded = [item for item in items if item.get_closest_marker("embedded_only")]
        items[:] = [item for item in items if item not in about_embedded]
        config.hook.pytest_deselected(items=about_embedded)
        return
    for item in items:
        if item.get_closest_marker("apache_only"):
            item.add_marker(pytest.mark.skip(reason=EMBEDDED_REASON))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed and "apache_only" in report.keywords:
        _LaneCount.apache_passed += 1
    if report.skipped:
        _LaneCount.skipped += 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test's programs said on stdout, stderr and to `logging` holds no secret, or the test has failed."""
    report = yield
    found = [
        finding
        for name, text in report.sections
        for finding in search(text.encode(errors="replace"), source=name)
    ]
    if report.when == "teardown" and report.passed and found:
        report.outcome = "failed"
        report.longrepr = "in what it printed:\n" + "\n".join(map(str, found))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not session.config.getoption(_APACHE_LANE) or session.config.option.collectonly:
        return
    if _LaneCount.apache_passed == 0 or _LaneCount.skipped > 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for text in figures_of(terminalreporter):
        terminalreporter.write_line(text)
    if config.getoption(_APACHE_LANE):
        terminalreporter.write_line(
            f"Apache Kafka lane: {_LaneCount.apache_passed} apache_only tests passed (must be > 0), "
            f"{_LaneCount.skipped} skipped (must be 0)"
        )


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        install_socket_guard(patch)
        yield


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    with (
        pytest.MonkeyPatch.context() as patch,
        no_thread_left_behind(),
        no_task_left_behind(patch),
    ):
        yield


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[TestBroker]:
    """The session's broker with its handle, for tests that stop or kill it."""
    try:
        with running_broker(chosen_broker()) as broker:
            yield broker
    except ContainerUnavailableError as error:
        # Only where a container was asked for by name; in the Apache lane a skip is a failure.
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def kafka(kafka_broker: TestBroker) -> str:
    """Bootstrap servers of the session's broker."""
    return kafka_broker.bootstrap


@pytest.fixture(scope="session")
def is_apache() -> bool:
    """Whether the session's broker is Apache Kafka."""
    return chosen_broker().is_apache


@pytest.fixture
def show_at_end(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Show a text after the last test, whichever process ran this one and whatever becomes of it."""
    return partial(record_property, PROPERTY)


@pytest.fixture
def unique_name() -> str:
    """A name of this test alone, good for a topic, a group, a transactional id or a tenant."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The session's PostgreSQL; ask for `postgres` unless the server itself matters."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: EmbeddedPostgres) -> Iterator[FreshDatabase]:
    """An empty database of this test alone."""
    with fresh_database(postgres_server) as database:
        yield database


@pytest.fixture(scope="module")
def module_postgres(postgres_server: EmbeddedPostgres) -> Iterator[FreshDatabase]:
    """An empty database of this module: for tests that only read what the module wrote."""
    with fresh_database(postgres_server) as database:
        yield database


class _LaneCount:
    """What the Apache lane is judged by; with workers, the controller's counts are the session's."""

    apache_passed = 0
    skipped = 0

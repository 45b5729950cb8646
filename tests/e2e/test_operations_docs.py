"""Every command on the pages for operators, and for newcomers, is run as it stands there, against the whole system.

The pages say which variables they use (`docs/operations/README.md`); here they get values.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from deploy.local.demo import create_and_tell, terms_of
from deploy.local.demo_plan import Story
from schemas.ids import TenantId
from tests.e2e.conversations import planned, talk
from tests.e2e.dead_letters import two_letters
from tests.e2e.local_stack import BINARIES, LocalStack, running_stack
from tests.e2e.operations_pages import EXAMPLES, FIRST_PAGE, TRIED, pages, script_of, section_of
from tests.support.brokers import LIBRARIES_VARIABLE, ROOT, apache_libraries
from tests.support.records import create_topic

# On the embedded broker one command in some hundreds ended with a segmentation fault of the client library; operators
# have Apache Kafka.
pytestmark = [pytest.mark.integration, pytest.mark.apache_only]


# Every command starts a Python; the machine may be busy.
_SECONDS_MAX = 300
_STRANGERS_TOPIC = "strangers-topic"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with running_stack() as running:
        for folder in ("docs", "deploy"):
            (running.directory / folder).symlink_to(ROOT / folder)
        yield running


@pytest.fixture(scope="module")
def hanging(stack: LocalStack) -> Iterator[TopicPartition]:
    """The first record of a transaction that is open, on a topic that nobody of ours reads."""
    bootstrap = stack.local_file()["kafka_bootstrap"]
    create_topic(bootstrap, _STRANGERS_TOPIC)
    stranger = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": "stranger",
            # As long as the broker allows: the page is to end it, not the broker.
            "transaction.timeout.ms": 900_000,
            "log_level": 0,
        }
    )
    stranger.init_transactions(_SECONDS_MAX)
    stranger.begin_transaction()
    stranger.produce(_STRANGERS_TOPIC, value=b"never committed")
    assert stranger.flush(_SECONDS_MAX) == 0
    yield TopicPartition(_STRANGERS_TOPIC, 0, 0)
    stranger.purge()


@pytest.fixture(scope="module")
def variables(stack: LocalStack, hanging: TopicPartition) -> Mapping[str, str]:
    """What the pages' variables stand for in here."""
    intent = planned(Story.DONE)
    told = talk(stack, lambda client: create_and_tell(client, intent, terms_of(intent)))
    assert told.fault is None
    tenant = TenantId(stack.local_file()["tenant_id"])
    good, nonsense = two_letters(
        bootstrap=stack.local_file()["kafka_bootstrap"],
        tenant=tenant,
        issuer_key=next((stack.directory / ".paybond").rglob("issuer-key-cli")).read_text(),
        told=lambda *arguments: stack.run("paybond-harbor", *arguments).stdout,
    )
    effects = json.loads(stack.run("paybond-harbor", "effects", "list", "--json").stdout)
    mine = next(row for row in effects if row["tenant_id"] == tenant)
    return {
        "TENANT": tenant,
        "INTENT": mine["intent_id"],
        "TOPIC": hanging.topic,
        "PARTITION": str(hanging.partition),
        "OFFSET": str(hanging.offset),
        "LETTER": good,
        "NONSENSE": nonsense,
    }


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_of_the_page_works(
    stack: LocalStack, variables: Mapping[str, str], page: Path
) -> None:
    _run(page.read_text(), stack, variables)


def test_what_a_newcomer_types_works(stack: LocalStack, variables: Mapping[str, str]) -> None:
    """The first page last: it takes all down, and goes on with the proof that the examples fetched."""
    known = {**variables, "VKEY": stack.local_file()["checkpoint_vkey"]}

    _run(EXAMPLES.read_text(), stack, known)
    _run(section_of(FIRST_PAGE.read_text(), TRIED), stack, known)


def _run(page: str, stack: LocalStack, variables: Mapping[str, str]) -> None:
    ended = subprocess.run(
        ["bash", "-c", script_of(page)],
        check=False,
        capture_output=True,
        text=True,
        # A record's value is shown as it is.
        errors="replace",
        cwd=stack.directory,
        env={
            "PATH": f"{BINARIES}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            LIBRARIES_VARIABLE: str(apache_libraries()),
            # A client library that crashes should say where.
            "PYTHONFAULTHANDLER": "1",
            **variables,
        },
        timeout=_SECONDS_MAX,
    )

    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"

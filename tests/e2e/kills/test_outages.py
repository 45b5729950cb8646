"""Kafka is gone for half a minute, then PostgreSQL for a whole one, while clients work: it all comes back by itself.

Both are servers of the test, which `paybond-local` knows by their addresses: nobody but the test starts them again.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from deploy.local.apache_kafka import ApacheKafka
from deploy.local.embedded_postgres import EmbeddedPostgres
from deploy.local.stack import DATABASE
from tests.e2e.audited import audited, entries_of_whole
from tests.e2e.kills.acknowledgements import Acknowledgements
from tests.e2e.kills.clients import clients
from tests.e2e.kills.ledger_check import faults_of_all, ledgers_of
from tests.e2e.local_stack import LocalStack, running_stack
from tests.support.brokers import apache_libraries, temporary_directory
from tests.support.databases import OWNER

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

_KAFKA_OUT_SECONDS = 30.0
_POSTGRES_OUT_SECONDS = 60.0
# Back-off of the programs, on a machine that does other work.
_RECOVERY_SECONDS_MAX = 180.0
# What was under way when it went may still be answered.
_LAST_ANSWERS_SECONDS = 2.0
_SIDE_BY_SIDE = 16
_LOOK_SECONDS = 0.2
# A command waits 5 s for Kafka, or 10 s for a connection of the database; the rest is the machine's other work.
_ANSWER_SECONDS_MAX = 20.0
_NO_INTENT = "00000000-0000-4000-8000-000000000000"
_BLAME = (
    ("paybond-harbor", "dead-letters", "list"),
    ("paybond-harbor", "quarantine", "list"),
    ("paybond-streams", "quarantine", "list"),
)


class Stoppable(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(slots=True)
class System:
    """A stack, its servers, and what its clients were told."""

    stack: LocalStack
    kafka: ApacheKafka
    postgres: EmbeddedPostgres
    told: Acknowledgements
    recovered_after: dict[str, float] = field(default_factory=dict)

    def take_away(self, name: str, server: Stoppable, *, seconds: float) -> tuple[int, int]:
        """How a read and a command were answered in the middle of it; returns once all is well again."""
        self.wait_for_answer(after=time.monotonic())
        server.stop()
        gone_at = time.monotonic()
        time.sleep(seconds / 2)
        statuses = self.read_status(), self.command_status()
        time.sleep(max(0.0, gone_at + seconds - time.monotonic()))
        back_at = time.monotonic()
        server.start()
        self.told.read()
        answered = [
            told
            for told in self.told.told
            if told.sent_at > gone_at + _LAST_ANSWERS_SECONDS and told.is_decided
        ]
        assert answered == [], f"{name} was not gone"
        self.wait_for_answer(after=back_at)
        self.wait_for("ready programs", self.is_ready)
        self.recovered_after[name] = time.monotonic() - back_at
        return statuses

    def wait_for_answer(self, *, after: float) -> None:
        def is_answered() -> bool:
            self.told.read()
            return self.told.first_sent_after(after) is not None

        self.wait_for("an answer", is_answered)

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _RECOVERY_SECONDS_MAX
        while not is_so():
            assert time.monotonic() < deadline, f"no {what}: {self.stack.last_words()}"
            time.sleep(_LOOK_SECONDS)

    def is_ready(self) -> bool:
        programs = self.stack.status()["programs"]
        return all(entry["is_ready"] for entry in programs.values())

    def read_status(self) -> int:
        document = self.stack.local_file()
        return httpx.get(
            f"{document['base_url']}/harbor/ledger/v1/tip",
            headers={"authorization": f"Bearer {document['api_key']}"},
            timeout=30,
            trust_env=False,
        ).status_code

    def command_status(self) -> int:
        """Of a command that takes part in nothing, answered in seconds or the test has failed."""
        document = self.stack.local_file()
        asked_at = time.monotonic()
        status = httpx.post(
            f"{document['base_url']}/harbor/operator/v1/intents/{_NO_INTENT}/dispute/open",
            json={"reason_code": "outage"},
            headers={"authorization": f"Bearer {document['api_key']}"},
            timeout=30,
            trust_env=False,
        ).status_code
        assert time.monotonic() - asked_at < _ANSWER_SECONDS_MAX
        return status

    def lags(self) -> list[int]:
        """Of the read tables per tenant, and of Harbor per partition."""
        rows = json.loads(self.stack.run("paybond-streams", "status", "--json").stdout)
        harbor = json.loads(self.stack.run("paybond-harbor", "status").stdout)
        return [
            *(row["lag"] for row in rows),
            *(row["behind_at_most"] for row in harbor["partitions"]),
        ]


@contextmanager
def running_system(told: Acknowledgements) -> Iterator[System]:
    with temporary_directory("servers") as directory, ExitStack() as servers:
        kafka = ApacheKafka(data_directory=directory / "kafka", libraries=apache_libraries())
        postgres = EmbeddedPostgres(data_directory=directory / "postgres", is_durable=False)
        for server in (kafka, postgres):
            servers.callback(server.stop)
            server.start()
        password = secrets.token_hex(16)
        postgres.ensure_login(role=OWNER, password=password, can_create_roles=True)
        postgres.ensure_database(name=DATABASE, owner=OWNER)
        dsn = postgres.dsn(role=OWNER, password=password, database=DATABASE)
        with running_stack("--postgres", dsn, kafka=kafka.bootstrap) as stack:
            yield System(stack=stack, kafka=kafka, postgres=postgres, told=told)


def test_an_outage_of_kafka_and_one_of_postgres_lose_nothing_and_need_nobody(
    tmp_path: Path, show_at_end: Callable[[str], None]
) -> None:
    told = Acknowledgements(path=tmp_path / "acknowledged.jsonl")
    with running_system(told) as system:
        stack = system.stack
        with clients(stack, told, seed=secrets.randbelow(10**9), side_by_side=_SIDE_BY_SIDE):
            without_kafka = system.take_away("Kafka", system.kafka, seconds=_KAFKA_OUT_SECONDS)
            without_postgres = system.take_away(
                "PostgreSQL", system.postgres, seconds=_POSTGRES_OUT_SECONDS
            )
        told.read()
        system.wait_for("end of the lag", lambda: not any(system.lags()))
        checked = audited(stack)
        blamed = [stack.run(*looked, "--json").stdout for looked in _BLAME]
        ledgers = ledgers_of(stack.local_file()["kafka_bootstrap"])

    show_at_end(
        f"outages: {len(told.decided)} commands acknowledged; asked again: {dict(told.retried)};"
        f" all ready again after {system.recovered_after} seconds"
    )
    assert (without_kafka, without_postgres) == ((200, 503), (503, 503))
    assert faults_of_all(ledgers, told.told) == []
    assert entries_of_whole(checked) == {tenant: len(ledgers[tenant]) for tenant in ledgers}
    # An outage is nobody's fault: no command was given up, no tenant stopped.
    assert [json.loads(found) for found in blamed] == [[], [], []]
    assert "500" not in told.retried

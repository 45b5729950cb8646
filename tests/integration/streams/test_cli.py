"""`paybond-streams` as an operator runs it: a process, its exit codes, and what it prints."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from deploy.local.server_process import free_port
from schemas.topics import ledger_topic
from streams.cli import cli
from streams.runtime.migrations import migrate
from tests.integration.streams.indexing import Cluster, Look
from tests.support.databases import FreshDatabase
from tests.support.ledgers import DEPLOYMENT, LEDGER_KEY, a_ledger
from tests.support.log_search import search

pytestmark = pytest.mark.integration

SECONDS_MAX = 40.0


@pytest.fixture
def environment(cluster: Cluster, postgres: FreshDatabase) -> dict[str, str]:
    migrate(postgres.owner_dsn)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PAYBOND_")
    }
    return inherited | {
        "PAYBOND_KAFKA_BOOTSTRAP": cluster.bootstrap,
        "PAYBOND_KAFKA_PARTITIONS": "4",
        "PAYBOND_POSTGRES_DSN": postgres.login_dsn("paybond_streams"),
        "PAYBOND_DEPLOYMENT": DEPLOYMENT,
        "PAYBOND_STREAMS_LEDGER_VERIFIER_KEYS": LEDGER_KEY.hex(),
        "PAYBOND_STREAMS_PRIVATE_PORT": str(free_port()),
    }


def _command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "paybond-streams"), *arguments]


def _call(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*arguments),
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )


def _ask(environment: dict[str, str], *arguments: str) -> Result:
    """As `_call`, without the second that a process takes to start."""
    return CliRunner().invoke(cli, list(arguments), env=environment)


def test_a_member_indexes_shows_its_lag_and_drains_on_sigterm(
    cluster: Cluster, environment: dict[str, str], postgres: FreshDatabase
) -> None:
    acme, beta = a_ledger("acme", ["released"]), a_ledger("beta", ["open"])
    cluster.create(acme.tenant_id, beta.tenant_id)
    cluster.write(acme)
    cluster.write(beta)
    last = beta.records[-1]
    cluster.produce([(ledger_topic(beta.tenant_id), last.key, last.value)])
    before = json.loads(_ask(environment, "status", "--json").stdout)
    member = subprocess.Popen(
        _command("run", "views"), env=environment, stderr=subprocess.PIPE, text=True
    )
    look = Look(database=postgres)
    deadline = time.monotonic() + SECONDS_MAX
    while look.seq("acme") < len(acme.records) or look.count("streams.quarantine") == 0:
        assert time.monotonic() < deadline, "not within the time"
        assert member.poll() is None, "it ended"
        time.sleep(0.2)
    address = f"http://127.0.0.1:{environment['PAYBOND_STREAMS_PRIVATE_PORT']}"
    ready = httpx.get(f"{address}/readyz").status_code
    member.send_signal(signal.SIGTERM)
    _, log = member.communicate(timeout=SECONDS_MAX)

    assert member.returncode == 0, log
    assert search(log.encode()) == []
    assert ready == 200
    assert '"event": "drained"' in log
    assert {row["tenant_id"]: row["lag"] for row in before} == {
        "acme": len(acme.records),
        "beta": len(beta.records),
    }
    after = json.loads(_ask(environment, "status", "--json").stdout)
    assert {row["tenant_id"]: (row["lag"], row["quarantined"]) for row in after} == {
        "acme": (0, None),
        "beta": (0, "chain_break"),
    }
    [row] = json.loads(_ask(environment, "quarantine", "list", "--json").stdout)
    assert (row["tenant_id"], row["offset"]) == ("beta", len(beta.records))
    release = ["quarantine", "release", str(row["id"]), "--reason", "duplicate", "--by", "op-1"]
    assert _ask(environment, *release, "--skip-offset", str(row["offset"])).exit_code == 0
    assert _ask(environment, *release).exit_code == 1
    assert json.loads(_ask(environment, "quarantine", "list", "--json").stdout) == []
    checkpoints = json.loads(_ask(environment, "checkpoints", "list", "--json").stdout)
    assert {row["projection"] for row in checkpoints} >= {"ledger", "evidence", "outcomes"}


def test_a_member_without_keys_to_trust_refuses_to_start(environment: dict[str, str]) -> None:
    del environment["PAYBOND_STREAMS_LEDGER_VERIFIER_KEYS"]

    refused = _call(environment, "run", "views")

    assert refused.returncode == 2
    assert "PAYBOND_STREAMS_LEDGER_VERIFIER_KEYS" in refused.stderr


def test_a_member_without_its_database_ends_as_an_outage(environment: dict[str, str]) -> None:
    environment["PAYBOND_POSTGRES_DSN"] = f"host=127.0.0.1 port={free_port()} user=nobody dbname=x"

    refused = _call(environment, "run", "views")

    assert refused.returncode == 3
    assert "Postgres" in refused.stderr


def test_a_misspelt_setting_refuses_to_start(environment: dict[str, str]) -> None:
    environment["PAYBOND_STREAMS_BATCH_RECORD_MAX"] = "1"

    refused = _call(environment, "run", "views")

    assert refused.returncode == 2
    assert "PAYBOND_STREAMS_BATCH_RECORD_MAX" in refused.stderr

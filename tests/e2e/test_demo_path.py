"""The whole system as a stranger gets it: brought up by two words, spoken to over HTTP, restarted in the middle.

One stack for the module, with a broker of its own kind (`PAYBOND_TEST_KAFKA`), as separate processes.
"""

import asyncio
import json
import re
import signal
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from deploy.local.demo import create_and_tell, entries_of, terms_of
from deploy.local.demo_client import DemoClient, GatewayUnavailableError, HttpAnswer
from deploy.local.demo_plan import Story
from deploy.local.demo_proof import check_proof, read_from_kafka
from tests.e2e.audited import audited, entries_of_whole
from tests.e2e.conversations import planned, talk
from tests.e2e.local_stack import (
    READY_SECONDS_MAX,
    LocalStack,
    run_in,
    running_stack,
)
from tests.e2e.planted import Sender
from tests.support.brokers import BrokerKind, chosen_broker

pytestmark = pytest.mark.integration

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with running_stack() as running:
        yield running


async def until(
    call: Callable[[], Awaitable[HttpAnswer]], is_done: Callable[[HttpAnswer], bool]
) -> HttpAnswer:
    """Ask as a patient client does: an outage of seconds is waited out."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            answer = await call()
        except GatewayUnavailableError:
            assert time.monotonic() < deadline
            continue
        if is_done(answer):
            return answer
        assert answer.status < 400, answer.text
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.2)


def timeline(stack: LocalStack, intent_id: str, *, entries: int) -> list[str]:
    """Event types, once so many entries can be read."""
    path = f"/harbor/operator/v1/intents/{intent_id}"
    answer = talk(
        stack,
        lambda client: until(
            lambda: client.get(path),
            lambda answer: len(answer.document["timeline"]) >= entries,
        ),
    )
    return [item["event_type"] for item in answer.document["timeline"]]


@pytest.mark.parametrize("story", list(Story))
@pytest.mark.parametrize("second_tenant", [False, True])
def test_every_story_ends_as_it_must(
    stack: LocalStack, story: Story, *, second_tenant: bool
) -> None:
    intent = planned(story)

    told = talk(
        stack,
        lambda client: create_and_tell(client, intent, terms_of(intent)),
        second_tenant=second_tenant,
    )

    assert told.fault is None
    assert told.state == intent.final_state


def test_an_entrys_record_is_on_kafka_and_its_proof_convinces_a_script_with_one_key(
    stack: LocalStack,
) -> None:
    intent = planned(Story.DONE)

    async def conversation(client: DemoClient) -> tuple[Any, Any]:
        await create_and_tell(client, intent, terms_of(intent))
        entries = await entries_of(client, intent.intent_id)
        return entries, await check_proof(client, entries[-1])

    entries, check = talk(stack, conversation)
    document = stack.local_file()
    records = read_from_kafka(document["kafka_bootstrap"], document["tenant_id"])

    assert [entry.event_type for entry in entries][0::7] == ["intent_created", "released"]
    assert all(records[entry.seq].value == entry.value for entry in entries)
    assert check is not None
    assert check.is_accepted, check.output
    assert check.is_forgery_refused


def test_another_tenants_intent_is_not_there(stack: LocalStack) -> None:
    intent = planned(Story.DONE)
    talk(stack, lambda client: create_and_tell(client, intent, terms_of(intent)))

    answer = talk(
        stack,
        lambda client: client.get(f"/harbor/operator/v1/intents/{intent.intent_id}"),
        second_tenant=True,
    )

    assert (answer.status, answer.code) == (404, "intent_not_found")


def test_programs_that_are_restarted_in_the_middle_lose_nothing(stack: LocalStack) -> None:
    intent = planned(Story.DONE)
    intent_id = intent.intent_id

    created = talk(stack, lambda client: client.create(terms_of(intent)))
    stack.end("harbor", signal.SIGTERM)
    funded = talk(
        stack,
        lambda client: until(lambda: client.fund(intent_id), lambda answer: answer.status == 200),
    )
    stack.end("views", signal.SIGTERM)
    evidence = talk(stack, lambda client: client.submit_evidence(intent_id, intent.payload))
    stack.end("gateway", signal.SIGTERM)
    confirmed = talk(stack, lambda client: client.confirm(intent_id))
    stack.end("rails", signal.SIGTERM)
    read = talk(
        stack,
        lambda client: until(
            lambda: client.get(f"/harbor/operator/v1/intents/{intent_id}"),
            lambda answer: answer.document.get("state") == "released",
        ),
    )

    assert created.status == 201
    assert funded.document["funded"] is True
    assert evidence.document["predicate_passed"] is True
    assert confirmed.status in {200, 202}
    assert read.document["released_cents"] == intent.amount_cents


def test_a_killed_harbor_comes_back_and_goes_on(stack: LocalStack) -> None:
    intent = planned(Story.DISPUTE_SPLIT)
    said_before = len(stack.said())

    stack.end("harbor", signal.SIGKILL)
    told = talk(stack, lambda client: create_and_tell(client, intent, terms_of(intent)))

    said = stack.said()[said_before:]
    assert re.search(r"harbor was ended by SIGKILL; it is started again in \d+ s\.", said)
    # Only the embedded broker would wait for the dead member for ever.
    assert ("Restarting Kafka" in said) is (chosen_broker().kind is BrokerKind.EMBEDDED)
    assert told.state == "resolved_split"


@pytest.mark.apache_only
def test_a_pause_outlives_the_workers_that_are_killed_and_what_it_held_back_is_asked_once(
    stack: LocalStack,
) -> None:
    tenant = stack.local_file()["tenant_id"]
    intent = planned(Story.DONE)
    intent_id = intent.intent_id

    paused = stack.run("paybond-harbor", "rails", "pause", "--tenant", tenant, "--reason", "test")
    talk(stack, lambda client: client.create(terms_of(intent)))
    asked = talk(stack, lambda client: client.fund(intent_id))
    stack.end("rails", signal.SIGKILL)
    stack.end("harbor", signal.SIGKILL)
    asked_again = talk(stack, lambda client: client.fund(intent_id))
    held_back = timeline(stack, intent_id, entries=2)
    waiting = talk(
        stack,
        lambda client: until(
            lambda: client.get(f"/harbor/operator/v1/intents/{intent_id}"),
            lambda answer: answer.document["next_action"]["blocked_by"] == "rails_paused",
        ),
    )
    resumed = stack.run("paybond-harbor", "rails", "resume", "--tenant", tenant, "--reason", "test")
    funded = talk(
        stack,
        lambda client: until(lambda: client.fund(intent_id), lambda answer: answer.status == 200),
    )

    assert (paused.returncode, resumed.returncode) == (0, 0), (paused.stderr, resumed.stderr)
    for answer in (asked, asked_again):
        assert answer.status == 202, answer.text
        assert answer.document["next_action"]["blocked_by"] == "rails_paused"
    assert waiting.document["next_action"]["kind"] == "resume_rails"
    assert held_back == ["intent_created", "settlement_rail_requested"]
    assert funded.document["funded"] is True
    assert timeline(stack, intent_id, entries=3)[2:] == ["settlement_hold_placed"]


def test_a_second_up_says_that_it_already_runs(stack: LocalStack) -> None:
    pids = {name: entry["pid"] for name, entry in stack.status()["programs"].items()}

    second = stack.run("paybond-local", "up", "--detach")

    assert second.returncode == 0
    assert "already runs" in second.stderr
    assert pids == {name: entry["pid"] for name, entry in stack.status()["programs"].items()}


def test_local_json_is_its_owners_alone_and_every_address_in_it_answers(stack: LocalStack) -> None:
    path = stack.directory / ".paybond" / "local.json"
    document = stack.local_file()

    answers = [
        httpx.get(url, trust_env=False)
        for url in (*document["metrics_urls"].values(), f"{document['registry_url']}/subjects")
    ]

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {answer.status_code for answer in answers} == {200}


def test_the_demo_needs_base_url_and_keys_and_finds_its_first_intent_again(
    stack: LocalStack, tmp_path: Path
) -> None:
    given = _without_servers(stack.local_file())
    (tmp_path / "given.json").write_text(json.dumps(given))
    arguments = ("demo", "--intents", "7", "--local-file", "given.json")

    first = run_in(tmp_path, "paybond-local", *arguments)
    second = run_in(tmp_path, "paybond-local", *arguments)

    assert first.returncode == 0, first.stdout + first.stderr
    assert second.returncode == 0, second.stdout + second.stderr
    assert "already there" in second.stdout
    assert "GOOD" in second.stdout


def test_every_topic_and_table_agrees_with_the_ledger_read_again(stack: LocalStack) -> None:
    assert entries_of_whole(audited(stack)).keys() == {"tenant-vec", "tenant-two"}


def test_no_log_repeats_what_was_sent_taken_or_refused(stack: LocalStack) -> None:
    intent = planned(Story.DISPUTE_SPLIT)
    sender = Sender(stack.local_file())

    told = sender.tell(intent)
    statuses = sender.ask_in_vain(intent.intent_id)
    sender.write_what_nobody_can_read()
    stack.end("gateway", signal.SIGTERM)

    assert told.fault is None
    assert set(statuses) == {400, 401, 405, 409, 413, 431}
    assert stack.found_in_logs(*sender.planted) == []


def _without_servers(document: Mapping[str, Any]) -> dict[str, Any]:
    hidden = {"kafka_bootstrap", "postgres_dsn", "registry_url", "metrics_urls"}
    return {name: value for name, value in document.items() if name not in hidden}

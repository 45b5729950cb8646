"""One intent from creation to release where every program has only the rights that `topics acls` grants it."""

import asyncio
import json
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from deploy.local.demo import client_of, create_and_tell, terms_of
from deploy.local.demo_plan import PlannedIntent, Story
from deploy.local.demo_report import Told
from deploy.local.generated_keys import Secret
from deploy.local.programs import Port, ProgramName, Role
from schemas.ids import TenantId
from schemas.topics import Program
from streams.runtime.migrations import migrate
from tests.e2e.conversations import planned
from tests.e2e.dead_letters import two_letters
from tests.e2e.guarded_stack import GuardedStack, guarded_stack
from tests.support.databases import FreshDatabase

pytestmark = [pytest.mark.integration, pytest.mark.apache_only]

_TENANT = ("--tenant", "tenant-vec")
_TOOLS: tuple[tuple[Program, tuple[str, ...]], ...] = (
    (Program.CLI, ("status",)),
    (Program.CLI, ("fsck", "--all")),
    (Program.CLI, ("topics", "diff")),
    (Program.CLI, ("schemas", "check")),
    (Program.CLI, ("tenants", "create", "tenant-two", "--environment", "sandbox")),
    (Program.CLI, ("tenants", "list")),
    (Program.CLI, ("quarantine", "list")),
    (Program.CLI, ("dead-letters", "list")),
    (Program.CLI, ("effects", "list")),
    (Program.CLI, ("holds", "list")),
    (Program.CLI, ("rails", "pause", *_TENANT, "--reason", "a test")),
    (Program.CLI, ("rails", "status")),
    (Program.CLI, ("rails", "resume", *_TENANT, "--reason", "a test")),
    (Program.STREAMS, ("status",)),
    (Program.STREAMS, ("checkpoints", "list")),
    (Program.STREAMS, ("quarantine", "list")),
)


@pytest.fixture(scope="module")
def stack() -> Iterator[GuardedStack]:
    with guarded_stack() as running:
        yield running


@pytest.fixture(scope="module")
def intent() -> PlannedIntent:
    return planned(Story.DONE)


def _told(stack: GuardedStack, intent: PlannedIntent) -> Told:
    async def conversation() -> Told:
        async with httpx.AsyncClient(
            base_url=stack.machine.url(Port.GATEWAY), timeout=30, trust_env=False
        ) as http:
            return await create_and_tell(client_of(http, stack.tenant), intent, terms_of(intent))

    return asyncio.run(conversation())


def test_without_rights_a_program_sees_no_topic_and_says_which_right_may_be_missing(
    stack: GuardedStack,
) -> None:
    """The others mean something: users are known, and what nobody granted is refused."""
    assert stack.refused.returncode == 1
    assert "paybond.commands does not exist" in stack.refused.stdout
    assert "what may not be described looks missing, too: topics acls" in stack.refused.stdout


def test_an_intent_goes_from_creation_to_release_with_the_rights_that_are_granted(
    stack: GuardedStack, intent: PlannedIntent
) -> None:
    told = _told(stack, intent)

    assert told.fault is None
    assert told.state == "released"
    assert {watched.restarts for watched in stack.supervisor.watched} == {0}
    logs = {name: stack.log(name) for name in ProgramName}
    assert [name for name, log in logs.items() if "AUTHORIZATION" in log] == []


@pytest.mark.parametrize(("program", "arguments"), _TOOLS, ids=str)
def test_a_tool_does_its_work_with_the_rights_that_are_granted(
    stack: GuardedStack, program: Program, arguments: tuple[str, ...]
) -> None:
    ended = stack.run(program, *arguments)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "AUTHORIZATION" not in ended.stderr


def test_dead_letters_are_replayed_and_discarded_with_the_rights_that_are_granted(
    stack: GuardedStack,
) -> None:
    good, nonsense = two_letters(
        bootstrap=stack.plain_bootstrap,
        tenant=TenantId(stack.tenant.tenant_id),
        issuer_key=stack.machine.keys.hex(Secret.ISSUER_KEY_CLI),
        told=lambda *arguments: stack.run(Program.CLI, *arguments).stdout,
    )
    reason = ("--reason", "a test")

    shown = stack.run(Program.CLI, "dead-letters", "show", "--letter", good)
    replayed = stack.run(Program.CLI, "dead-letters", "replay", "--letter", good, *reason)
    discarded = stack.run(Program.CLI, "dead-letters", "discard", "--letter", nonsense, *reason)

    for ended in (shown, replayed, discarded):
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads(stack.run(Program.CLI, "dead-letters", "list", "--json").stdout) == []


def test_a_release_from_quarantine_is_decided_with_the_rights_that_are_granted(
    stack: GuardedStack,
) -> None:
    ended = stack.run(Program.CLI, "quarantine", "release", *_TENANT, "--reason", "a test")

    # Harbor checks the ledger again, whether or not anything was found before.
    assert json.loads(ended.stdout)["result"] == "done", ended.stdout + ended.stderr


def test_the_gateways_rows_are_restored_with_the_rights_that_are_granted(
    stack: GuardedStack, postgres: FreshDatabase
) -> None:
    migrate(postgres.owner_dsn)

    ended = stack.run(
        Program.GATEWAY, "rows", "restore", postgres_dsn=postgres.login_dsn(Role.GATEWAY)
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    with psycopg.connect(postgres.superuser_dsn) as looking:
        row = looking.execute("SELECT count(*) FROM gateway.api_keys").fetchone()
    assert row == (1,)


def test_the_intent_is_shown_with_the_rights_that_are_granted(
    stack: GuardedStack, intent: PlannedIntent
) -> None:
    shown = stack.run(
        Program.CLI, "intents", "show", *_TENANT, "--intent", intent.intent_id, "--json"
    )

    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)

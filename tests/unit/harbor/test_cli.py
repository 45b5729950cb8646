"""The tools as they are typed: what is refused, what is put on record, and what is said of what can't be read."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from harbor.dead_letters.reading import letter_id_of
from schemas.ids import TenantId
from schemas.messages.avro_codec import encode
from schemas.messages.commands import Command, FundIntent, PauseRails
from schemas.messages.operations import DeadLetter
from schemas.messages.shared import RailAnswerKind
from schemas.partitioner import partition_of
from schemas.topics import DEAD_LETTERS, INTENTS, tenant_key
from tests.support.builders import TENANT, a_command, an_intent_id, rail_answer
from tests.support.harbor_world import PARTITIONS, HarborWorld
from tests.unit.harbor.command_line import CommandLine, DecidingSender, Told
from tests.unit.harbor.engine.test_life_of_an_intent import CREATE, FUND, PROVISION, answer_of

SHOW = ("intents", "show", "--tenant", TENANT, "--intent", an_intent_id())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def world() -> HarborWorld:
    return HarborWorld()


@pytest.fixture
def line(
    world: HarborWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(monkeypatch, capsys, world)


def test_a_dossier_that_exists_is_refused_and_stays(line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "dossier.json").write_text("another")
    told = line.told(*SHOW, "--dossier", "dossier.json")

    assert told.status == 2
    assert "dossier.json exists" in told.talk
    assert (tmp_path / "dossier.json").read_text() == "another"


def test_a_dossier_in_a_folder_that_is_not_there_is_refused_before_the_ledger_is_read(
    line: CommandLine,
) -> None:
    told = line.told(*SHOW, "--dossier", "missing/dossier.json")

    assert told.status == 2
    assert "there is no folder missing" in told.talk
    assert told.out == ""


def test_an_unknown_security_protocol_is_a_usage_error(
    line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYBOND_KAFKA_SECURITY_PROTOCOL", "tls")
    told = line.told("quarantine", "list")

    assert told.status == 2
    assert "PAYBOND_KAFKA_SECURITY_PROTOCOL: Input should be" in told.talk


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("rails", "pause", "--reason", "x", "--tenant", "No_Tenant"), "is no tenant id"),
        (("quarantine", "release", "--reason", "x", "--tenant", "../x"), "is no tenant id"),
        (("dead-letters", "list", "--tenant", "a"), "is no tenant id"),
        (("intents", "show", "--tenant", TENANT, "--intent", "1"), "is no intent id"),
        (("effects", "list", "--older-than", "soon"), "is no duration"),
        (("holds", "list", "--expiring", "3"), "is no duration"),
        (("topics", "acls", "--tenant", TENANT), "--tenant and --principal go together"),
        (("quarantine", "list", "--partitions", "0"), "PAYBOND_KAFKA_PARTITIONS"),
        (("quarantine", "list", "--kafka-bootstrap", ""), "PAYBOND_KAFKA_BOOTSTRAP"),
    ],
)
def test_what_makes_no_sense_is_refused_before_kafka_is_asked(
    line: CommandLine, arguments: tuple[str, ...], why: str
) -> None:
    told = line.told(*arguments)

    assert (told.status, told.out) == (2, "")
    assert why in told.talk


PAUSE = ("rails", "pause", "--tenant", TENANT)
RESUME = ("rails", "resume", "--tenant", TENANT)
RELEASE = ("quarantine", "release", "--tenant", TENANT)
REPLAY = ("dead-letters", "replay", "--letter", "paybond-harbor/paybond.commands/1/7")
DISCARD = ("dead-letters", "discard", "--letter", "paybond-harbor/paybond.commands/1/7")
REASON = ("--reason", "double charges, see the incident")


@pytest.mark.parametrize("arguments", [PAUSE, RESUME, RELEASE, REPLAY, DISCARD])
@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("", "it is blank"),
        (" \t", "it is blank"),
        ("x" * 501, "it has 501 characters"),
        ("two\nlines", "can't be printed"),
        ("\x1b]0;owned\x07", "can't be printed"),
        ("no UTF-8: \udc80", "can't be printed"),
    ],
)
def test_a_reason_that_nobody_could_read_later_is_refused(
    line: CommandLine, arguments: tuple[str, ...], reason: str, why: str
) -> None:
    told = line.told(*arguments, "--reason", reason)

    assert (told.status, told.out) == (2, "")
    assert why in told.talk
    assert "--reason" in told.talk


def test_a_reason_of_500_characters_is_taken(line: CommandLine, world: HarborWorld) -> None:
    asyncio.run(world.decide(PROVISION))

    assert line.told(*PAUSE, "--reason", "ü" * 500).status == 0


def test_who_decided_is_on_record(
    line: CommandLine, world: HarborWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(world.decide(PROVISION, CREATE))
    assert line.told(*PAUSE, *REASON, "--by", "op-7f3a").status == 0
    (paused,) = json.loads(line.told("rails", "status", "--json").out)
    assert line.told(*RESUME, *REASON).status == 0
    monkeypatch.setenv("PAYBOND_HARBOR_OPERATOR", "op-9c21")
    assert line.told(*PAUSE, *REASON).status == 0
    (paused_again,) = json.loads(line.told("rails", "status", "--json").out)
    bury(world, tenant_id=TENANT)
    assert line.told(*DISCARD, *REASON).status == 0
    (letter,) = json.loads(line.told("dead-letters", "list", "--all", "--json").out)
    line.told(*RELEASE, *REASON, "--by", "op-7f3a")

    assert paused["paused_by"] == {"kind": "cli", "ref": "op-7f3a"}
    assert paused_again["paused_by"]["ref"] == "op-9c21"
    assert letter["dispositions"][0]["actor"]["ref"] == "op-9c21"
    assert isinstance(line.sender, DecidingSender)
    assert [one.actor.ref for one in line.sender.sent] == ["op-7f3a", "cli", "op-9c21", "op-7f3a"]


@pytest.mark.parametrize("arguments", [PAUSE, RESUME, RELEASE, REPLAY, DISCARD])
@pytest.mark.parametrize("by", ["", " ", "x" * 101, "a\nb", "\udc80"])
def test_an_operator_that_no_record_could_name_is_refused(
    line: CommandLine, arguments: tuple[str, ...], by: str
) -> None:
    told = line.told(*arguments, *REASON, "--by", by)

    assert (told.status, told.out) == (2, "")
    assert "PAYBOND_HARBOR_OPERATOR" in told.talk


class Lost:
    """A sender whose commands nobody decides."""

    def __init__(self) -> None:
        self.sent: list[Command] = []

    async def send(self, command: Command) -> None:
        self.sent.append(command)


def attempt_in(told: Told) -> str:
    first, *_ = told.talk.splitlines()
    word, attempt = first.split(" ")
    assert word == "attempt"
    return attempt


@pytest.mark.parametrize("arguments", [PAUSE, RESUME, RELEASE])
def test_an_attempt_of_which_nobody_heard_is_repeated_with_what_was_printed(
    line: CommandLine, world: HarborWorld, arguments: tuple[str, ...]
) -> None:
    """It said "the same call finds it later", and the same call was another attempt."""
    asyncio.run(world.decide(PROVISION))
    deciding, lost = line.sender, Lost()
    line.sender = lost
    unheard = line.told(*arguments, *REASON, "--wait", "1")
    attempt = attempt_in(unheard)
    line.sender = deciding
    again = line.told(*arguments, *REASON, "--attempt", attempt)

    assert unheard.status in {1, 3}
    assert f"The same call with --attempt {attempt} finds it later" in unheard.talk + unheard.out
    assert json.loads(again.out)["attempt"] == attempt
    assert isinstance(deciding, DecidingSender)
    assert [one.command_id for one in deciding.sent] == [one.command_id for one in lost.sent]


@pytest.mark.parametrize("arguments", [PAUSE, RESUME, RELEASE])
def test_a_try_says_the_attempt_that_it_would_have_been(
    line: CommandLine, arguments: tuple[str, ...]
) -> None:
    told = line.told(*arguments, *REASON, "--attempt", "mine", "--dry-run")

    assert json.loads(told.out)["attempt"] == "mine"


@pytest.mark.parametrize("arguments", [PAUSE, RESUME, RELEASE])
@pytest.mark.parametrize("attempt", ["", "x" * 101, "\udc80"])
def test_an_attempt_that_can_make_no_id_is_refused(
    line: CommandLine, arguments: tuple[str, ...], attempt: str
) -> None:
    told = line.told(*arguments, *REASON, "--attempt", attempt)

    assert (told.status, told.out) == (2, "")
    assert "--attempt" in told.talk


UNREADABLE = TenantId("unreadable-tenant")


@pytest.fixture
def with_a_row_that_cannot_be_read(world: HarborWorld) -> None:
    """Beside a tenant and its intent, all well."""
    asyncio.run(world.decide(PROVISION, CREATE, FUND))
    partition = partition_of(UNREADABLE, PARTITIONS)
    world.kafka.append(INTENTS, partition, key=tenant_key(UNREADABLE), value=b"\x00junk")


@pytest.mark.usefixtures("with_a_row_that_cannot_be_read")
def test_a_pause_of_all_names_who_is_not_paused_because_a_row_cannot_be_read(
    line: CommandLine,
) -> None:
    tried = line.told("rails", "pause", *REASON, "--dry-run")
    told = line.told("rails", "pause", *REASON)

    assert (tried.status, told.status) == (1, 1)
    assert json.loads(tried.out)["unreadable"][0]["tenant_id"] == UNREADABLE
    said = json.loads(told.out)
    assert said["result"] == "incomplete"
    assert [(row["tenant_id"], row["result"]) for row in said["tenants"]] == [
        (TENANT, "done"),
        (UNREADABLE, "unreadable"),
    ]
    assert "can't be read: unreadable-tenant/tenant" in told.talk


def test_a_pause_of_all_whose_rows_can_be_read_is_done_and_tells_of_other_states(
    line: CommandLine, world: HarborWorld
) -> None:
    asyncio.run(world.decide(PROVISION, CREATE))
    well = line.told("rails", "pause", *REASON)
    key = f"{TENANT}/{an_intent_id()}".encode()
    world.kafka.append(INTENTS, partition_of(TENANT, PARTITIONS), key=key, value=b"\x00junk")
    one = line.told(*PAUSE, *REASON)
    everybody = line.told("rails", "pause", *REASON)

    assert (well.status, one.status, everybody.status) == (0, 0, 1)
    assert json.loads(everybody.out)["result"] == "done"
    assert f"can't be read: {TENANT}/" in everybody.talk


@pytest.mark.usefixtures("with_a_row_that_cannot_be_read")
@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    "arguments",
    [
        ("rails", "status"),
        ("effects", "list"),
        ("effects", "list", "--outstanding"),
        ("holds", "list"),
    ],
)
def test_a_list_that_may_lack_something_is_no_success(
    line: CommandLine, arguments: tuple[str, ...], form: tuple[str, ...]
) -> None:
    told = line.told(*arguments, *form)

    assert told.status == 1
    assert "can't be read: unreadable-tenant/tenant" in told.talk
    assert arguments[0] != "effects" or "hold" in told.out


@pytest.mark.parametrize("arguments", [("rails", "status"), ("effects", "list"), ("holds", "list")])
def test_a_list_that_lacks_nothing_is_a_success(
    line: CommandLine, world: HarborWorld, arguments: tuple[str, ...]
) -> None:
    asyncio.run(world.decide(PROVISION, CREATE, FUND))

    assert line.told(*arguments).status == 0


def test_an_effect_is_called_answered_only_if_an_entry_tells_so(
    line: CommandLine, world: HarborWorld
) -> None:
    asyncio.run(world.decide(PROVISION, CREATE, FUND))
    declined = rail_answer(world.effects()[-1], RailAnswerKind.DECLINED)
    asyncio.run(world.decide(a_command(declined, number=4)))
    asyncio.run(world.decide(a_command(FundIntent(), number=5, nonce="n-again")))
    asyncio.run(world.decide(answer_of(world, 6)))
    told = line.told("effects", "list")
    key = f"{TENANT}/{an_intent_id()}".encode()
    world.kafka.append(INTENTS, partition_of(TENANT, PARTITIONS), key=key, value=b"\x00junk")
    in_the_dark = line.told("effects", "list")

    assert [row.split("\t")[-1] for row in told.out.splitlines()] == [
        "not outstanding",
        "answered",
    ]
    assert {row.split("\t")[-1] for row in in_the_dark.out.splitlines()} == {
        "unknown: the intent's state can't be read"
    }


ORDERS = "\x1b]0;owned\x07\x9b2J\u202e\n"


def bury(world: HarborWorld, *, tenant_id: str) -> None:
    """A letter as anybody could have it written: nothing in it was ever checked."""
    letter = DeadLetter(
        group="paybond-harbor",
        topic="paybond.commands",
        partition=1,
        offset=7,
        reason=f"undecodable: {ORDERS}",
        attempts=1,
        recorded_at=world.clock.now(),
        tenant_id=tenant_id,
        command_id=None,
        key=None,
        value=b"junk",
        value_digest=hashlib.sha256(b"junk").digest(),
    )
    world.kafka.append(DEAD_LETTERS, 0, key=letter_id_of(letter).encode(), value=encode(letter))


@pytest.mark.parametrize(
    "arguments",
    [
        ("dead-letters", "list"),
        ("dead-letters", "list", "--json"),
        ("dead-letters", "show", "--letter", "paybond-harbor/paybond.commands/1/7"),
    ],
)
def test_what_strangers_wrote_gives_a_terminal_no_orders(
    line: CommandLine, world: HarborWorld, arguments: tuple[str, ...]
) -> None:
    bury(world, tenant_id=f"t{ORDERS}")
    told = line.told(*arguments)

    assert told.status == 0
    assert "owned" in told.out
    assert all(one.isprintable() or one in "\t\n" for one in told.out)
    if told.out.startswith(("[", "{")):
        read = json.loads(told.out)
        row = read[0] if isinstance(read, list) else read
        assert (row["reason"], row["tenant_id"]) == (f"undecodable: {ORDERS}", None)
    else:
        assert told.out.count("\n") == 1
        assert told.out.split("\t")[2] == "-"


def test_a_pauses_reason_gives_a_terminal_no_orders(line: CommandLine, world: HarborWorld) -> None:
    """Older releases took any."""
    pause = a_command(PauseRails(reason=ORDERS), number=2)
    asyncio.run(world.decide(PROVISION, pause))
    told = line.told("rails", "status")

    assert (told.status, told.out.count("\n")) == (0, 1)
    assert "\\u001b]0;owned" in told.out
    assert all(one.isprintable() or one in "\t\n" for one in told.out)

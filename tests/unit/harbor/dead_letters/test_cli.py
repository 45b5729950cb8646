"""`dead-letters` as it is typed: what closes a letter, and what keeps it on the list."""

import asyncio
import json

import pytest

from schemas.messages.avro_codec import decode
from schemas.messages.command_sealing import seal
from schemas.messages.operations import DeadLetterDisposition
from schemas.partitioner import partition_of
from schemas.topics import DEAD_LETTERS
from tests.support.builders import TENANT
from tests.support.harbor_world import ISSUER_KEYS, PARTITIONS, HarborWorld
from tests.unit.harbor.command_line import CommandLine
from tests.unit.harbor.engine.test_life_of_an_intent import CREATE, FUND, PROVISION

ELSEWHERE = (partition_of(TENANT, PARTITIONS) + 1) % PARTITIONS
LETTER = ("--letter", f"paybond-harbor/paybond.commands/{ELSEWHERE}/0")
REASON = ("--reason", "the producer was fixed")


@pytest.fixture
def world() -> HarborWorld:
    """A good command lies in another tenant's partition, and is buried there."""
    world = HarborWorld()
    asyncio.run(world.decide(PROVISION, CREATE))
    value = seal(FUND, ISSUER_KEYS[FUND.issuer][0])
    world.send_value(FUND, value, partition=ELSEWHERE)
    asyncio.run(world.decide())
    return world


@pytest.fixture
def line(
    world: HarborWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(monkeypatch, capsys, world)


def standings(line: CommandLine, *flags: str) -> list[str]:
    told = line.told("dead-letters", "list", *flags, "--json")
    assert told.status == 0
    return [row["standing"] for row in json.loads(told.out)]


def dispositions(world: HarborWorld) -> int:
    values = [record.value or b"" for record in world.kafka.read_all(DEAD_LETTERS)]
    return sum(isinstance(decode(value), DeadLetterDisposition) for value in values)


def test_a_replay_that_is_decided_closes_its_letter_and_it_is_not_discarded(
    line: CommandLine, world: HarborWorld
) -> None:
    before = standings(line)
    replayed = line.told("dead-letters", "replay", *LETTER, *REASON)
    again = line.told("dead-letters", "replay", *LETTER, *REASON)
    discarded = line.told("dead-letters", "discard", *LETTER, *REASON)

    assert before == ["open"]
    assert (replayed.status, json.loads(replayed.out)["result"]) == (0, "accepted")
    assert (standings(line), standings(line, "--all")) == ([], ["replayed, decided"])
    assert (again.status, discarded.status) == (1, 1)
    assert "decided since: accepted" in json.loads(again.out)["message"]
    assert "decided since: accepted" in json.loads(discarded.out)["message"]
    assert dispositions(world) == 1


def test_a_replay_whose_sending_fails_leaves_its_letter_on_the_list(line: CommandLine) -> None:
    line.is_input_gone = True
    failed = line.told("dead-letters", "replay", *LETTER, *REASON)
    line.is_input_gone = False
    left = standings(line)
    shown = line.told("dead-letters", "list")
    again = line.told("dead-letters", "replay", *LETTER, *REASON)

    assert failed.status == 3
    assert left == ["replayed, undecided"]
    assert shown.out.rstrip("\n").endswith("\treplayed, undecided")
    assert again.status == 0
    assert standings(line) == []


def test_a_letter_is_discarded_once_there_is_nothing_to_be_decided(line: CommandLine) -> None:
    tried = line.told("dead-letters", "discard", *LETTER, *REASON, "--dry-run")
    untouched = standings(line)
    discarded = line.told("dead-letters", "discard", *LETTER, *REASON)
    replayed = line.told("dead-letters", "replay", *LETTER, *REASON)

    assert (tried.status, untouched) == (0, ["open"])
    assert (discarded.status, standings(line)) == (0, [])
    assert (replayed.status, json.loads(replayed.out)["message"]) == (1, "it was discarded")


def test_a_letter_that_is_not_there_is_a_usage_error(line: CommandLine) -> None:
    for verb in (("show",), ("replay", *REASON), ("discard", *REASON)):
        told = line.told("dead-letters", *verb, "--letter", "no/letter/0/0")
        assert (told.status, told.out) == (2, "")
        assert "there is no dead letter 'no/letter/0/0'" in told.talk

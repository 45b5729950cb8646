"""The tools as they are typed: what is refused before Kafka is asked."""

from pathlib import Path

import pytest

from tests.support.builders import TENANT, an_intent_id
from tests.support.harbor_world import HarborWorld
from tests.unit.harbor.command_line import CommandLine

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

"""`paybond-local` where nothing runs: it says so, starts nothing, and its exit code tells."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.cli import app
from deploy.local.programs import Port
from deploy.local.stack import Options, Stack, ensure_ports
from schemas.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_down_where_nothing_runs_is_done_already() -> None:
    result = CliRunner().invoke(app, ["down"])

    assert result.exit_code == 0
    assert "Nothing runs here" in result.stderr


def test_status_where_nothing_runs_fails_and_is_still_json() -> None:
    result = CliRunner().invoke(app, ["status", "--json"])

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"phase": "stopped"}


def test_logs_of_an_unknown_program_name_those_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / ".paybond" / "logs"
    folder.mkdir(parents=True)
    (folder / "harbor.log").write_text("one line\n")

    result = CliRunner().invoke(app, ["logs", "habror"])

    assert result.exit_code == 2
    assert "harbor" in result.stderr


def test_a_demo_without_a_system_says_what_to_do_first() -> None:
    result = CliRunner().invoke(app, ["demo"])

    assert isinstance(result.exception, ConfigurationError)
    assert "paybond-local up" in str(result.exception)


def test_looking_around_leaves_no_trace(tmp_path: Path) -> None:
    CliRunner().invoke(app, ["status"])
    CliRunner().invoke(app, ["down"])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kafka", ["kafkaesque", ""])
def test_a_broker_that_is_no_choice_and_no_address_is_refused(tmp_path: Path, kafka: str) -> None:
    options = Options(data=tmp_path, local_file=tmp_path / "local.json", kafka=kafka)

    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        Stack(options, say=print, is_stop_requested=lambda: False)


def test_ports_stay_over_restarts_and_are_distinct(tmp_path: Path) -> None:
    first = ensure_ports(tmp_path / "ports.json")

    second = ensure_ports(tmp_path / "ports.json")

    assert first == second
    assert len(set(first.values())) == len(Port)


@pytest.mark.parametrize("content", ["", "[]", '{"gateway": "no number"}'])
def test_a_damaged_list_of_ports_is_made_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ports.json"
    path.write_text(content)

    ports = ensure_ports(path)

    assert set(ports) == set(Port)

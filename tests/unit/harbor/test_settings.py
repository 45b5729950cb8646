"""Settings: flag over environment over local file; a misspelt variable or an unreadable secret refuses to start."""

import json
from pathlib import Path

import pytest

from harbor.settings import HarborSettings
from schemas.errors import ConfigurationError
from schemas.messages.commands import Issuer
from streams.runtime.shared_settings import Broker, GroupProtocol, SecurityProtocol

SEED = "11" * 32


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os  # noqa: PLC0415

    for name in list(os.environ):
        if name.startswith("PAYBOND_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write_local_file(folder: Path, **members: str) -> None:
    (folder / ".paybond").mkdir()
    (folder / ".paybond" / "local.json").write_text(json.dumps(members))


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBOND_KAFKA_BOOTSTRAP", "environment:1")

    settings = HarborSettings.read(kafka_bootstrap="flag:1")

    assert settings.kafka_bootstrap == "flag:1"


def test_the_environment_wins_over_the_local_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_local_file(tmp_path, kafka_bootstrap="file:1")
    monkeypatch.setenv("PAYBOND_KAFKA_BOOTSTRAP", "environment:1")

    assert HarborSettings.read().kafka_bootstrap == "environment:1"


def test_the_local_file_is_what_is_left(tmp_path: Path) -> None:
    write_local_file(tmp_path, kafka_bootstrap="file:1")

    assert HarborSettings.read().kafka_bootstrap == "file:1"


def test_a_flag_that_was_not_given_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBOND_HARBOR_SLOT", "3")

    settings = HarborSettings.read(slot=None)

    assert settings.slot == 3
    assert settings.transactional_id == "paybond-harbor-3"


def test_an_unclaimed_variable_with_the_own_prefix_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PAYBOND_HARBOR_SLOTT", "3")

    with pytest.raises(ConfigurationError, match="PAYBOND_HARBOR_SLOTT"):
        HarborSettings.read()


def test_a_variable_of_another_program_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBOND_GATEWAY_NONSENSE", "3")

    assert HarborSettings.read().slot == 0


def test_a_value_of_the_wrong_kind_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBOND_HARBOR_SLOT", "first")

    with pytest.raises(ConfigurationError, match="PAYBOND_HARBOR_SLOT"):
        HarborSettings.read()


def test_a_secret_comes_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "seed").write_text(f"{SEED}\n")
    monkeypatch.setenv("PAYBOND_HARBOR_LEDGER_SIGNING_SEED_FILE", str(tmp_path / "seed"))

    assert HarborSettings.read().signing_seed == bytes.fromhex(SEED)


def test_a_secret_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBOND_HARBOR_LEDGER_SIGNING_SEED_FILE", "/nowhere/seed")

    with pytest.raises(ConfigurationError, match="LEDGER_SIGNING_SEED_FILE"):
        HarborSettings.read()


def test_a_missing_seed_is_named_when_it_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="PAYBOND_HARBOR_LEDGER_SIGNING_SEED is not set"):
        _ = HarborSettings.read().signing_seed


@pytest.mark.parametrize("value", ["zz" * 32, "11" * 31])
def test_a_key_that_is_not_32_bytes_of_hex_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PAYBOND_HARBOR_ISSUER_KEY_CLI", value)

    with pytest.raises(ConfigurationError, match="PAYBOND_HARBOR_ISSUER_KEY_CLI"):
        HarborSettings.read().issuer_key(Issuer.CLI)


def test_only_issuers_with_a_key_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBOND_HARBOR_ISSUER_KEY_GATEWAY", SEED)

    settings = HarborSettings.read()

    assert settings.issuer_keys == {Issuer.GATEWAY: bytes.fromhex(SEED)}
    with pytest.raises(ConfigurationError, match="PAYBOND_HARBOR_ISSUER_KEY_CLI is not set"):
        settings.issuer_key(Issuer.CLI)


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBOND_HARBOR_LEDGER_SIGNING_SEED", SEED)

    assert SEED not in repr(HarborSettings.read())


def test_a_broker_is_taken_for_a_real_one_unless_told() -> None:
    settings = HarborSettings.read()

    assert settings.kafka_broker is Broker.APACHE
    assert settings.kafka_group_protocol is GroupProtocol.CLASSIC
    assert not settings.single_node


@pytest.mark.parametrize("written", ["sasl_ssl", "SASL_SSL"])
def test_a_security_protocol_is_known_in_either_case(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("PAYBOND_KAFKA_SECURITY_PROTOCOL", written)

    assert HarborSettings.read().kafka_security_protocol is SecurityProtocol.SASL_SSL


def test_an_unknown_security_protocol_is_refused_before_any_client_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client library answered it with a traceback."""
    monkeypatch.setenv("PAYBOND_KAFKA_SECURITY_PROTOCOL", "tls")

    with pytest.raises(ConfigurationError, match=r"PAYBOND_KAFKA_SECURITY_PROTOCOL: .*'sasl_ssl'"):
        HarborSettings.read()

"""Each program is given its own role, its own keys and no more, and every variable is one it knows."""

import hashlib
import os
from itertools import chain
from pathlib import Path

import pytest

from deploy.local.generated_keys import Secret, ensure_keys
from deploy.local.local_file import SETTINGS_FILE_NAME, first_tenant, write_local_file
from deploy.local.programs import (
    Machine,
    Port,
    Program,
    ProgramName,
    Role,
    add_agent_key,
    create_api_key,
    create_tenant,
    preparations,
    programs,
    tool_settings,
)
from gateway.settings import GatewaySettings
from harbor.settings import HarborSettings
from streams.runtime.shared_settings import Broker, SharedSettings
from streams.settings import StreamsSettings


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return a_machine(tmp_path)


def a_machine(directory: Path, *, has_rail_faults: bool = False) -> Machine:
    calls = iter(range(100))
    keys = ensure_keys(
        directory / "keys",
        lambda length: hashlib.sha256(str(next(calls)).encode()).digest()[:length],
    )
    return Machine(
        data=directory,
        binaries=Path("/opt/bin"),
        kafka_bootstrap="127.0.0.1:9",
        is_kafka_embedded=True,
        is_kafka_single_node=True,
        dsns={role: f"user={role}" for role in Role},
        ports={port: 20_000 + number for number, port in enumerate(Port)},
        keys=keys,
        has_rail_faults=has_rail_faults,
    )


def program(machine: Machine, name: ProgramName) -> Program:
    return next(entry for entry in programs(machine) if entry.name is name)


def settings_of(
    settings: type[SharedSettings], environment: dict[str, str], patch: pytest.MonkeyPatch
) -> SharedSettings:
    for name in list(os.environ):
        if name.startswith("PAYBOND_"):
            patch.delenv(name)
    for name, value in environment.items():
        patch.setenv(name, value)
    return settings.read()


def test_harbor_comes_first_and_the_gateway_last(machine: Machine) -> None:
    assert [entry.name for entry in programs(machine)] == list(ProgramName)


def test_each_program_has_a_port_of_its_own_for_its_readiness(machine: Machine) -> None:
    ports = [entry.port for entry in programs(machine)]

    assert len(set(ports)) == len(ports)


def test_no_secret_stands_in_an_environment_or_on_a_command_line(machine: Machine) -> None:
    tenant = first_tenant(
        api_key="", deployment="local", ledger_public_key=machine.keys.ledger_public_key
    )
    launches = [
        *((entry.command, entry.environment) for entry in programs(machine)),
        *(
            (task.command, task.environment)
            for task in (
                *preparations(machine),
                create_tenant(machine, "tenant-vec"),
                create_api_key(machine, "tenant-vec"),
                add_agent_key(machine, tenant),
            )
        ),
    ]

    text = "\n".join(chain.from_iterable((*command, *env.values()) for command, env in launches))
    assert not [secret for secret in Secret if machine.keys.hex(secret) in text]
    assert tenant.agent_seed.hex() not in text


def test_only_migrations_connect_as_the_owner(machine: Machine) -> None:
    owner = machine.dsns[Role.OWNER]

    migrate = next(task for task in preparations(machine) if task.name == "migrate")

    assert migrate.environment == {"PAYBOND_POSTGRES_OWNER_DSN": owner}
    assert owner not in [entry.environment["PAYBOND_POSTGRES_DSN"] for entry in programs(machine)]


def test_only_harbor_holds_the_ledgers_signing_seed(machine: Machine) -> None:
    holders = [
        entry.name
        for entry in programs(machine)
        if "PAYBOND_HARBOR_LEDGER_SIGNING_SEED_FILE" in entry.environment
    ]

    assert holders == [ProgramName.HARBOR]


def test_an_issuers_key_is_harbors_and_that_issuers_alone(machine: Machine) -> None:
    rails = program(machine, ProgramName.RAILS).environment
    gateway = program(machine, ProgramName.GATEWAY).environment

    assert [name for name in rails if "ISSUER_KEY" in name] == [
        "PAYBOND_HARBOR_ISSUER_KEY_RAILS_FILE"
    ]
    assert [name for name in gateway if "ISSUER_KEY" in name] == ["PAYBOND_GATEWAY_ISSUER_KEY_FILE"]


def test_harbors_settings_take_every_variable_they_are_given(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = program(machine, ProgramName.HARBOR)

    settings = settings_of(HarborSettings, {**entry.defaults, **entry.environment}, monkeypatch)

    assert isinstance(settings, HarborSettings)
    assert settings.signing_seed == machine.keys.raw(Secret.LEDGER_SIGNING_SEED)
    assert len(settings.issuer_keys) == 5
    assert settings.single_node


def test_the_rail_workers_settings_take_the_demos_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = program(a_machine(tmp_path, has_rail_faults=True), ProgramName.RAILS)

    settings = settings_of(HarborSettings, {**entry.defaults, **entry.environment}, monkeypatch)

    assert isinstance(settings, HarborSettings)
    assert (
        min(
            settings.simulator_decline_bps,
            settings.simulator_lose_bps,
            settings.simulator_duplicate_bps,
        )
        > 0
    )


def test_a_rail_does_nothing_wrong_unless_asked_to(machine: Machine) -> None:
    assert program(machine, ProgramName.RAILS).defaults == {}


def test_the_gateways_settings_take_every_variable_they_are_given(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(
        GatewaySettings,
        dict(program(machine, ProgramName.GATEWAY).environment),
        monkeypatch,
    )

    assert isinstance(settings, GatewaySettings)
    assert settings.peppers.keys["p1"] == machine.keys.raw(Secret.API_KEY_PEPPER)
    assert settings.ledger_verifier_keys == (machine.keys.ledger_public_key.hex(),)


def test_the_streams_settings_take_every_variable_they_are_given(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(
        StreamsSettings, dict(program(machine, ProgramName.VIEWS).environment), monkeypatch
    )

    assert isinstance(settings, StreamsSettings)
    assert settings.public_keys == (machine.keys.ledger_public_key,)


@pytest.mark.parametrize("settings", [HarborSettings, StreamsSettings, GatewaySettings])
def test_a_tool_in_the_same_directory_needs_no_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: type[SharedSettings]
) -> None:
    machine = a_machine(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_local_file(Path(".paybond") / SETTINGS_FILE_NAME, tool_settings(machine))

    found = settings_of(settings, {}, monkeypatch)

    assert found.kafka_broker is Broker.EMBEDDED
    assert found.kafka_bootstrap == machine.kafka_bootstrap
    assert found.postgres_dsn.get_secret_value() in set(machine.dsns.values())


def test_the_environment_wins_over_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_local_file(Path(".paybond") / SETTINGS_FILE_NAME, tool_settings(a_machine(tmp_path)))

    found = settings_of(HarborSettings, {"PAYBOND_KAFKA_BOOTSTRAP": "elsewhere:1"}, monkeypatch)

    assert found.kafka_bootstrap == "elsewhere:1"


def test_a_tool_of_harbor_may_send_commands_but_not_sign_a_ledger(machine: Machine) -> None:
    variables = tool_settings(machine)["PAYBOND_HARBOR_"]

    assert "PAYBOND_HARBOR_ISSUER_KEY_CLI_FILE" in variables
    assert "PAYBOND_HARBOR_LEDGER_SIGNING_SEED_FILE" not in variables


def test_harbor_waits_a_session_before_it_comes_back(machine: Machine) -> None:
    assert program(machine, ProgramName.HARBOR).first_delay.total_seconds() >= 6

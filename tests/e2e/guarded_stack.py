"""All programs on a broker that refuses: each logs in as its own principal and has what `topics acls` grants, no more.

`paybond-local` has no SASL, so its parts are put together here: the same programs, keys, tables and tasks.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from deploy.local.apache_kafka import ApacheKafka
from deploy.local.embedded_postgres import EmbeddedPostgres
from deploy.local.generated_keys import GeneratedKeys, Secret, ensure_keys
from deploy.local.local_file import FIRST_TENANT, TenantAccess, first_tenant
from deploy.local.programs import (
    DEPLOYMENT,
    Machine,
    Port,
    ProgramName,
    Role,
    Task,
    add_agent_key,
    create_api_key,
    create_tenant,
    preparations,
    programs,
    tool_settings,
)
from deploy.local.stack import DATABASE, ensure_ports, set_passwords
from deploy.local.supervision import Supervisor
from schemas.topics import Program
from tests.e2e.local_stack import BINARIES
from tests.support import log_search
from tests.support.brokers import apache_libraries, temporary_directory

_SECONDS_MAX = 120.0
_ITERATIONS = 4096
_PASSWORDS = {
    Role.OWNER: Secret.POSTGRES_OWNER,
    Role.STREAMS: Secret.POSTGRES_STREAMS,
    Role.GATEWAY: Secret.POSTGRES_GATEWAY,
    Role.FSCK: Secret.POSTGRES_FSCK,
}
_PRINCIPALS = {
    ProgramName.HARBOR: Program.HARBOR,
    ProgramName.RAILS: Program.RAILS,
    ProgramName.VIEWS: Program.STREAMS,
    ProgramName.GATEWAY: Program.GATEWAY,
}
_PREFIXES = {
    Program.CLI: ("paybond-harbor", "PAYBOND_HARBOR_"),
    Program.STREAMS: ("paybond-streams", "PAYBOND_STREAMS_"),
    Program.GATEWAY: ("paybond-gateway", "PAYBOND_GATEWAY_"),
}


@dataclass(frozen=True, kw_only=True)
class GuardedStack:
    """`plain_bootstrap` takes everybody for the administrator; `refused` is what a tool was told without any right."""

    plain_bootstrap: str
    directory: Path
    machine: Machine
    passwords: Mapping[Program, str]
    supervisor: Supervisor
    tenant: TenantAccess
    refused: "subprocess.CompletedProcess[str]"

    def run(
        self, program: Program, *arguments: str, postgres_dsn: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """A command line tool as this principal, with its usual database or another."""
        database = {} if postgres_dsn is None else {"PAYBOND_POSTGRES_DSN": postgres_dsn}
        return _run(self.machine, self.passwords, program, *arguments, more=database)

    def log(self, program: ProgramName) -> str:
        return (self.directory / "logs" / f"{program}.log").read_text()


def _credentials(program: Program, passwords: Mapping[Program, str]) -> dict[str, str]:
    return {
        "PAYBOND_KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
        "PAYBOND_KAFKA_SASL_USERNAME": f"paybond-{program}",
        "PAYBOND_KAFKA_SASL_PASSWORD": passwords[program],
    }


def _run(
    machine: Machine,
    passwords: Mapping[Program, str],
    program: Program,
    *arguments: str,
    more: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    script, prefix = _PREFIXES[program]
    return subprocess.run(
        [BINARIES / script, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=machine.data,
        env={
            "PATH": os.environ["PATH"],
            **tool_settings(machine)[prefix],
            "PAYBOND_HARBOR_LEDGER_VERIFIER_KEYS": machine.keys.ledger_public_key.hex(),
            **_credentials(program, passwords),
            **(more or {}),
        },
        timeout=_SECONDS_MAX,
    )


@contextmanager
def guarded_stack() -> Iterator[GuardedStack]:
    with temporary_directory("e2e") as directory, pytest.MonkeyPatch.context() as patch:
        # Programs read `.paybond` of their working directory.
        patch.chdir(directory)
        keys = ensure_keys(directory / "keys", secrets.token_bytes)
        ports = ensure_ports(directory / "ports.json")
        kafka = ApacheKafka(
            data_directory=directory / "kafka",
            libraries=apache_libraries(),
            port=ports[Port.KAFKA],
            log_file=directory / "logs" / "kafka.log",
            has_sasl=True,
        )
        postgres = EmbeddedPostgres(
            data_directory=directory / "postgres",
            port=ports[Port.POSTGRES],
            log_file=directory / "logs" / "postgres.log",
            is_durable=False,
        )
        (directory / "logs").mkdir()
        supervisor = Supervisor(
            directory=directory,
            servers={"PostgreSQL": postgres, "Kafka": kafka},
            embedded_broker=None,
            say=print,
            is_stop_requested=lambda: False,
            on_change=lambda: None,
        )
        try:
            supervisor.start_servers()
            machine = _machine(directory, keys, ports, kafka, _dsns(postgres, keys))
            passwords = {program: secrets.token_hex(16) for program in Program}
            yield _started(supervisor, machine, kafka, passwords)
        finally:
            supervisor.stop()
        known = [
            log_search.Secret.of(f"password of {program}", password)
            for program, password in passwords.items()
        ]
        assert log_search.search_files(sorted((directory / "logs").glob("*.log")), known) == []


def _machine(
    directory: Path,
    keys: GeneratedKeys,
    ports: Mapping[Port, int],
    kafka: ApacheKafka,
    dsns: Mapping[Role, str],
) -> Machine:
    return Machine(
        data=directory,
        binaries=BINARIES,
        kafka_bootstrap=kafka.sasl_bootstrap,
        is_kafka_embedded=False,
        is_kafka_single_node=True,
        dsns=dsns,
        ports=ports,
        keys=keys,
    )


def _dsns(postgres: EmbeddedPostgres, keys: GeneratedKeys) -> Mapping[Role, str]:
    owner = keys.hex(Secret.POSTGRES_OWNER)
    postgres.ensure_login(role=Role.OWNER, password=owner, can_create_roles=True)
    postgres.ensure_database(name=DATABASE, owner=Role.OWNER)
    return {
        role: postgres.dsn(role=role, password=keys.hex(secret), database=DATABASE)
        for role, secret in _PASSWORDS.items()
    }


def _started(
    supervisor: Supervisor, machine: Machine, kafka: ApacheKafka, passwords: Mapping[Program, str]
) -> GuardedStack:
    # The first listener takes everybody for the administrator.
    administrator = replace(machine, kafka_bootstrap=kafka.bootstrap)
    migrate, topics = preparations(administrator)
    _make_users(kafka.bootstrap, passwords)
    supervisor.run_tasks([migrate, topics])
    set_passwords(
        machine.dsns[Role.OWNER],
        {role: machine.keys.hex(_PASSWORDS[role]) for role in Role if role is not Role.OWNER},
    )
    refused = _run(machine, passwords, Program.CLI, "status")
    granted = Task(
        name="rights",
        command=(*topics.command[:-1], "acls", "--apply"),
        environment=topics.environment,
    )
    supervisor.run_tasks([granted])
    for names in (
        (ProgramName.HARBOR, ProgramName.RAILS, ProgramName.VIEWS),
        (ProgramName.GATEWAY,),
    ):
        supervisor.start_programs(
            [
                replace(
                    entry,
                    environment={
                        **entry.environment,
                        **_credentials(_PRINCIPALS[entry.name], passwords),
                    },
                )
                for entry in programs(machine)
                if entry.name in names
            ],
            ports=machine.ports,
        )
    return GuardedStack(
        plain_bootstrap=kafka.bootstrap,
        directory=machine.data,
        machine=machine,
        passwords=passwords,
        supervisor=supervisor,
        tenant=_tenant(supervisor, machine, passwords),
        refused=refused,
    )


def _tenant(
    supervisor: Supervisor, machine: Machine, passwords: Mapping[Program, str]
) -> TenantAccess:
    def as_principal(task: Task, program: Program) -> Task:
        return replace(task, environment={**task.environment, **_credentials(program, passwords)})

    supervisor.run_tasks([as_principal(create_tenant(machine, FIRST_TENANT), Program.CLI)])
    (printed,) = supervisor.run_tasks(
        [as_principal(create_api_key(machine, FIRST_TENANT), Program.GATEWAY)]
    )
    tenant = first_tenant(
        api_key=printed.strip().splitlines()[-1],
        deployment=DEPLOYMENT,
        ledger_public_key=machine.keys.ledger_public_key,
    )
    supervisor.run_tasks([as_principal(add_agent_key(machine, tenant), Program.GATEWAY)])
    return tenant


def _make_users(bootstrap: str, passwords: Mapping[Program, str]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    users: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(
            f"paybond-{program}",
            ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS),
            password.encode(),
        )
        for program, password in passwords.items()
    ]
    asked: Mapping[str, Any] = admin.alter_user_scram_credentials(users)
    for future in asked.values():
        future.result(_SECONDS_MAX)

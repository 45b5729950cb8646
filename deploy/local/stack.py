"""The whole system on this machine, brought up in a fixed order and taken down in reverse.

1. keys and ports, made once; 2. servers, unless addresses of others' are given; 3. tables and topics; 4. Harbor, rails
and views, then the gateway; 5. demo tenants with their keys, unless they answer; 6. `local.json`; 7. watch.
"""

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.local.apache_kafka import LIBRARIES_DEFAULT, ApacheKafka
from deploy.local.embedded_kafka import EmbeddedKafka
from deploy.local.embedded_postgres import EmbeddedPostgres
from deploy.local.generated_keys import Secret, ensure_keys, write_secret
from deploy.local.local_file import (
    FIRST_TENANT,
    SECOND_TENANT,
    SETTINGS_FILE_NAME,
    LocalAddresses,
    TenantAccess,
    document_of,
    first_tenant,
    second_tenant,
    write_local_file,
)
from deploy.local.postgres_passwords import login_clause
from deploy.local.programs import (
    DEPLOYMENT,
    Machine,
    Port,
    ProgramName,
    Role,
    add_agent_key,
    create_api_key,
    create_tenant,
    preparations,
    programs,
    tool_settings,
)
from deploy.local.running_lock import write_state
from deploy.local.server_process import PID_FILE, accepts_connections, free_port, stop_recorded
from deploy.local.supervision import Say, Server, Supervisor
from schemas.errors import ConfigurationError, DatabaseUnavailableError
from schemas.ids import TenantId

DATABASE = "paybond"
EMBEDDED = "embedded"
APACHE = "apache"
_PASSWORD_OF = MappingProxyType(
    {
        Role.OWNER: Secret.POSTGRES_OWNER,
        Role.STREAMS: Secret.POSTGRES_STREAMS,
        Role.GATEWAY: Secret.POSTGRES_GATEWAY,
        Role.FSCK: Secret.POSTGRES_FSCK,
    }
)
_SERVER_FOLDERS = ("kafka-embedded", "kafka-apache", "postgres")
_LEFT_OVER_SECONDS_MAX = 20.0
_HTTP_SECONDS_MAX = 10.0
# Servers by the names that people see.
_KAFKA, _POSTGRES = "Kafka", "PostgreSQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`kafka`: embedded, apache or an address; `postgres`: embedded or a DSN whose role may create roles."""

    data: Path
    local_file: Path
    kafka: str = EMBEDDED
    postgres: str = EMBEDDED
    has_rail_faults: bool = False


class Stack:
    """One use: `run` returns after a stop request, with everything stopped."""

    def __init__(
        self, options: Options, *, say: Say, is_stop_requested: Callable[[], bool]
    ) -> None:
        self._options = options
        self._say = say
        self._phase = "starting"
        stop_left_overs(options.data)
        self._keys = ensure_keys(options.data / "keys", secrets.token_bytes)
        self._ports = ensure_ports(options.data / "ports.json")
        self._kafka = _kafka(options, self._ports[Port.KAFKA])
        self._postgres = _postgres(options, self._ports[Port.POSTGRES])
        servers: dict[str, Server] = {}
        if self._postgres is not None:
            servers[_POSTGRES] = self._postgres
        if self._kafka is not None:
            servers[_KAFKA] = self._kafka
        self._supervisor = Supervisor(
            directory=options.data,
            servers=servers,
            embedded_broker=_KAFKA if isinstance(self._kafka, EmbeddedKafka) else None,
            say=say,
            is_stop_requested=is_stop_requested,
            on_change=self._write_state,
        )

    def run(self, on_ready: Callable[[Mapping[str, Any]], None]) -> None:
        """Raises LocalServerError, LocalSetupError, OutageError, ConfigurationError, StopRequestedError."""
        try:
            document = self._start()
            self._phase = "ready"
            self._write_state()
            on_ready(document)
            self._supervisor.watch()
        finally:
            self._phase = "stopping"
            self._write_state()
            self._supervisor.stop()

    def _start(self) -> Mapping[str, Any]:
        self._say("Starting PostgreSQL and Kafka.")
        self._supervisor.start_servers()
        machine = self._machine()
        self._say("Bringing tables and topics up to date.")
        self._prepare(machine)
        self._say("Starting Harbor, rails, views and the gateway.")
        entries = programs(machine)
        before_gateway = [entry for entry in entries if entry.name is not ProgramName.GATEWAY]
        self._supervisor.start_programs(before_gateway, ports=self._ports)
        gateway = [entry for entry in entries if entry.name is ProgramName.GATEWAY]
        self._supervisor.start_programs(gateway, ports=self._ports)
        first, second = self._tenants(machine)
        document = document_of(self._addresses(machine), first=first, second=second)
        settings_file = self._options.local_file.with_name(SETTINGS_FILE_NAME)
        write_local_file(settings_file, tool_settings(machine))
        write_local_file(self._options.local_file, document)
        return document

    def _machine(self) -> Machine:
        return Machine(
            data=self._options.data.absolute(),
            binaries=Path(sys.executable).parent,
            kafka_bootstrap=self._kafka.bootstrap if self._kafka else self._options.kafka,
            is_kafka_embedded=isinstance(self._kafka, EmbeddedKafka),
            # One machine is one node, unless somebody who brings a cluster says otherwise.
            is_kafka_single_node=os.environ.get("PAYBOND_HARBOR_SINGLE_NODE", "true") == "true",
            dsns=self._dsns(),
            ports=self._ports,
            keys=self._keys,
            has_rail_faults=self._options.has_rail_faults,
        )

    def _dsns(self) -> Mapping[Role, str]:
        passwords = {role: self._keys.hex(secret) for role, secret in _PASSWORD_OF.items()}
        if self._postgres is None:
            given = self._options.postgres
            return {
                role: given
                if role is Role.OWNER
                else make_conninfo(given, user=role.value, password=passwords[role])
                for role in Role
            }
        owner = Role.OWNER
        self._postgres.ensure_login(role=owner, password=passwords[owner], can_create_roles=True)
        self._postgres.ensure_database(name=DATABASE, owner=owner)
        return {
            role: self._postgres.dsn(role=role, password=passwords[role], database=DATABASE)
            for role in Role
        }

    def _prepare(self, machine: Machine) -> None:
        self._supervisor.run_tasks(preparations(machine))
        set_passwords(
            machine.dsns[Role.OWNER],
            {
                role: self._keys.hex(secret)
                for role, secret in _PASSWORD_OF.items()
                if role is not Role.OWNER
            },
        )

    def _tenants(self, machine: Machine) -> tuple[TenantAccess, TenantAccess]:
        files = {
            tenant: self._keys.directory / f"{tenant}-api-key"
            for tenant in (FIRST_TENANT, SECOND_TENANT)
        }
        base_url = machine.url(Port.GATEWAY)
        if all(file.exists() and _answers(base_url, file.read_text()) for file in files.values()):
            return self._access({tenant: file.read_text() for tenant, file in files.items()})
        self._say("Creating two demo tenants with their keys.")
        self._supervisor.run_tasks([create_tenant(machine, tenant) for tenant in files])
        printed = self._supervisor.run_tasks([create_api_key(machine, tenant) for tenant in files])
        bearers = {}
        for tenant, text in zip(files, printed, strict=True):
            bearers[tenant] = text.strip().splitlines()[-1]
            write_secret(files[tenant], bearers[tenant])
        access = self._access(bearers)
        self._supervisor.run_tasks([add_agent_key(machine, tenant) for tenant in access])
        return access

    def _access(self, api_keys: Mapping[TenantId, str]) -> tuple[TenantAccess, TenantAccess]:
        public_key = self._keys.ledger_public_key
        return (
            first_tenant(
                api_key=api_keys[FIRST_TENANT], deployment=DEPLOYMENT, ledger_public_key=public_key
            ),
            second_tenant(
                api_key=api_keys[SECOND_TENANT],
                agent_seed=self._keys.raw(Secret.SECOND_AGENT_SEED),
                principal_seed=self._keys.raw(Secret.SECOND_PRINCIPAL_SEED),
                payee_seed=self._keys.raw(Secret.SECOND_PAYEE_SEED),
                deployment=DEPLOYMENT,
                ledger_public_key=public_key,
            ),
        )

    def _addresses(self, machine: Machine) -> LocalAddresses:
        return LocalAddresses(
            base_url=machine.url(Port.GATEWAY),
            metrics_urls={
                entry.name.value: f"{machine.url(entry.port)}/metrics"
                for entry in programs(machine)
            },
            kafka_bootstrap=machine.kafka_bootstrap,
            # Reads everything, changes nothing: for people, `fsck` and whoever just looks.
            postgres_dsn=machine.dsns[Role.FSCK],
            registry_url=machine.url(Port.GATEWAY_PRIVATE),
        )

    def _write_state(self) -> None:
        write_state(
            self._options.local_file.parent,
            {
                "pid": os.getpid(),
                "phase": self._phase,
                "data": str(self._options.data.absolute()),
                "base_url": f"http://127.0.0.1:{self._ports[Port.GATEWAY]}",
                **self._supervisor.document(),
            },
        )


def ensure_ports(path: Path) -> Mapping[Port, int]:
    """The ports of the last run where they are free, so that addresses stay; else free ones."""
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        before = None
    if not isinstance(before, dict):
        before = {}
    chosen: dict[Port, int] = {}
    for port in Port:
        number = before.get(port.value)
        while (
            not isinstance(number, int) or number in chosen.values() or accepts_connections(number)
        ):
            number = free_port()
        chosen[port] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({port.value: number for port, number in chosen.items()}))
    return chosen


def stop_left_overs(data: Path) -> list[str]:
    """End what a killed supervisor left behind, programs before servers: else its ports look taken. What it was."""
    programs_first = [data / "run" / name for name in reversed(list(ProgramName))]
    return [
        directory.name
        for directory in (*programs_first, *(data / name for name in _SERVER_FOLDERS))
        if stop_recorded(
            directory / PID_FILE, with_signal=signal.SIGTERM, seconds=_LEFT_OVER_SECONDS_MAX
        )
    ]


def set_passwords(owner_dsn: str, passwords: Mapping[Role, str]) -> None:
    """Let the roles of the migrations log in. Raises DatabaseUnavailableError, ConfigurationError."""
    try:
        with psycopg.connect(owner_dsn, autocommit=True) as connection:
            for role, password in passwords.items():
                connection.execute(
                    sql.SQL("ALTER ROLE {} {}").format(
                        sql.Identifier(role.value),
                        login_clause(connection, role=role.value, password=password),
                    )
                )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(str(error).strip()) from error
    except psycopg.Error as error:
        user = conninfo_to_dict(owner_dsn).get("user")
        raise ConfigurationError(
            f"{user} may not set the roles' passwords: {error}; give --postgres a role that "
            "created them or is allowed to"
        ) from error


def _kafka(options: Options, port: int) -> EmbeddedKafka | ApacheKafka | None:
    log_file = options.data / "logs" / "kafka.log"
    match options.kafka:
        case "embedded":
            return EmbeddedKafka(
                data_directory=options.data / "kafka-embedded", port=port, log_file=log_file
            )
        case "apache":
            return ApacheKafka(
                data_directory=options.data / "kafka-apache",
                libraries=Path(os.environ.get("PAYBOND_KAFKA_LIBRARIES") or LIBRARIES_DEFAULT),
                port=port,
                log_file=log_file,
            )
        case address if ":" in address:
            return None
        case other:
            raise ConfigurationError(f"--kafka {other}: embedded, apache or HOST:PORT")


def _postgres(options: Options, port: int) -> EmbeddedPostgres | None:
    if options.postgres != EMBEDDED:
        return None
    return EmbeddedPostgres(
        data_directory=options.data / "postgres",
        port=port,
        log_file=options.data / "logs" / "postgres.log",
    )


def _answers(base_url: str, api_key: str) -> bool:
    """Whether this key works and its tenant's ledger is there: servers may have been emptied since."""
    headers = {"authorization": f"Bearer {api_key}"}
    try:
        with httpx.Client(
            base_url=base_url, headers=headers, timeout=_HTTP_SECONDS_MAX, trust_env=False
        ) as client:
            principal = client.get("/v1/auth/principal")
            tip = client.get("/harbor/ledger/v1/tip")
    except httpx.HTTPError:
        return False
    return (
        principal.status_code == httpx.codes.OK
        and tip.status_code == httpx.codes.OK
        and not tip.json().get("empty", True)
    )

"""Each program's command line and environment, as a pure function of where its servers, keys and ports are.

Secrets are passed as names of files. What a person set in the environment wins over `defaults`, never over
`environment`: addresses and keys must fit together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from deploy.local.generated_keys import GeneratedKeys, Secret
from deploy.local.local_file import TenantAccess
from deploy.local.restart_policy import FIRST_DELAY, SESSION

HOST = "127.0.0.1"
DEPLOYMENT = "local"
PARTITIONS = 12
AGENT_PURPOSES = (
    "harbor.intent.create",
    "harbor.intent.fund",
    "harbor.intent.evidence.submit",
    "harbor.intent.settlement.confirm",
    "protocol.mandate.import",
)
API_KEY_PEPPER_ID = "p1"
CAPABILITY_KEY_ID = "c1"


class ProgramName(StrEnum):
    """In start order; stopped in reverse."""

    HARBOR = "harbor"
    RAILS = "rails"
    VIEWS = "views"
    GATEWAY = "gateway"


class Port(StrEnum):
    """Every port of one machine; the value is its name in `ports.json`."""

    GATEWAY = "gateway"
    GATEWAY_PRIVATE = "gateway_private"
    HARBOR_PRIVATE = "harbor_private"
    RAILS_PRIVATE = "rails_private"
    VIEWS_PRIVATE = "views_private"
    KAFKA = "kafka"
    POSTGRES = "postgres"


class Role(StrEnum):
    """Roles of Postgres that programs connect as; a superuser is none of them."""

    OWNER = "paybond_owner"
    STREAMS = "paybond_streams"
    GATEWAY = "paybond_gateway"
    FSCK = "paybond_fsck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where everything of one machine is. `binaries` holds the console scripts."""

    data: Path
    binaries: Path
    kafka_bootstrap: str
    is_kafka_embedded: bool
    is_kafka_single_node: bool
    dsns: Mapping[Role, str]
    ports: Mapping[Port, int]
    keys: GeneratedKeys
    has_rail_faults: bool = False

    def url(self, port: Port) -> str:
        return f"http://{HOST}:{self.ports[port]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A command that ends by itself."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command that runs until it is stopped; `/readyz` is served on `port`."""

    name: ProgramName
    command: Sequence[str]
    environment: Mapping[str, str]
    port: Port
    is_group_member: bool
    first_delay: timedelta = FIRST_DELAY
    defaults: Mapping[str, str] = field(default_factory=dict)


# What a rail does wrong in the demo: enough of it to be seen among 200 intents.
_RAIL_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "PAYBOND_HARBOR_SIMULATOR_SEED": "1",
        "PAYBOND_HARBOR_SIMULATOR_DECLINE_BPS": "400",
        "PAYBOND_HARBOR_SIMULATOR_LOSE_BPS": "200",
        "PAYBOND_HARBOR_SIMULATOR_DUPLICATE_BPS": "500",
    }
)
# A lost answer is asked for again after this; 30 s is right for a real rail, too long for someone who watches.
_REISSUE_SECONDS = "3"


def programs(machine: Machine) -> tuple[Program, ...]:
    """In start order."""
    return (
        Program(
            name=ProgramName.HARBOR,
            command=(_script(machine, "paybond-harbor"), "run"),
            environment=_harbor(machine),
            port=Port.HARBOR_PRIVATE,
            is_group_member=True,
            first_delay=SESSION,
            defaults={"PAYBOND_HARBOR_REISSUE_SECONDS": _REISSUE_SECONDS},
        ),
        Program(
            name=ProgramName.RAILS,
            command=(_script(machine, "paybond-harbor"), "rails", "run"),
            environment=_rails(machine),
            port=Port.RAILS_PRIVATE,
            is_group_member=True,
            defaults=_RAIL_FAULTS if machine.has_rail_faults else {},
        ),
        Program(
            name=ProgramName.VIEWS,
            command=(_script(machine, "paybond-streams"), "run", "views"),
            environment=_views(machine),
            port=Port.VIEWS_PRIVATE,
            is_group_member=True,
        ),
        Program(
            name=ProgramName.GATEWAY,
            command=(_script(machine, "paybond-gateway"), "run"),
            environment=_gateway(machine),
            port=Port.GATEWAY_PRIVATE,
            is_group_member=False,
        ),
    )


def preparations(machine: Machine) -> tuple[Task, ...]:
    """Before any program: tables and topics. Running them again changes nothing."""
    return (
        Task(
            name="migrate",
            command=(_script(machine, "paybond-gateway"), "migrate"),
            environment={"PAYBOND_POSTGRES_OWNER_DSN": machine.dsns[Role.OWNER]},
        ),
        Task(
            name="topics",
            command=(_script(machine, "paybond-harbor"), "topics", "apply"),
            environment=_tools(machine),
        ),
    )


def create_tenant(machine: Machine, tenant_id: str) -> Task:
    """Answers when Harbor and views have its first entry; there already: the same answer."""
    return Task(
        name=f"tenant {tenant_id}",
        command=(
            _script(machine, "paybond-harbor"),
            "tenants",
            "create",
            tenant_id,
            "--environment",
            "sandbox",
        ),
        environment=_tools(machine),
    )


def create_api_key(machine: Machine, tenant_id: str) -> Task:
    """A key of a `tenant_admin`; its bearer is the only line on stdout."""
    return Task(
        name=f"API key of {tenant_id}",
        command=(
            _script(machine, "paybond-gateway"),
            "api-keys",
            "create",
            "--tenant",
            tenant_id,
            "--environment",
            "sandbox",
        ),
        environment=_gateway(machine),
    )


def add_agent_key(machine: Machine, tenant: TenantAccess) -> Task:
    return Task(
        name=f"agent key of {tenant.tenant_id}",
        command=(
            _script(machine, "paybond-gateway"),
            "agent-keys",
            "add",
            "--tenant",
            tenant.tenant_id,
            "--key-id",
            tenant.agent_key_id,
            "--public-key",
            tenant.agent_public_key.hex(),
            *(part for purpose in AGENT_PURPOSES for part in ("--purpose", purpose)),
        ),
        environment=_gateway(machine),
    )


def tool_settings(machine: Machine) -> Mapping[str, Mapping[str, str]]:
    """Per prefix, what a person's `paybond-harbor …` needs on this machine; `run` is the supervisor's."""
    return {
        "PAYBOND_HARBOR_": _tools(machine),
        "PAYBOND_STREAMS_": _views(machine),
        "PAYBOND_GATEWAY_": _gateway(machine),
    }


def _script(machine: Machine, name: str) -> str:
    return str(machine.binaries / name)


def _shared(machine: Machine, role: Role) -> dict[str, str]:
    return {
        "PAYBOND_DEPLOYMENT": DEPLOYMENT,
        "PAYBOND_KAFKA_BOOTSTRAP": machine.kafka_bootstrap,
        "PAYBOND_KAFKA_BROKER": "embedded" if machine.is_kafka_embedded else "apache",
        "PAYBOND_KAFKA_PARTITIONS": str(PARTITIONS),
        "PAYBOND_POSTGRES_DSN": machine.dsns[role],
    }


def _harbor_shared(machine: Machine) -> dict[str, str]:
    return _shared(machine, Role.FSCK) | {
        "PAYBOND_HARBOR_DATA": str(machine.data / "harbor"),
        "PAYBOND_HARBOR_SINGLE_NODE": "true" if machine.is_kafka_single_node else "false",
    }


def _harbor(machine: Machine) -> dict[str, str]:
    return (
        _harbor_shared(machine)
        | {
            "PAYBOND_HARBOR_PRIVATE_PORT": str(machine.ports[Port.HARBOR_PRIVATE]),
            **_file(machine, "PAYBOND_HARBOR_LEDGER_SIGNING_SEED", Secret.LEDGER_SIGNING_SEED),
        }
        | {
            name: value
            for issuer in ("GATEWAY", "RAILS", "RECOVERY", "RECONCILIATION", "CLI")
            for name, value in _file(
                machine, f"PAYBOND_HARBOR_ISSUER_KEY_{issuer}", Secret[f"ISSUER_KEY_{issuer}"]
            ).items()
        }
    )


def _rails(machine: Machine) -> dict[str, str]:
    return _harbor_shared(machine) | {
        "PAYBOND_HARBOR_RAILS_PRIVATE_PORT": str(machine.ports[Port.RAILS_PRIVATE]),
        **_file(machine, "PAYBOND_HARBOR_ISSUER_KEY_RAILS", Secret.ISSUER_KEY_RAILS),
    }


def _tools(machine: Machine) -> dict[str, str]:
    return _harbor_shared(machine) | _file(
        machine, "PAYBOND_HARBOR_ISSUER_KEY_CLI", Secret.ISSUER_KEY_CLI
    )


def _views(machine: Machine) -> dict[str, str]:
    return _shared(machine, Role.STREAMS) | {
        "PAYBOND_STREAMS_PRIVATE_PORT": str(machine.ports[Port.VIEWS_PRIVATE]),
        "PAYBOND_STREAMS_LEDGER_VERIFIER_KEYS": machine.keys.ledger_public_key.hex(),
    }


def _gateway(machine: Machine) -> dict[str, str]:
    return _shared(machine, Role.GATEWAY) | {
        "PAYBOND_GATEWAY_PORT": str(machine.ports[Port.GATEWAY]),
        "PAYBOND_GATEWAY_PRIVATE_PORT": str(machine.ports[Port.GATEWAY_PRIVATE]),
        "PAYBOND_GATEWAY_API_KEY_PEPPER_ID": API_KEY_PEPPER_ID,
        "PAYBOND_GATEWAY_CAPABILITY_KEY_ID": CAPABILITY_KEY_ID,
        "PAYBOND_GATEWAY_LEDGER_VERIFIER_KEYS": machine.keys.ledger_public_key.hex(),
        **_file(machine, "PAYBOND_GATEWAY_ISSUER_KEY", Secret.ISSUER_KEY_GATEWAY),
        **_file(machine, "PAYBOND_GATEWAY_API_KEY_PEPPER", Secret.API_KEY_PEPPER),
        **_file(machine, "PAYBOND_GATEWAY_CAPABILITY_KEY", Secret.CAPABILITY_KEY),
    }


def _file(machine: Machine, variable: str, secret: Secret) -> dict[str, str]:
    return {f"{variable}_FILE": str(machine.keys.file(secret).absolute())}

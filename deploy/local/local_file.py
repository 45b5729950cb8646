"""`.paybond/local.json`: what a person or a test needs to talk to the system on this machine. Mode 0600, written whole.

Its members are a contract. It always lies in the working directory's `.paybond`, also when the data is elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.local.generated_keys import write_secret
from schemas.canonical import ed25519
from schemas.errors import ConfigurationError
from schemas.ids import TenantId
from schemas.ledger.checkpoint import verifier_key_of

LOCAL_FILE: Final = Path(".paybond") / "local.json"
# Beside it: per program's prefix, the variables its command line tools need. Programs read it as they read local.json.
SETTINGS_FILE_NAME: Final = "settings.json"

FIRST_TENANT: Final = TenantId("tenant-vec")
SECOND_TENANT: Final = TenantId("tenant-two")

# Evidence `{"status":"failed"}` does not fulfil it, so an intent that asks for it is refunded then.
REFUND_PREDICATE: Final[Mapping[str, Any]] = {
    "version": 1,
    "root": {"op": "eq", "path": ["status"], "value": "completed"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantAccess:
    """Everything that acts for one demo tenant: its API key, its agent, its two parties."""

    tenant_id: TenantId
    api_key: str
    agent_key_id: str
    agent_seed: bytes
    principal_seed: bytes
    payee_seed: bytes
    principal_did: str
    payee_did: str
    checkpoint_vkey: str

    @property
    def agent_public_key(self) -> bytes:
        return ed25519.public_key(self.agent_seed)

    def document(self) -> dict[str, Any]:
        return {
            "tenant_id": self.tenant_id,
            "api_key": self.api_key,
            "agent_key_id": self.agent_key_id,
            "agent_seed_hex": self.agent_seed.hex(),
            "principal_seed_hex": self.principal_seed.hex(),
            "payee_seed_hex": self.payee_seed.hex(),
            "principal_did": self.principal_did,
            "payee_did": self.payee_did,
            "refund_predicate": REFUND_PREDICATE,
            "checkpoint_vkey": self.checkpoint_vkey,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAddresses:
    """Where everything listens; `metrics_urls` by program."""

    base_url: str
    metrics_urls: Mapping[str, str]
    kafka_bootstrap: str
    postgres_dsn: str
    registry_url: str


def first_tenant(*, api_key: str, deployment: str, ledger_public_key: bytes) -> TenantAccess:
    """`tenant-vec`: the published keys of the signing vectors, good for a sandbox only."""
    return TenantAccess(
        tenant_id=FIRST_TENANT,
        api_key=api_key,
        agent_key_id="agent-key-1",
        agent_seed=b"\xa3" * 32,
        principal_seed=b"\xa1" * 32,
        payee_seed=b"\xa2" * 32,
        principal_did="did:web:principal.test",
        payee_did="did:web:payee.test",
        checkpoint_vkey=_vkey(FIRST_TENANT, deployment, ledger_public_key),
    )


def second_tenant(
    *,
    api_key: str,
    agent_seed: bytes,
    principal_seed: bytes,
    payee_seed: bytes,
    deployment: str,
    ledger_public_key: bytes,
) -> TenantAccess:
    """`tenant-two`: seeds of this machine alone, DIDs of its own (one key per DID, everywhere)."""
    return TenantAccess(
        tenant_id=SECOND_TENANT,
        api_key=api_key,
        agent_key_id="agent-key-2",
        agent_seed=agent_seed,
        principal_seed=principal_seed,
        payee_seed=payee_seed,
        principal_did="did:web:principal.two.test",
        payee_did="did:web:payee.two.test",
        checkpoint_vkey=_vkey(SECOND_TENANT, deployment, ledger_public_key),
    )


def document_of(
    addresses: LocalAddresses, *, first: TenantAccess, second: TenantAccess
) -> dict[str, Any]:
    """The file's members; `console_url` is null until there is a console."""
    return {
        "base_url": addresses.base_url,
        "console_url": None,
        "metrics_urls": dict(addresses.metrics_urls),
        "kafka_bootstrap": addresses.kafka_bootstrap,
        "postgres_dsn": addresses.postgres_dsn,
        "registry_url": addresses.registry_url,
        **first.document(),
        "other_api_key": second.api_key,
        "second_tenant": second.document(),
    }


def write_local_file(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all, mode 0600; also for the settings file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_secret(path, json.dumps(document, indent=2) + "\n")


def read_local_file(path: Path) -> dict[str, Any]:
    """Raises ConfigurationError."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is not there: run `paybond-local up` first") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} is not a JSON object")
    return document


def tenant_of(document: Mapping[str, Any]) -> TenantAccess:
    """A tenant's access out of the file or its `second_tenant`. Raises ConfigurationError."""
    try:
        return TenantAccess(
            tenant_id=TenantId(document["tenant_id"]),
            api_key=document["api_key"],
            agent_key_id=document["agent_key_id"],
            agent_seed=bytes.fromhex(document["agent_seed_hex"]),
            principal_seed=bytes.fromhex(document["principal_seed_hex"]),
            payee_seed=bytes.fromhex(document["payee_seed_hex"]),
            principal_did=document["principal_did"],
            payee_did=document["payee_did"],
            checkpoint_vkey=document["checkpoint_vkey"],
        )
    except KeyError as error:
        raise ConfigurationError(f"the local file lacks the member {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the local file holds a wrong value: {error}") from error


def _vkey(tenant_id: TenantId, deployment: str, public_key: bytes) -> str:
    return verifier_key_of(deployment=deployment, tenant_id=tenant_id, public_key=public_key).vkey

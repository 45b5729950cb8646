"""Secrets of one machine: one file each, mode 0600, made once and then kept with the data they belong to.

Programs get them as `NAME_FILE`, so that no secret stands in an environment or a command line.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from schemas.canonical import ed25519
from schemas.errors import ConfigurationError

KEY_BYTES = 32
# Postgres gets it in a conninfo string: hex needs no quoting.
_PASSWORD_BYTES = 24
_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700

RandomBytes = Callable[[int], bytes]


class Secret(StrEnum):
    """Every generated secret; the value is its file's name."""

    LEDGER_SIGNING_SEED = "ledger-signing-seed"
    ISSUER_KEY_GATEWAY = "issuer-key-gateway"
    ISSUER_KEY_RAILS = "issuer-key-rails"
    ISSUER_KEY_RECOVERY = "issuer-key-recovery"
    ISSUER_KEY_RECONCILIATION = "issuer-key-reconciliation"
    ISSUER_KEY_CLI = "issuer-key-cli"
    API_KEY_PEPPER = "api-key-pepper"
    CAPABILITY_KEY = "capability-key"
    POSTGRES_OWNER = "postgres-password-owner"
    POSTGRES_STREAMS = "postgres-password-streams"
    POSTGRES_GATEWAY = "postgres-password-gateway"
    POSTGRES_FSCK = "postgres-password-fsck"
    SECOND_PRINCIPAL_SEED = "tenant-two-principal-seed"
    SECOND_PAYEE_SEED = "tenant-two-payee-seed"
    SECOND_AGENT_SEED = "tenant-two-agent-seed"


_PASSWORDS = frozenset(
    {
        Secret.POSTGRES_OWNER,
        Secret.POSTGRES_STREAMS,
        Secret.POSTGRES_GATEWAY,
        Secret.POSTGRES_FSCK,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedKeys:
    """What the folder holds; every value is hex."""

    directory: Path
    values: Mapping[Secret, str]

    def file(self, secret: Secret) -> Path:
        return self.directory / secret.value

    def hex(self, secret: Secret) -> str:
        return self.values[secret]

    def raw(self, secret: Secret) -> bytes:
        return bytes.fromhex(self.values[secret])

    @property
    def ledger_public_key(self) -> bytes:
        return ed25519.public_key(self.raw(Secret.LEDGER_SIGNING_SEED))


def ensure_keys(directory: Path, random_bytes: RandomBytes) -> GeneratedKeys:
    """Every secret, those that are missing made now. Raises ConfigurationError for a file that holds none."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(_DIRECTORY_MODE)
    values: dict[Secret, str] = {}
    for secret in Secret:
        length = _PASSWORD_BYTES if secret in _PASSWORDS else KEY_BYTES
        path = directory / secret.value
        if not path.exists():
            write_secret(path, random_bytes(length).hex())
        values[secret] = _checked(path, length)
    return GeneratedKeys(directory=directory, values=MappingProxyType(values))


def write_secret(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    half = path.with_name(f"{path.name}.{os.getpid()}.new")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def _checked(path: Path, length: int) -> str:
    text = path.read_text().strip()
    # A new secret in its place would make what the old one signed or sealed unreadable: say so instead.
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise ConfigurationError(f"{path} is not hex; restore it, or remove the data too") from None
    if len(raw) != length:
        raise ConfigurationError(f"{path} has {len(raw)} bytes instead of {length}")
    return text

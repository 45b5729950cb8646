"""Settings of Harbor's programs (`run`, `rails run`, the tools): `PAYBOND_HARBOR_*` and the shared ones."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from schemas.errors import ConfigurationError
from schemas.messages.commands import Issuer
from streams.runtime.shared_settings import SharedSettings

# As much as a key id may have and more; it is no text.
_OPERATOR_CHARACTERS_MAX = 100


class HarborSettings(SharedSettings):
    """Secrets are hex of 32 bytes, from the environment or a file (`*_FILE`); each program needs only its own."""

    own_prefix: ClassVar[str] = "PAYBOND_HARBOR_"
    model_config = SettingsConfigDict(env_prefix="PAYBOND_HARBOR_")

    data: Path = Path(".paybond") / "harbor"
    """Folder of the local state: RocksDB per slot, the simulator's book."""
    slot: int = Field(default=0, ge=0)
    """This process's slot: it names its transactional id and its RocksDB. Two processes never share one."""
    single_node: bool = False
    """Accept a cluster without replication (one machine only)."""
    private_host: str = "127.0.0.1"
    """Where metrics and readiness are served."""
    private_port: int = Field(default=8082, gt=0, lt=65536)
    """Port of `paybond-harbor run`."""
    rails_private_port: int = Field(default=8083, gt=0, lt=65536)
    """Port of `paybond-harbor rails run`."""
    ledger_signing_seed: SecretStr | None = None
    """Ed25519 seed of the ledger's checkpoints."""
    ledger_verifier_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """Public keys of the ledger that `fsck` believes, hex, `,` between; that of the signing seed is believed too."""
    issuer_key_gateway: SecretStr | None = None
    """MAC key of commands issued by the gateway."""
    issuer_key_rails: SecretStr | None = None
    """MAC key of commands issued by the rail worker."""
    issuer_key_recovery: SecretStr | None = None
    """MAC key of commands issued by the tick."""
    issuer_key_reconciliation: SecretStr | None = None
    """MAC key of commands issued by reconciliation."""
    issuer_key_cli: SecretStr | None = None
    """MAC key of commands issued by these tools."""
    operator: str = "cli"
    """Who decides by these tools, for the record: an opaque subject, never a name."""
    batch_records_max: int = Field(default=2000, gt=0)
    """Commands in one transaction."""
    reissue_seconds: float = Field(default=30.0, gt=0)
    """After this long without a rail's answer its effect is issued again; doubles up to 15 minutes."""
    simulator_seed: int = 0
    """What goes wrong in the simulator follows from this and the effect's id."""
    simulator_delay_milliseconds: int = Field(default=20, ge=0)
    """How long each of its answers takes."""
    simulator_decline_bps: int = Field(default=0, ge=0, le=10_000)
    """Holds and captures it declines, in basis points."""
    simulator_lose_bps: int = Field(default=0, ge=0, le=10_000)
    """First answers it loses, in basis points."""
    simulator_duplicate_bps: int = Field(default=0, ge=0, le=10_000)
    """Answers it gives twice, in basis points."""

    @field_validator("ledger_verifier_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value

    @field_validator("operator")
    @classmethod
    def _opaque(cls, value: str) -> str:
        """It stands in records that are kept for ever, and on screens."""
        if not value.strip() or not value.isprintable() or len(value) > _OPERATOR_CHARACTERS_MAX:
            raise ValueError(
                f"an operator is named by 1 to {_OPERATOR_CHARACTERS_MAX} printable characters"
            )
        return value

    @property
    def transactional_id(self) -> str:
        return f"paybond-harbor-{self.slot}"

    @property
    def issuer_keys(self) -> dict[Issuer, bytes]:
        """Those that are set; Harbor refuses the commands of an issuer without a key."""
        return {
            issuer: hex_bytes(secret, f"PAYBOND_HARBOR_ISSUER_KEY_{issuer.upper()}")
            for issuer in Issuer
            if (secret := getattr(self, f"issuer_key_{issuer.value}")) is not None
        }

    def issuer_key(self, issuer: Issuer) -> bytes:
        """Raises ConfigurationError when it is not set."""
        key = self.issuer_keys.get(issuer)
        if key is None:
            raise ConfigurationError(f"PAYBOND_HARBOR_ISSUER_KEY_{issuer.upper()} is not set")
        return key

    @property
    def signing_seed(self) -> bytes:
        """Raises ConfigurationError when it is not set."""
        if self.ledger_signing_seed is None:
            raise ConfigurationError("PAYBOND_HARBOR_LEDGER_SIGNING_SEED is not set")
        return hex_bytes(self.ledger_signing_seed, "PAYBOND_HARBOR_LEDGER_SIGNING_SEED")


def hex_bytes(secret: SecretStr, name: str) -> bytes:
    """A secret's 32 bytes. Raises ConfigurationError."""
    try:
        raw = bytes.fromhex(secret.get_secret_value())
    except ValueError as error:
        raise ConfigurationError(f"{name} is not hex") from error
    if len(raw) != 32:
        raise ConfigurationError(f"{name} is not 32 bytes")
    return raw

"""Settings of the gateway: `PAYBOND_GATEWAY_*` and the shared ones."""

from typing import Annotated, ClassVar

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from gateway.auth.api_key import Peppers
from schemas.errors import ConfigurationError
from streams.runtime.shared_settings import SharedSettings


class GatewaySettings(SharedSettings):
    """Secrets are hex of 32 bytes, from the environment or from a file (`*_FILE`)."""

    own_prefix: ClassVar[str] = "PAYBOND_GATEWAY_"
    model_config = SettingsConfigDict(env_prefix="PAYBOND_GATEWAY_")

    host: str = "127.0.0.1"
    """Where the public listener binds."""
    port: int = Field(default=8080, gt=0, lt=65536)
    """Its port."""
    private_host: str = "127.0.0.1"
    """Where metrics, readiness and the schema registry are served."""
    private_port: int = Field(default=8081, gt=0, lt=65536)
    """Its port."""
    command_wait_seconds: float = Field(default=5.0, gt=0)
    """How long a request waits for Kafka to have its command (else 503), then for its decision (else 202 or 503)."""
    rail_wait_seconds: float = Field(default=0.5, ge=0)
    """How much longer it waits for a rail's answer, so that a fast rail needs no polling."""
    issuer_key: SecretStr
    """MAC key of the commands this gateway issues."""
    api_key_pepper_id: str = "p1"
    """Under which pepper new API keys are stored."""
    api_key_pepper: SecretStr
    """That pepper."""
    api_key_peppers_old: Annotated[dict[str, SecretStr], NoDecode] = Field(default_factory=dict)
    """Peppers that still verify, `id:hex,…`."""
    capability_key_id: str = "c1"
    """Id of the capability key."""
    capability_key: SecretStr
    """Signs capability tokens and operation ids."""
    ledger_verifier_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """Public keys of the ledger, hex, oldest first, `,` between: never one found beside a signature."""
    pool_connections_max: int = Field(default=8, gt=0)
    """Postgres connections of this process."""

    @field_validator("ledger_verifier_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value

    @field_validator("api_key_peppers_old", mode="before")
    @classmethod
    def _split_peppers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return dict(part.split(":", 1) for part in filter(None, value.split(",")))

    @property
    def peppers(self) -> Peppers:
        keys = {name: hex_bytes(key) for name, key in self.api_key_peppers_old.items()}
        keys[self.api_key_pepper_id] = hex_bytes(self.api_key_pepper)
        return Peppers(active_id=self.api_key_pepper_id, keys=keys)


def hex_bytes(secret: SecretStr) -> bytes:
    """A secret's 32 bytes. Raises ConfigurationError."""
    try:
        raw = bytes.fromhex(secret.get_secret_value())
    except ValueError as error:
        raise ConfigurationError("a key is not hex") from error
    if len(raw) != 32:
        raise ConfigurationError("a key is not 32 bytes")
    return raw

"""Settings of `paybond-streams`: `PAYBOND_STREAMS_*` and the shared ones."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from schemas.errors import ConfigurationError
from streams.runtime.kafka_source import BATCH_RECORDS_MAX
from streams.runtime.shared_settings import SharedSettings

_KEY_BYTES = 32


class StreamsSettings(SharedSettings):
    """One program, one group per agent."""

    own_prefix: ClassVar[str] = "PAYBOND_STREAMS_"
    model_config = SettingsConfigDict(env_prefix="PAYBOND_STREAMS_")

    private_host: str = "127.0.0.1"
    """Where metrics and readiness are served."""
    private_port: int = Field(default=8084, gt=0, lt=65536)
    """Its port."""
    ledger_verifier_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """Public keys of the ledger, hex, `,` between: a checkpoint that none of them signed is a dead letter."""
    batch_records_max: int = Field(default=BATCH_RECORDS_MAX, gt=0, le=10_000)
    """Records in one batch: what one transaction holds, and what a crash reads again."""
    pool_connections_max: int = Field(default=4, gt=0)
    """Postgres connections of this process."""

    @field_validator("ledger_verifier_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """Raises ConfigurationError: there must be one, and each must be hex of 32 bytes."""
        if not self.ledger_verifier_keys:
            raise ConfigurationError("PAYBOND_STREAMS_LEDGER_VERIFIER_KEYS is not set")
        return tuple(_key(text) for text in self.ledger_verifier_keys)


def _key(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise ConfigurationError(f"the ledger key {text[:16]!r} is not hex") from error
    if len(raw) != _KEY_BYTES:
        raise ConfigurationError(f"the ledger key {text[:16]!r} is not {_KEY_BYTES} bytes")
    return raw

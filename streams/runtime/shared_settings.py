"""Settings that every program shares, and how each program reads its own: flag > environment > `.paybond/local.json`.

A variable with a program's own prefix that no field claims refuses to start: a misspelt setting must not be silent.
"""

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from schemas.errors import ConfigurationError
from schemas.topics import PARTITIONS_ONE_MACHINE

LOCAL_FILE = Path(".paybond") / "local.json"
# Per program's prefix, variables as they would stand in its environment: what a tool needs beyond local.json.
LOCAL_SETTINGS_FILE = Path(".paybond") / "settings.json"
_SHARED_PREFIXES = (
    "PAYBOND_KAFKA_",
    "PAYBOND_POSTGRES_",
    "PAYBOND_SETTLEMENT_",
    "PAYBOND_SIGNAL_",
    "PAYBOND_DEPLOYMENT",
)
# What `paybond-local` writes for people is what programs fall back to.
_FROM_LOCAL_FILE = {"kafka_bootstrap": "kafka_bootstrap", "postgres_dsn": "postgres_dsn"}


class Broker(StrEnum):
    """`embedded` has no stable offsets, no KIP-848 and accepts a stale generation: never in production."""

    APACHE = "apache"
    EMBEDDED = "embedded"


class GroupProtocol(StrEnum):
    """`consumer` = KIP-848, balanced and incremental; `classic` where the broker lacks it."""

    CLASSIC = "classic"
    CONSUMER = "consumer"


class SecurityProtocol(StrEnum):
    """How clients speak with the brokers; written in either case."""

    PLAINTEXT = "plaintext"
    SSL = "ssl"
    SASL_PLAINTEXT = "sasl_plaintext"
    SASL_SSL = "sasl_ssl"


class SharedSettings(BaseSettings):
    """Fields without a program's prefix; each program's class adds its own under `PAYBOND_<PROGRAM>_`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    own_prefix: ClassVar[str] = ""

    deployment: str = Field(default="local", validation_alias="PAYBOND_DEPLOYMENT")
    """Part of every ledger's origin: `paybond/<deployment>/<tenant>`."""
    kafka_bootstrap: str = Field(default="", validation_alias="PAYBOND_KAFKA_BOOTSTRAP")
    """Brokers, `host:port,…`."""
    kafka_broker: Broker = Field(default=Broker.APACHE, validation_alias="PAYBOND_KAFKA_BROKER")
    """What the broker can do."""
    kafka_partitions: int = Field(
        default=PARTITIONS_ONE_MACHINE, gt=0, validation_alias="PAYBOND_KAFKA_PARTITIONS"
    )
    """P: partitions of every tenant-keyed topic, fixed when the cluster is born."""
    kafka_group_protocol: GroupProtocol = Field(
        default=GroupProtocol.CLASSIC, validation_alias="PAYBOND_KAFKA_GROUP_PROTOCOL"
    )
    """KIP-848 or the classic protocol with a balanced assignor."""
    kafka_session_milliseconds: int = Field(
        default=6000, ge=1000, validation_alias="PAYBOND_KAFKA_SESSION_MILLISECONDS"
    )
    """After this long without a heartbeat another member takes over."""
    kafka_sasl_username: str | None = Field(
        default=None, validation_alias="PAYBOND_KAFKA_SASL_USERNAME"
    )
    """SASL/SCRAM user; none = no SASL."""
    kafka_sasl_password: SecretStr | None = Field(
        default=None, validation_alias="PAYBOND_KAFKA_SASL_PASSWORD"
    )
    """SASL/SCRAM password."""
    kafka_security_protocol: SecurityProtocol = Field(
        default=SecurityProtocol.PLAINTEXT, validation_alias="PAYBOND_KAFKA_SECURITY_PROTOCOL"
    )
    """`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`."""
    postgres_dsn: SecretStr = Field(default=SecretStr(""), validation_alias="PAYBOND_POSTGRES_DSN")
    """This program's own role, never a superuser's."""

    @field_validator("kafka_security_protocol", mode="before")
    @classmethod
    def _in_either_case(cls, value: object) -> object:
        """Kafka's own tools write it in capitals."""
        return value.lower() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 – pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            env_settings,
            _SecretFiles(settings_cls),
            _LocalSettingsFile(settings_cls),
            _LocalFile(settings_cls),
        )

    @classmethod
    def read(cls, **flags: Any) -> Self:
        """Flags that were given, then the environment, then the local file. Raises ConfigurationError."""
        unclaimed = sorted(_unclaimed(cls, os.environ))
        if unclaimed:
            raise ConfigurationError(f"no setting is called {', '.join(unclaimed)}")
        given = {name: value for name, value in flags.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            raise ConfigurationError(_sentence(cls, error)) from error


def environment_name(settings: type[SharedSettings], field: str) -> str:
    """The variable that sets a field."""
    alias = settings.model_fields[field].validation_alias
    return str(alias) if alias else f"{settings.own_prefix}{field}".upper()


def _unclaimed(settings: type[SharedSettings], environment: Any) -> set[str]:
    claimed = {environment_name(settings, field) for field in settings.model_fields}
    claimed |= {f"{name}_FILE" for name in claimed}
    own = {
        name for name in environment if settings.own_prefix and name.startswith(settings.own_prefix)
    }
    return own - claimed


def _sentence(settings: type[SharedSettings], error: ValidationError) -> str:
    faults = []
    for fault in error.errors():
        field = str(fault["loc"][0]) if fault["loc"] else "?"
        name = environment_name(settings, field) if field in settings.model_fields else field
        faults.append(f"{name}: {fault['msg']}")
    return "; ".join(faults)


def _file_values(settings: Any, variables: Mapping[str, str]) -> dict[str, Any]:
    """`NAME_FILE` = a file whose content is NAME. Raises ConfigurationError."""
    found: dict[str, Any] = {}
    for field, info in settings.model_fields.items():
        name = environment_name(settings, field)
        path = variables.get(f"{name}_FILE")
        if path:
            try:
                content = Path(path).read_text().strip()
            except OSError as error:
                raise ConfigurationError(f"{name}_FILE: {error}") from error
            found[str(info.validation_alias or field)] = content
    return found


class _SecretFiles(PydanticBaseSettingsSource):
    """`NAME_FILE` = a file whose content is NAME: secrets as mounted files."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        raise AssertionError("only called as a whole")

    def __call__(self) -> dict[str, Any]:
        return _file_values(self.settings_cls, os.environ)


class _LocalSettingsFile(PydanticBaseSettingsSource):
    """What `paybond-local up` gives its own programs: so that tools work in its directory without any variable."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        raise AssertionError("only called as a whole")

    def __call__(self) -> dict[str, Any]:
        try:
            document = json.loads(LOCAL_SETTINGS_FILE.read_text())
        except (OSError, ValueError):
            return {}
        variables = document.get(self.settings_cls.own_prefix, {})  # type: ignore[attr-defined]
        plain = {
            str(info.validation_alias or field): variables[name]
            for field, info in self.settings_cls.model_fields.items()
            if (name := environment_name(self.settings_cls, field)) in variables  # type: ignore[arg-type]
        }
        return plain | _file_values(self.settings_cls, variables)


class _LocalFile(PydanticBaseSettingsSource):
    """What `paybond-local up` wrote into this directory."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        raise AssertionError("only called as a whole")

    def __call__(self) -> dict[str, Any]:
        try:
            document = json.loads(LOCAL_FILE.read_text())
        except (OSError, ValueError):
            return {}
        return {
            str(self.settings_cls.model_fields[field].validation_alias): document[member]
            for member, field in _FROM_LOCAL_FILE.items()
            if document.get(member) and field in self.settings_cls.model_fields
        }

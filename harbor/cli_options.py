"""Flags that commands of `paybond-harbor` share, and how they become settings: flag > environment > local file."""

import asyncio
import json
import re
import secrets
from collections.abc import Coroutine
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import typer

from harbor.inspection.states import States
from harbor.settings import HarborSettings
from schemas.errors import ConfigurationError
from schemas.ids import TenantId, is_tenant_id
from streams.runtime.logs import set_up_logs

Result = TypeVar("Result")
# At most 6 digits: a span of time must stay one that a clock can be moved by.
_DURATION = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

# A sentence or two: it is kept in a tenant's row, which Harbor reads with each command.
_REASON_CHARACTERS_MAX = 500
# Ours have 16; a script may bring its own.
_ATTEMPT_CHARACTERS_MAX = 100


def _readable_reason(text: str) -> str:
    """Before anything else: who finds it later must be able to read it. Bytes that are no UTF-8 are not printable."""
    if not text.strip():
        raise typer.BadParameter("it is blank; say why, whoever finds the record will ask")
    if len(text) > _REASON_CHARACTERS_MAX:
        raise typer.BadParameter(
            f"it has {len(text)} characters, at most {_REASON_CHARACTERS_MAX} are kept"
        )
    if not text.isprintable():
        raise typer.BadParameter("it has characters that can't be printed; one line of text")
    return text


def _readable_attempt(text: str | None) -> str | None:
    """Any text that was chosen before; the command's id is made of it."""
    if text is not None and (
        not text.isprintable() or not 0 < len(text) <= _ATTEMPT_CHARACTERS_MAX
    ):
        raise typer.BadParameter(f"1 to {_ATTEMPT_CHARACTERS_MAX} printable characters")
    return text


BootstrapOption = Annotated[
    str | None,
    typer.Option("--kafka-bootstrap", help="Brokers, host:port,… [PAYBOND_KAFKA_BOOTSTRAP]"),
]
PartitionsOption = Annotated[
    int | None,
    typer.Option("--partitions", help="P, fixed at the cluster's birth [PAYBOND_KAFKA_PARTITIONS]"),
]
SingleNodeOption = Annotated[
    bool | None,
    typer.Option(
        "--single-node/--replicated",
        help="Accept one copy of every record [PAYBOND_HARBOR_SINGLE_NODE]",
        show_default=False,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ReasonOption = Annotated[
    str,
    typer.Option(
        "--reason", help="Why, for the record; no personal data.", callback=_readable_reason
    ),
]
ByOption = Annotated[
    str | None,
    typer.Option(
        "--by", help="Who, for the record: an opaque subject, no name [PAYBOND_HARBOR_OPERATOR]"
    ),
]
AttemptOption = Annotated[
    str | None,
    typer.Option(
        "--attempt",
        help="Repeat an earlier call: the id it printed.",
        callback=_readable_attempt,
    ),
]
TenantOption = Annotated[str, typer.Option("--tenant", help="The tenant's id.")]


def settings_of(
    *,
    bootstrap: str | None = None,
    partitions: int | None = None,
    single_node: bool | None = None,
    **flags: Any,
) -> HarborSettings:
    """Raises ConfigurationError."""
    settings = HarborSettings.read(
        kafka_bootstrap=bootstrap, kafka_partitions=partitions, single_node=single_node, **flags
    )
    if not settings.kafka_bootstrap:
        raise ConfigurationError("PAYBOND_KAFKA_BOOTSTRAP (--kafka-bootstrap) is not set")
    return settings


def run_tool(work: Coroutine[Any, Any, Result]) -> Result:
    """For all commands but `run`: talk goes to stderr."""
    set_up_logs("paybond-harbor-cli")
    return asyncio.run(work)


def tell(text: str) -> None:
    """Talk, beside the result."""
    typer.echo(plain(text), err=True)


def tell_unreadable(states: States) -> None:
    """A state that can't be read must not look like one that is not there."""
    for key, why in sorted(states.unreadable.items()):
        tell(f"can't be read: {key.decode('utf-8', 'backslashreplace')}: {why}")


def exit_code(states: States) -> int:
    """Of a list: one that may lack something is no success."""
    return 1 if states.unreadable else 0


def show(document: object) -> None:
    """The same JSON value, without a character that a terminal would act on."""
    text = json.dumps(document, indent=1, ensure_ascii=False)
    typer.echo("".join(one if one.isprintable() or one == "\n" else _escaped(one) for one in text))


def show_row(*columns: str) -> None:
    """One line of a result for people; tabs between columns."""
    typer.echo("\t".join(map(plain, columns)))


def plain(text: str) -> str:
    """Reasons and ids may come from whoever could write to a topic: no terminal is to obey them."""
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    """As JSON writes it."""
    return json.dumps(character)[1:-1]


def tenant_of(text: str) -> TenantId:
    if not is_tenant_id(text):
        raise ConfigurationError(f"{text!r} is no tenant id ([a-z0-9][a-z0-9-]{{1,62}})")
    return TenantId(text)


def attempt_of(given: str | None) -> str:
    """The one that is repeated, or a new one."""
    return given or secrets.token_hex(8)


def tell_attempt(attempt: str) -> None:
    """Before anything is sent: whoever hears nothing more must be able to repeat it."""
    tell(f"attempt {attempt}")


def repeated(attempt: str) -> str:
    """What finds the outcome of an attempt that nobody has heard of; without the flag it would be another one."""
    return f"The same call with --attempt {attempt}"


def duration_of(text: str) -> timedelta:
    """`30s`, `5m`, `72h`, `7d`. Raises ConfigurationError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r} is no duration (30s, 5m, 72h, 7d)")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})

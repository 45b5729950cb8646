"""`paybond-harbor tenants create|list`: a tenant begins by a command, through the same door as everything."""

from contextlib import aclosing
from datetime import timedelta
from typing import Annotated

import psycopg
import typer

from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.bootstrap import command_desk, durability_of, log_reader
from harbor.cli_options import (
    BootstrapOption,
    DryRunOption,
    JsonOption,
    PartitionsOption,
    SingleNodeOption,
    run_tool,
    settings_of,
    show,
    tell,
    tenant_of,
)
from harbor.engine.provisioning import Operator, ProvisionResult, provision, provision_command
from harbor.settings import HarborSettings
from schemas.errors import BrokerUnavailableError, DatabaseUnavailableError, StateMismatchError
from schemas.ids import TenantId
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import Command
from schemas.messages.events import LedgerEntry, TenantProvisioned
from schemas.messages.outcomes import Outcome
from schemas.messages.shared import Environment, SettlementMode
from schemas.topics import ledger_topic, tenant_of_ledger_topic
from streams.runtime.clock import SystemClock
from streams.runtime.kafka_clients import client_settings

app = typer.Typer(help="Tenants: a ledger each.", no_args_is_help=True)

_VIEW_PAUSE = timedelta(milliseconds=200)
_IN_VIEWS = "SELECT 1 FROM views.tenants WHERE tenant_id = %(tenant_id)s"

WaitOption = Annotated[
    int, typer.Option("--wait", min=1, help="Seconds to wait for the answer, and for the views.")
]


@app.command("create")
def create(
    tenant: Annotated[
        str, typer.Argument(help="Its id, never used again: [a-z0-9][a-z0-9-]{1,62}")
    ],
    environment: Annotated[Environment, typer.Option("--environment", help="Fixed for ever.")],
    *,
    mode: Annotated[
        SettlementMode | None,
        typer.Option("--settlement-mode", help="Simulated for sandbox tenants by default."),
    ] = None,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    single_node: SingleNodeOption = None,
    wait: WaitOption = 30,
    dry_run: DryRunOption = False,
) -> None:
    """Make a tenant: its ledger topic and entry 1. Done when Harbor and the views have it; may be repeated.

    The views are asked if PAYBOND_POSTGRES_DSN is set. Needs PAYBOND_HARBOR_ISSUER_KEY_CLI.
    """
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, single_node=single_node)
    tenant_id = tenant_of(tenant)
    command = provision_command(
        tenant_id,
        environment=environment,
        mode=mode or _mode_for(environment),
        deployment=settings.deployment,
        operator=Operator(ref="cli"),
    )
    if dry_run:
        show({"tenant_id": tenant_id, "result": "dry_run", "topic": ledger_topic(tenant_id)})
        return
    result, outcome = run_tool(_create(settings, command, wait=timedelta(seconds=wait)))
    show(
        {
            "tenant_id": tenant_id,
            "environment": environment.value,
            "result": result.value,
            "ledger_seq": outcome.ledger_seq,
        }
    )


@app.command("list")
def list_tenants(*, bootstrap: BootstrapOption = None, as_json: JsonOption = False) -> None:
    """Every ledger topic: environment and number of entries; one without an entry is no tenant yet."""
    settings = settings_of(bootstrap=bootstrap)
    rows = run_tool(_list(settings))
    if as_json:
        show(rows)
        return
    for row in rows:
        typer.echo(f"{row['tenant_id']}\t{row['environment'] or '-'}\t{row['entries']}")


async def _create(
    settings: HarborSettings, command: Command, *, wait: timedelta
) -> tuple[ProvisionResult, Outcome]:
    topics = KafkaTopics(client_settings(settings, client_id="paybond-harbor-cli"))
    try:
        async with command_desk(settings) as desk:
            answer = await provision(
                command,
                topics=topics,
                desk=desk,
                durability=durability_of(settings),
                wait=wait,
            )
    finally:
        await topics.close()
    await _until_in_views(settings, TenantId(command.tenant_id), wait=wait)
    return answer


async def _until_in_views(
    settings: HarborSettings, tenant_id: TenantId, *, wait: timedelta
) -> None:
    dsn = settings.postgres_dsn.get_secret_value()
    if not dsn:
        tell("PAYBOND_POSTGRES_DSN is not set: the views were not asked")
        return
    clock = SystemClock()
    waited = timedelta()
    try:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            while waited < wait:
                found = await connection.execute(_IN_VIEWS, {"tenant_id": tenant_id})
                if await found.fetchone() is not None:
                    return
                await clock.sleep(_VIEW_PAUSE)
                waited += _VIEW_PAUSE
    except psycopg.Error as error:
        raise DatabaseUnavailableError(str(error)) from error
    raise BrokerUnavailableError(
        f"{tenant_id} is provisioned, but the views do not have it after "
        f"{wait.total_seconds():g} s: does paybond-streams run?"
    )


async def _list(settings: HarborSettings) -> list[dict[str, object]]:
    reader = log_reader(settings, client_id="paybond-harbor-cli")
    try:
        tenants = sorted(
            tenant_id
            for tenant_id in map(tenant_of_ledger_topic, await reader.ledger_topics())
            if tenant_id is not None
        )
        return [await _row(reader, tenant_id) for tenant_id in tenants]
    finally:
        await reader.close()


async def _row(reader: KafkaLogReader, tenant_id: TenantId) -> dict[str, object]:
    topic = ledger_topic(tenant_id)
    last = await reader.last_record(topic, 0)
    if last is None or last.value is None:
        return {"tenant_id": tenant_id, "environment": None, "entries": 0}
    return {
        "tenant_id": tenant_id,
        "environment": await _environment(reader, tenant_id, end=last.offset + 1),
        "entries": decode_as(LedgerEntry, last.value).seq,
    }


async def _environment(reader: KafkaLogReader, tenant_id: TenantId, *, end: int) -> str:
    topic = ledger_topic(tenant_id)
    start = await reader.beginning_offset(topic, 0)
    async with aclosing(reader.read(topic, 0, start=start, end=end)) as records:
        async for record in records:
            entry = decode_as(LedgerEntry, record.value or b"")
            if isinstance(entry.event, TenantProvisioned):
                return entry.event.environment.value
            break
    raise StateMismatchError(subject=topic, reason="it does not begin with tenant_provisioned")


def _mode_for(environment: Environment) -> SettlementMode:
    if environment is Environment.SANDBOX:
        return SettlementMode.SIMULATED
    return SettlementMode.STRIPE_CONNECT

"""`paybond-gateway`: run it, migrate its database, make first keys, restore its rows, print its OpenAPI document."""

import asyncio
import json
import sys
from typing import Annotated

import typer
import uvloop

from gateway.adapters.kafka_gateway_rows import KafkaRowHistory
from gateway.adapters.postgres_rows import PostgresRowStore
from gateway.app import create_app, run_gateway
from gateway.auth.api_key import KeyKind
from gateway.auth.key_admin import AgentKeyRequest
from gateway.auth.permissions import ALL, Permission
from gateway.bootstrap import PROGRAM, administration
from gateway.outbox.restore import restore
from gateway.settings import GatewaySettings
from schemas.errors import ConfigurationError, PaybondError
from schemas.ids import TenantId, is_tenant_id
from schemas.messages.shared import Environment
from streams.runtime.kafka_clients import reader_settings
from streams.runtime.logs import set_up_logs
from streams.runtime.migrations import migrate as run_migrations
from streams.runtime.postgres import open_pool

app = typer.Typer(help="The public REST API.", no_args_is_help=True)
api_keys = typer.Typer(help="API keys: a tenant's first one is made here.", no_args_is_help=True)
agent_keys = typer.Typer(help="Trusted agent keys.", no_args_is_help=True)
rows = typer.Typer(help="The gateway's own rows.", no_args_is_help=True)
app.add_typer(api_keys, name="api-keys")
app.add_typer(agent_keys, name="agent-keys")
app.add_typer(rows, name="rows")

TenantOption = Annotated[str, typer.Option("--tenant", help="The tenant's id.")]
_OWNER_DSN = "PAYBOND_POSTGRES_OWNER_DSN"


@app.command()
def run() -> None:
    """Serve until stopped (settings: PAYBOND_GATEWAY_*, PAYBOND_KAFKA_*, PAYBOND_POSTGRES_DSN)."""
    set_up_logs(PROGRAM)
    uvloop.run(run_gateway(GatewaySettings.read()))


@app.command()
def migrate(
    dsn: Annotated[
        str, typer.Option(envvar=_OWNER_DSN, help="As paybond_owner, who owns every table.")
    ],
) -> None:
    """Bring the database's schema up to this release."""
    for migration in run_migrations(dsn):
        print(f"applied {migration.name}")


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    print(json.dumps(create_app().openapi(), indent=1))


@api_keys.command("create")
def create_api_key(
    tenant: TenantOption,
    environment: Annotated[Environment, typer.Option(help="Of the tenant.")],
    permission: Annotated[
        list[Permission] | None, typer.Option(help="May be given several times; all by default.")
    ] = None,
    label: Annotated[str, typer.Option(help="For people.")] = "command line",
) -> None:
    """Make a key and print it once; only its digest is kept."""

    async def create() -> str:
        async with administration(GatewaySettings.read()) as admin:
            issued = await admin.keys.issue(
                _tenant(tenant),
                environment=environment,
                kind=KeyKind.STANDARD,
                permissions=frozenset(map(str, permission or ALL)),
                label=label,
            )
            return issued.bearer

    set_up_logs(PROGRAM)
    print(asyncio.run(create()))


@agent_keys.command("add")
def add_agent_key(
    tenant: TenantOption,
    key_id: Annotated[str, typer.Option(help="The key's id, as proofs name it.")],
    public_key: Annotated[str, typer.Option(help="Ed25519, 64 hex characters.")],
    purpose: Annotated[list[str], typer.Option(help="May be given several times.")],
) -> None:
    """Trust an agent's key for a tenant."""

    async def add() -> None:
        async with administration(GatewaySettings.read()) as admin:
            await admin.keys.trust(
                _tenant(tenant),
                AgentKeyRequest(
                    key_id=key_id,
                    public_key=_public_key(public_key),
                    purposes=tuple(purpose),
                    expires_at=None,
                ),
            )

    set_up_logs(PROGRAM)
    asyncio.run(add())
    print(f"{key_id} is trusted for {tenant}")


@rows.command("restore")
def restore_rows() -> None:
    """Rebuild schema `gateway` of an empty database from `paybond.gateway.rows`."""

    async def run_restore() -> None:
        settings = GatewaySettings.read()
        history = KafkaRowHistory(
            reader_settings(settings, client_id="paybond-gateway-restore"),
            partitions=settings.kafka_partitions,
        )
        dsn = settings.postgres_dsn.get_secret_value()
        async with open_pool(dsn, program=PROGRAM) as pool:
            print(await restore(history, PostgresRowStore(pool)))

    set_up_logs(PROGRAM)
    asyncio.run(run_restore())


def _tenant(text: str) -> TenantId:
    if not is_tenant_id(text):
        raise ConfigurationError(f"{text!r} is no tenant id ([a-z0-9][a-z0-9-]{{1,62}})")
    return TenantId(text)


def _public_key(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise ConfigurationError("--public-key is not hex") from error
    if len(raw) != 32:
        raise ConfigurationError("--public-key is not 32 bytes")
    return raw


def main() -> None:
    try:
        app()
    except PaybondError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)

"""`paybond-harbor`: run it, make a cluster match, provision tenants, look at it, check it."""

import asyncio
import sys
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from harbor import tools
from harbor.adapters.kafka_topics import acl_lines
from harbor.app import run_harbor
from harbor.bootstrap import topics_of
from harbor.rails.cli import app as rails_app
from harbor.settings import HarborSettings
from schemas.errors import PaybondError
from schemas.messages.avro_codec import registry
from schemas.messages.avro_compatibility import registry_faults
from schemas.messages.shared import Environment
from streams.runtime.logs import set_up_logs

PROGRAM = "paybond-harbor"
app = typer.Typer(help="The only writer of the ledger.", no_args_is_help=True)
topics = typer.Typer(help="Make a cluster match the table of topics.", no_args_is_help=True)
schemas = typer.Typer(help="Message schemas.", no_args_is_help=True)
tenants = typer.Typer(help="Tenants.", no_args_is_help=True)
quarantine = typer.Typer(help="Tenants that are stopped.", no_args_is_help=True)
app.add_typer(topics, name="topics")
app.add_typer(schemas, name="schemas")
app.add_typer(tenants, name="tenants")
app.add_typer(quarantine, name="quarantine")
app.add_typer(rails_app, name="rails")

_REFUSED = 1
_talk = Console(stderr=True)
_out = Console()


@app.command()
def run() -> None:
    """Decide commands until stopped (settings: PAYBOND_HARBOR_*, PAYBOND_KAFKA_*)."""
    set_up_logs(PROGRAM)
    uvloop.run(run_harbor(HarborSettings.read()))


@app.command()
def status() -> None:
    """Where each partition's input stands, and what was decided of it."""
    rows = asyncio.run(tools.positions(HarborSettings.read()))
    table = Table("partition", "decided up to", "log ends at", "waiting")
    for row in rows:
        table.add_row(*map(str, (row.partition, row.position, row.end, row.waiting)))
    _out.print(table)


@topics.command("apply")
def topics_apply(
    *,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
) -> None:
    """Create what is missing, set what differs; partitions are never added."""
    cluster = topics_of(HarborSettings.read())
    if not dry_run:
        for name in cluster.create_missing():
            print(f"created {name}")
        for changed in cluster.set_configs():
            print(f"set {changed}")
    _print_differences(cluster.differences())


@topics.command("diff")
def topics_diff() -> None:
    """What of the cluster is not as the table says; exit 1 if anything is."""
    differences = topics_of(HarborSettings.read()).differences()
    _print_differences(differences)
    if differences:
        raise typer.Exit(_REFUSED)


def _print_differences(differences: list[tools.Difference]) -> None:
    for one in differences:
        print(f"{'!' if one.is_fatal else ' '} {one.topic} {one.what}")


@topics.command("acls")
def topics_acls() -> None:
    """Arguments for `kafka-acls`, one grant a line: each program what it needs and no more."""
    for line in acl_lines():
        print(line)


@schemas.command("check")
def schemas_check() -> None:
    """Whether the registry is whole and every schema reads what the older ones wrote."""
    faults = registry_faults(registry())
    for fault in faults:
        print(fault)
    if faults:
        raise typer.Exit(_REFUSED)
    print(f"{len(registry())} schemas, no faults")


@tenants.command("create")
def tenants_create(
    tenant: Annotated[str, typer.Argument(help="[a-z0-9][a-z0-9-]{1,62}; never used again.")],
    environment: Annotated[Environment, typer.Option(help="Fixed for ever.")],
    *,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
) -> None:
    """Make the ledger topic, provision the tenant, and wait until Harbor has written entry 1."""
    set_up_logs(PROGRAM)
    settings = HarborSettings.read()
    if dry_run:
        print(f"would create {tenant} ({environment.value})")
        return
    print(asyncio.run(tools.create_tenant(settings, tenant, environment)))


@tenants.command("list")
def tenants_list() -> None:
    """Every tenant, its environment, and the size of its ledger."""
    table = Table("tenant", "environment", "settlement", "ledger size", "quarantine")
    for row in asyncio.run(tools.tenants(HarborSettings.read())):
        table.add_row(*row)
    _out.print(table)


@quarantine.command("list")
def quarantine_list() -> None:
    """Tenants stopped by a command that could not be decided; exit 1 if there are any."""
    rows = [row for row in asyncio.run(tools.tenants(HarborSettings.read())) if row[-1]]
    for row in rows:
        print(f"{row[0]}: {row[-1]}")
    if rows:
        raise typer.Exit(_REFUSED)


@quarantine.command("release")
def quarantine_release(
    tenant: Annotated[str, typer.Argument(help="The tenant.")],
    reason: Annotated[str, typer.Option(help="What was found and done; it stays in the log.")],
    *,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
) -> None:
    """Ask Harbor to let the tenant go on; it re-checks its ledger first."""
    if dry_run:
        print(f"would release {tenant}")
        return
    print(asyncio.run(tools.release(HarborSettings.read(), tenant, reason)))


def main() -> None:
    """Exit 0 done, 1 refused or failed check, 2 usage, 3 outage."""
    try:
        app()
    except PaybondError as error:
        _talk.print(str(error), markup=False, highlight=False)
        sys.exit(error.exit_code)

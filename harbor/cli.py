"""`paybond-harbor`: Harbor's loop and its tools.

Results on stdout, talk on stderr; exit 0 done, 1 refused or failed check, 2 usage, 3 outage.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

import harbor.rails.cli as rails_cli
from harbor import (
    cli_dead_letters,
    cli_intents,
    cli_quarantine,
    cli_rails,
    cli_tenants,
    cli_topics,
    cli_waiting,
)
from harbor.app import PROGRAM, run_harbor
from harbor.cli_options import (
    BootstrapOption,
    PartitionsOption,
    SingleNodeOption,
    settings_of,
    tell,
)
from harbor.fsck.cli import fsck
from schemas.errors import PaybondError
from schemas.messages.avro_codec import registry
from schemas.messages.avro_compatibility import registry_faults
from streams.runtime.logs import set_up_logs

app = typer.Typer(help="The only writer of ledgers, and its tools.", no_args_is_help=True)
schemas_app = typer.Typer(help="The pinned Avro schemas.", no_args_is_help=True)
app.add_typer(rails_cli.app, name="rails")
app.add_typer(cli_topics.app, name="topics")
app.add_typer(cli_tenants.app, name="tenants")
app.add_typer(cli_quarantine.app, name="quarantine")
app.add_typer(cli_intents.app, name="intents")
app.add_typer(cli_waiting.effects_app, name="effects")
app.add_typer(cli_waiting.holds_app, name="holds")
app.add_typer(cli_dead_letters.app, name="dead-letters")
app.add_typer(schemas_app, name="schemas")
rails_cli.app.command("pause")(cli_rails.pause)
rails_cli.app.command("resume")(cli_rails.resume)
rails_cli.app.command("status")(cli_rails.status)
app.command("status")(cli_quarantine.status)
app.command("fsck")(fsck)


@app.command()
def run(
    *,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    single_node: SingleNodeOption = None,
    slot: Annotated[
        int | None,
        typer.Option("--slot", help="This process's own number [PAYBOND_HARBOR_SLOT]"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the local state [PAYBOND_HARBOR_DATA]")
    ] = None,
    private_port: Annotated[
        int | None,
        typer.Option("--private-port", help="Metrics and readiness [PAYBOND_HARBOR_PRIVATE_PORT]"),
    ] = None,
) -> None:
    """Decide commands until stopped (settings: PAYBOND_HARBOR_*, PAYBOND_KAFKA_*, PAYBOND_DEPLOYMENT)."""
    settings = settings_of(
        bootstrap=bootstrap,
        partitions=partitions,
        single_node=single_node,
        slot=slot,
        data=data,
        private_port=private_port,
    )
    set_up_logs(PROGRAM)
    asyncio.run(run_harbor(settings))


@schemas_app.command("check")
def check_schemas() -> None:
    """Whether every pinned schema reads what each older one wrote, and is its class's; exit 1 if not."""
    faults = registry_faults(registry())
    for fault in faults:
        typer.echo(fault)
    raise typer.Exit(1 if faults else 0)


def main() -> None:
    try:
        app()
    except PaybondError as error:
        tell(str(error))
        sys.exit(error.exit_code)

"""`paybond-harbor rails run`: the only process that may hold a rail's key."""

import asyncio

import typer

from harbor.rails.app import run_rails
from harbor.settings import HarborSettings
from streams.runtime.logs import set_up_logs

app = typer.Typer(help="The rail worker, and whether it may move money.", no_args_is_help=True)


@app.command()
def run() -> None:
    """Carry out effects until stopped (settings: PAYBOND_HARBOR_*, PAYBOND_KAFKA_*)."""
    set_up_logs("paybond-rails")
    asyncio.run(run_rails(HarborSettings.read()))

"""`paybond-streams run views | status | checkpoints list | quarantine list|release`.

Exit codes: 0 done, 1 refused or failed, 2 usage or configuration, 3 outage. Results on stdout, talk on stderr.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from schemas.errors import PaybondError
from schemas.topics import tenant_of_ledger_topic
from streams.app import run_views
from streams.bootstrap import PROGRAM, tools
from streams.runtime.checkpoints import Position
from streams.runtime.clock import SystemClock
from streams.runtime.kafka_clients import reader_settings
from streams.runtime.ledger_ends import ledger_ends
from streams.runtime.logs import set_up_logs
from streams.runtime.quarantine import QuarantinedPartition
from streams.settings import StreamsSettings
from streams.views import ledger_view

cli = typer.Typer(
    name=PROGRAM, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
run_group = typer.Typer(no_args_is_help=True, help="Run an agent.")
checkpoints_group = typer.Typer(no_args_is_help=True, help="Where each projection stands.")
quarantine_group = typer.Typer(no_args_is_help=True, help="Paused partitions and why.")
cli.add_typer(run_group, name="run")
cli.add_typer(checkpoints_group, name="checkpoints")
cli.add_typer(quarantine_group, name="quarantine")

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Bootstrap = Annotated[
    str | None, typer.Option("--kafka-bootstrap", help="Else PAYBOND_KAFKA_BOOTSTRAP.")
]


def main() -> None:
    """The console script."""
    try:
        cli()
    except PaybondError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


@run_group.command("views")
def run_views_command(kafka_bootstrap: Bootstrap = None) -> None:
    """Index ledgers, evidence, outcomes and checkpoints into the read tables, until SIGINT or SIGTERM."""
    settings = StreamsSettings.read(kafka_bootstrap=kafka_bootstrap)
    set_up_logs(PROGRAM)
    asyncio.run(run_views(settings))


@cli.command()
def status(*, as_json: Json = False, kafka_bootstrap: Bootstrap = None) -> None:
    """Lag per tenant, by seq: what the ledger topic has, and what the tables have."""
    settings = StreamsSettings.read(kafka_bootstrap=kafka_bootstrap)
    ends = ledger_ends(reader_settings(settings, client_id=f"{PROGRAM}-status"))
    positions, quarantined = asyncio.run(_state(settings))
    rows = tenant_rows(ends, positions, quarantined)
    _show(rows, title="Ledgers", as_json=as_json)


@checkpoints_group.command("list")
def checkpoints_list(*, as_json: Json = False) -> None:
    """Every checkpoint row."""
    positions, _ = asyncio.run(_state(StreamsSettings.read()))
    rows = [
        {
            "projection": position.projection,
            "topic": position.at.topic,
            "partition": position.at.partition,
            "epoch": position.epoch,
            "next_offset": position.next_offset,
            "hint_acked": position.hint_acked,
            "seq": position.seq,
        }
        for position in positions
    ]
    _show(rows, title="Checkpoints", as_json=as_json)


@quarantine_group.command("list")
def quarantine_list(*, as_json: Json = False) -> None:
    """What is paused now, and why. Exit code 0 also when there is something."""
    _, quarantined = asyncio.run(_state(StreamsSettings.read()))
    rows = [
        {
            "id": row.quarantine_id,
            "tenant_id": row.found.tenant_id,
            "projection": row.projection,
            "topic": row.at.topic,
            "partition": row.at.partition,
            "offset": row.found.offset,
            "seq": row.found.seq,
            "reason": row.found.reason.value,
            "detail": row.found.detail,
            "since": row.since.isoformat(),
        }
        for row in quarantined
    ]
    _show(rows, title="Quarantine", as_json=as_json)


@quarantine_group.command("release")
def quarantine_release(
    quarantine_id: Annotated[int, typer.Argument(help="From `quarantine list`.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; kept with the row.")],
    released_by: Annotated[str, typer.Option("--by", help="Who; an opaque subject.")],
    skip_offset: Annotated[
        int | None,
        typer.Option(help="Pass over the record at this offset, now and in every rebuild."),
    ] = None,
) -> None:
    """Check the tenant again from where it stopped; the running agent notices within seconds."""
    settings = StreamsSettings.read()
    is_released = asyncio.run(
        _release(
            settings,
            quarantine_id=quarantine_id,
            reason=reason,
            released_by=released_by,
            skip_offset=skip_offset,
        )
    )
    if not is_released:
        print(f"{PROGRAM}: {quarantine_id} is not open", file=sys.stderr)
        raise typer.Exit(code=1)
    print(f"released {quarantine_id}")


def tenant_rows(
    ends: dict[str, int],
    positions: Sequence[Position],
    quarantined: Sequence[QuarantinedPartition],
) -> list[dict[str, Any]]:
    """One per tenant that a ledger topic or a checkpoint names, most lag first."""
    indexed = {
        str(tenant_of_ledger_topic(position.at.topic)): position.seq
        for position in positions
        if position.projection == ledger_view.NAME
    }
    stopped = {
        str(tenant_of_ledger_topic(row.at.topic)): row.found.reason.value
        for row in quarantined
        if row.projection == ledger_view.NAME
    }
    tenants = set(ends) | set(indexed)
    rows = [
        {
            "tenant_id": tenant_id,
            "ledger_seq": ends.get(tenant_id, 0),
            "indexed_seq": indexed.get(tenant_id, 0),
            "lag": ends.get(tenant_id, 0) - indexed.get(tenant_id, 0),
            "quarantined": stopped.get(tenant_id),
        }
        for tenant_id in tenants
    ]
    return sorted(rows, key=lambda row: (-int(str(row["lag"])), str(row["tenant_id"])))


async def _state(
    settings: StreamsSettings,
) -> tuple[Sequence[Position], Sequence[QuarantinedPartition]]:
    async with tools(settings) as parts:
        return await parts.checkpoints.positions(), await parts.quarantine.open_rows()


async def _release(
    settings: StreamsSettings,
    *,
    quarantine_id: int,
    reason: str,
    released_by: str,
    skip_offset: int | None,
) -> bool:
    now = SystemClock().now()
    async with tools(settings) as parts:
        rows = {row.quarantine_id: row for row in await parts.quarantine.open_rows()}
        row = rows.get(quarantine_id)
        if row is None:
            return False
        if skip_offset is not None:
            await parts.quarantine.skip(
                at=row.at, offset=skip_offset, approved_by=released_by, reason=reason, now=now
            )
        return await parts.quarantine.release(
            quarantine_id=quarantine_id, released_by=released_by, reason=reason, now=now
        )


def _show(rows: Sequence[dict[str, Any]], *, title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(title=f"{title} ({len(rows)})")
    for name in rows[0] if rows else ():
        table.add_column(name)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)

"""`paybond-harbor effects list` and `holds list`: which rail owes an answer, and which hold ends soon."""

from dataclasses import fields
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from harbor.bootstrap import log_reader, present_states
from harbor.cli_options import (
    BootstrapOption,
    JsonOption,
    PartitionsOption,
    duration_of,
    exit_code,
    run_tool,
    settings_of,
    show,
    show_row,
    tell_unreadable,
    tenant_of,
)
from harbor.inspection.dossier import next_action_document
from harbor.inspection.issued_effects import IssuedEffect, read_effects
from harbor.inspection.states import States, read_states
from harbor.inspection.waiting import (
    AskedOfRail,
    ExpiringHold,
    all_effects,
    expiring_holds,
    outstanding_effects,
)
from harbor.settings import HarborSettings
from schemas.ids import TenantId
from schemas.instants import format_instant
from schemas.messages.outcomes import NextAction
from streams.runtime.clock import SystemClock

effects_app = typer.Typer(help="What rails were asked.", no_args_is_help=True)
holds_app = typer.Typer(help="Money that is held at a rail.", no_args_is_help=True)

OneTenantOption = Annotated[
    str | None, typer.Option("--tenant", help="One tenant's id; all without it.")
]


@effects_app.callback()
def effects() -> None:
    """What rails were asked."""


@holds_app.callback()
def holds() -> None:
    """Money that is held at a rail."""


@effects_app.command("list")
def list_effects(
    *,
    is_outstanding: Annotated[
        bool, typer.Option("--outstanding", help="Only those without an answer.")
    ] = False,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Asked at least so long ago: 30s, 5m, 2h, 1d.")
    ] = "0s",
    tenant: OneTenantOption = None,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """What a rail was asked, oldest first: age, attempt, and how often the request was issued. Needs Kafka only.

    Exit 1: there are states that can't be read, so effects may be missing.
    """
    settings = settings_of(bootstrap=bootstrap, partitions=partitions)
    least = duration_of(older_than)
    states, issued = run_tool(_read(settings, None if tenant is None else tenant_of(tenant)))
    chosen = outstanding_effects if is_outstanding else all_effects
    rows = chosen(states, issued, now=SystemClock().now(), older_than=least)
    tell_unreadable(states)
    if as_json:
        show([document_of(row) for row in rows])
        raise typer.Exit(exit_code(states))
    for row in rows:
        show_row(
            row.tenant_id,
            row.intent_id,
            row.effect_id,
            row.action,
            f"{row.amount_minor} {row.currency}",
            f"attempt {row.attempt}",
            f"issued {row.issues}",
            _words(row.age),
            _state_of(row),
        )
    raise typer.Exit(exit_code(states))


@holds_app.command("list")
def list_holds(
    *,
    expiring: Annotated[
        str, typer.Option("--expiring", help="Holds that end within: 6h, 72h, 7d.")
    ] = "72h",
    tenant: OneTenantOption = None,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """Holds that end soon, first to end first, and what will become of each. Needs Kafka only.

    Exit 1: there are states that can't be read, so holds may be missing.
    """
    settings = settings_of(bootstrap=bootstrap, partitions=partitions)
    within = duration_of(expiring)
    only = None if tenant is None else tenant_of(tenant)
    states = run_tool(present_states(settings, only))
    rows = expiring_holds(states, now=SystemClock().now(), within=within)
    tell_unreadable(states)
    if as_json:
        show([document_of(row) for row in rows])
        raise typer.Exit(exit_code(states))
    for row in rows:
        action = row.next_action
        what = "-" if action is None else f"{action.kind}, blocked by {action.blocked_by or '-'}"
        show_row(
            row.tenant_id,
            row.intent_id,
            row.status,
            row.hold_status,
            f"{row.amount_minor} {row.currency}",
            str(row.rail_object),
            f"ends {format_instant(row.expires_at)} (in {_words(row.left)})",
            what,
        )
    raise typer.Exit(exit_code(states))


def document_of(row: AskedOfRail | ExpiringHold) -> dict[str, Any]:
    """Durations in whole seconds, money in minor units."""
    return {_name_of(one.name): _plain(getattr(row, one.name)) for one in fields(row)}


def _name_of(field: str) -> str:
    return {"age": "age_seconds", "left": "left_seconds", "amount_minor": "amount_cents"}.get(
        field, field
    )


def _plain(value: object) -> object:
    match value:
        case datetime():
            return format_instant(value)
        case timedelta():
            return int(value.total_seconds())
        case NextAction():
            return next_action_document(value)
        case _:
            return value


def _words(span: timedelta) -> str:
    seconds = int(abs(span).total_seconds())
    sign = "-" if span < timedelta() else ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{sign}{seconds // size}{unit}"
    return f"{sign}{seconds}s"


def _state_of(row: AskedOfRail) -> str:
    if row.is_outstanding is None:
        return "unknown: the intent's state can't be read"
    if not row.is_outstanding:
        return "answered" if row.is_answered else "not outstanding"
    action = row.next_action
    return f"waits for {action.blocked_by if action and action.blocked_by else 'rail'}"


async def _read(
    settings: HarborSettings, tenant_id: TenantId | None
) -> tuple[States, dict[str, IssuedEffect]]:
    """States last: what was answered meanwhile is outstanding no more."""
    reader = log_reader(settings, client_id="paybond-harbor-cli")
    partitions = settings.kafka_partitions
    try:
        issued = await read_effects(reader, tenant_id, partitions=partitions)
        return await read_states(reader, tenant_id, partitions=partitions), dict(issued)
    finally:
        await reader.close()

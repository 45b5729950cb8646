"""`paybond-harbor rails pause|resume|status`: nothing that moves money is asked of a rail until somebody says so.

A pause is a command like any other: Harbor writes it into the tenant's row, the rail worker follows that row. So it
survives every restart, and no program has to be reached for it to hold.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer

from harbor.bootstrap import command_desk, present_states
from harbor.cli_options import (
    AttemptOption,
    BootstrapOption,
    ByOption,
    DryRunOption,
    JsonOption,
    PartitionsOption,
    ReasonOption,
    attempt_of,
    exit_code,
    repeated,
    run_tool,
    settings_of,
    show,
    show_row,
    tell_attempt,
    tell_unreadable,
    tenant_of,
)
from harbor.engine.provisioning import CommandDesk, Operator, pause_command, resume_command
from harbor.inspection.states import States
from harbor.settings import HarborSettings
from schemas.errors import OutageError
from schemas.ids import TenantId
from schemas.instants import format_instant
from schemas.messages.commands import Command
from schemas.messages.outcomes import OutcomeStatus, TenantAnswer
from schemas.topics import tenant_of_key

TenantsOption = Annotated[
    str | None, typer.Option("--tenant", help="One tenant's id; every tenant without it.")
]
WaitOption = Annotated[int, typer.Option("--wait", min=1, help="Seconds.")]
# Tenants asked at a time: each waits for its own outcome, and a thousand must not take minutes.
_CONCURRENT_MAX = 64


def pause(
    *,
    reason: ReasonOption,
    by: ByOption = None,
    tenant: TenantsOption = None,
    attempt: AttemptOption = None,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    wait: WaitOption = 30,
    dry_run: DryRunOption = False,
) -> None:
    """Ask rails for nothing that moves money; looks go on. What is on its way at a rail is not called back.

    Needs PAYBOND_HARBOR_ISSUER_KEY_CLI. Exit 1: not every tenant is paused (see the answer), or states can't be read.
    """
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, operator=by)
    attempt = attempt_of(attempt)
    named = _named(settings, tenant)
    commands = [
        pause_command(one, reason=reason, attempt=attempt, operator=Operator(ref=settings.operator))
        for one in sorted(named.tenants)
    ]
    orders = _Orders(commands=commands, attempt=attempt, wait=timedelta(seconds=wait))
    _say(settings, orders, named, dry_run=dry_run)


def resume(
    *,
    reason: ReasonOption,
    by: ByOption = None,
    tenant: TenantsOption = None,
    attempt: AttemptOption = None,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    wait: WaitOption = 30,
    dry_run: DryRunOption = False,
) -> None:
    """Let the rails go on: what was held back is asked once, now. Needs PAYBOND_HARBOR_ISSUER_KEY_CLI.

    Exit 1 as of a pause.
    """
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, operator=by)
    attempt = attempt_of(attempt)
    named = _named(settings, tenant)
    commands = [
        resume_command(
            one, reason=reason, attempt=attempt, operator=Operator(ref=settings.operator)
        )
        for one in sorted(named.tenants)
    ]
    orders = _Orders(commands=commands, attempt=attempt, wait=timedelta(seconds=wait))
    _say(settings, orders, named, dry_run=dry_run)


def status(
    *,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """Whose rails are paused, since when, why, and how many effects wait. Exit 1: states can't be read."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions)
    states = run_tool(present_states(settings, None))
    rows = _paused(states)
    tell_unreadable(states)
    if as_json:
        show(rows)
    else:
        for row in rows:
            show_row(
                row["tenant_id"],
                f"since {row['since']}",
                f"{row['outstanding']} waiting",
                row["reason"],
            )
    raise typer.Exit(exit_code(states))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """`unreadable` = whose rows can't be read, with the reason: they are not asked, and must not look as if."""

    tenants: Collection[TenantId]
    unreadable: Mapping[TenantId, str]
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Orders:
    commands: list[Command]
    attempt: str
    wait: timedelta


def _named(settings: HarborSettings, tenant: str | None) -> _Named:
    """One tenant, or every one that is provisioned now: who begins later is not paused."""
    if tenant is not None:
        return _Named(tenants=[tenant_of(tenant)], unreadable={})
    states = run_tool(present_states(settings, None))
    tell_unreadable(states)
    reasons = {tenant_of_key(key): why for key, why in states.unreadable.items()}
    return _Named(
        tenants=states.tenants,
        unreadable={t: why for t, why in reasons.items() if t not in states.tenants},
        exit_code=exit_code(states),
    )


def _say(settings: HarborSettings, orders: _Orders, named: _Named, *, dry_run: bool) -> None:
    attempt = orders.attempt
    unreadable = [
        {"tenant_id": tenant_id, "result": "unreadable", "message": why}
        for tenant_id, why in sorted(named.unreadable.items())
    ]
    if dry_run:
        tenants = [command.tenant_id for command in orders.commands]
        tried = {"result": "dry_run", "attempt": attempt, "tenants": tenants}
        show(tried | ({"unreadable": unreadable} if unreadable else {}))
        raise typer.Exit(named.exit_code)
    tell_attempt(attempt)
    rows = [*run_tool(_decided(settings, orders)), *unreadable]
    are_all_done = bool(rows) and all(row["result"] == OutcomeStatus.DONE.value for row in rows)
    show(
        {
            "result": "done" if are_all_done else "incomplete",
            "attempt": attempt,
            "tenants": rows,
        }
    )
    raise typer.Exit(named.exit_code if are_all_done else 1)


async def _decided(settings: HarborSettings, orders: _Orders) -> list[dict[str, Any]]:
    turns = asyncio.Semaphore(_CONCURRENT_MAX)
    async with command_desk(settings) as desk:

        async def one(command: Command) -> dict[str, Any]:
            async with turns:
                return await _row(desk, command, attempt=orders.attempt, wait=orders.wait)

        return list(await asyncio.gather(*(one(command) for command in orders.commands)))


async def _row(
    desk: CommandDesk, command: Command, *, attempt: str, wait: timedelta
) -> dict[str, Any]:
    """One tenant that is not heard of must not hide what became of the others."""
    try:
        outcome = await desk.decide(command, wait=wait, again=repeated(attempt))
    except OutageError as error:
        return {"tenant_id": command.tenant_id, "result": "unknown", "message": str(error)}
    answer, refusal = outcome.answer, outcome.refusal
    since = answer.rails_paused_since if isinstance(answer, TenantAnswer) else None
    return {
        "tenant_id": command.tenant_id,
        "result": outcome.status.value,
        "code": refusal.code if refusal else None,
        "paused_since": since and format_instant(since),
    }


def _paused(states: States) -> list[dict[str, Any]]:
    rows = []
    for tenant_id, state in sorted(states.tenants.items()):
        pause_of = state.rails_pause
        if pause_of is not None:
            rows.append(
                {
                    "tenant_id": tenant_id,
                    "since": format_instant(pause_of.since),
                    "reason": pause_of.reason,
                    "paused_by": {
                        "kind": pause_of.paused_by.kind.value,
                        "ref": pause_of.paused_by.ref,
                    },
                    "outstanding": sum(
                        intent.tenant_id == tenant_id and intent.hold.is_outstanding
                        for intent in states.intents.values()
                    ),
                }
            )
    return rows

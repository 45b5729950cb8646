"""`paybond-harbor rails pause|resume|status`: nothing that moves money is asked of a rail until somebody says so.

A pause is a command like any other: Harbor writes it into the tenant's row, the rail worker follows that row. So it
survives every restart, and no program has to be reached for it to hold.
"""

import asyncio
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
    repeated,
    run_tool,
    settings_of,
    show,
    show_row,
    tell_attempt,
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

    Needs PAYBOND_HARBOR_ISSUER_KEY_CLI. Exit 1: not every tenant is paused (see the answer).
    """
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, operator=by)
    attempt = attempt_of(attempt)
    commands = [
        pause_command(one, reason=reason, attempt=attempt, operator=Operator(ref=settings.operator))
        for one in _named(settings, tenant)
    ]
    _say(settings, commands, attempt=attempt, wait=timedelta(seconds=wait), dry_run=dry_run)


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
    """Let the rails go on: what was held back is asked once, now. Needs PAYBOND_HARBOR_ISSUER_KEY_CLI."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, operator=by)
    attempt = attempt_of(attempt)
    commands = [
        resume_command(
            one, reason=reason, attempt=attempt, operator=Operator(ref=settings.operator)
        )
        for one in _named(settings, tenant)
    ]
    _say(settings, commands, attempt=attempt, wait=timedelta(seconds=wait), dry_run=dry_run)


def status(
    *,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """Whose rails are paused, since when, why, and how many effects wait."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions)
    rows = _paused(run_tool(present_states(settings, None)))
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


def _named(settings: HarborSettings, tenant: str | None) -> list[TenantId]:
    """One tenant, or every one that is provisioned now: who begins later is not paused."""
    if tenant is not None:
        return [tenant_of(tenant)]
    return sorted(run_tool(present_states(settings, None)).tenants)


def _say(
    settings: HarborSettings,
    commands: list[Command],
    *,
    attempt: str,
    wait: timedelta,
    dry_run: bool,
) -> None:
    if dry_run:
        tenants = [command.tenant_id for command in commands]
        show({"result": "dry_run", "attempt": attempt, "tenants": tenants})
        return
    tell_attempt(attempt)
    rows = run_tool(_decided(settings, commands, attempt=attempt, wait=wait))
    are_all_done = bool(rows) and all(row["result"] == OutcomeStatus.DONE.value for row in rows)
    show(
        {
            "result": "done" if are_all_done else "incomplete",
            "attempt": attempt,
            "tenants": rows,
        }
    )
    raise typer.Exit(0 if are_all_done else 1)


async def _decided(
    settings: HarborSettings, commands: list[Command], *, attempt: str, wait: timedelta
) -> list[dict[str, Any]]:
    turns = asyncio.Semaphore(_CONCURRENT_MAX)
    async with command_desk(settings) as desk:

        async def one(command: Command) -> dict[str, Any]:
            async with turns:
                return await _row(desk, command, attempt=attempt, wait=wait)

        return list(await asyncio.gather(*(one(command) for command in commands)))


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

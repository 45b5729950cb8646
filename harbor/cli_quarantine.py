"""`paybond-harbor quarantine list|release` and `status`: what stops, where things stand."""

from datetime import timedelta
from typing import Annotated

import typer

from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.bootstrap import check_cluster, command_desk, log_reader
from harbor.cli_options import (
    AttemptOption,
    BootstrapOption,
    ByOption,
    DryRunOption,
    JsonOption,
    PartitionsOption,
    ReasonOption,
    SingleNodeOption,
    TenantOption,
    attempt_of,
    repeated,
    run_tool,
    settings_of,
    show,
    show_row,
    tell_attempt,
    tenant_of,
)
from harbor.engine.provisioning import Operator, release_command
from harbor.inspection.stopped_tenants import stopped_tenants
from harbor.settings import HarborSettings
from schemas.errors import ConfigurationError
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import Command
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.tips import Position
from schemas.topics import COMMANDS, POSITIONS
from streams.runtime.clock import SystemClock

app = typer.Typer(help="Tenants that are stopped, and why.", no_args_is_help=True)


@app.command("list")
def list_quarantined(
    *,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tenants stopped by a command, and those whose topics do not agree now; exit 1 if there is any."""
    rows = run_tool(_list(settings_of(bootstrap=bootstrap, partitions=partitions)))
    if as_json:
        show(rows)
    else:
        for row in rows:
            show_row(row["tenant_id"], row["found_by"], row["reason"])
    raise typer.Exit(1 if rows else 0)


@app.command("release")
def release(
    *,
    tenant: TenantOption,
    reason: ReasonOption,
    by: ByOption = None,
    attempt: AttemptOption = None,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    wait: Annotated[int, typer.Option("--wait", min=1, help="Seconds.")] = 30,
    dry_run: DryRunOption = False,
) -> None:
    """Let a tenant go on: Harbor checks its ledger again first. Needs PAYBOND_HARBOR_ISSUER_KEY_CLI."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, operator=by)
    attempt = attempt_of(attempt)
    command = release_command(
        tenant_of(tenant),
        reason=reason,
        attempt=attempt,
        operator=Operator(ref=settings.operator),
    )
    if dry_run:
        show({"tenant_id": tenant, "result": "dry_run", "attempt": attempt})
        return
    tell_attempt(attempt)
    outcome = run_tool(_decided(settings, command, attempt=attempt, wait=timedelta(seconds=wait)))
    refusal = outcome.refusal
    show(
        {
            "tenant_id": tenant,
            "result": outcome.status.value,
            "attempt": attempt,
            "code": refusal.code if refusal else None,
            "message": refusal.message if refusal else None,
            "details": refusal.details_json if refusal else None,
        }
    )
    raise typer.Exit(0 if outcome.status is OutcomeStatus.DONE else 1)


def status(
    *,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    single_node: SingleNodeOption = None,
) -> None:
    """Where Harbor's input stands per partition, and whether the cluster is fit; exit 1 if it is not."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, single_node=single_node)
    document = run_tool(_status(settings))
    show(document)
    raise typer.Exit(0 if document["cluster"] == "fit" else 1)


async def _decided(
    settings: HarborSettings, command: Command, *, attempt: str, wait: timedelta
) -> Outcome:
    async with command_desk(settings) as desk:
        return await desk.decide(command, wait=wait, again=repeated(attempt))


async def _list(settings: HarborSettings) -> list[dict[str, str]]:
    reader = log_reader(settings, client_id="paybond-harbor-cli")
    try:
        found = await stopped_tenants(
            reader, clock=SystemClock(), partitions=settings.kafka_partitions
        )
    finally:
        await reader.close()
    return [
        {"tenant_id": row.tenant_id, "found_by": row.found_by, "reason": row.reason}
        for row in found
    ]


async def _status(settings: HarborSettings) -> dict[str, object]:
    fitness = "fit"
    try:
        await check_cluster(settings)
    except ConfigurationError as error:
        fitness = str(error)
    if fitness != "fit":
        return {"cluster": fitness, "partitions": []}
    reader = log_reader(settings, client_id="paybond-harbor-cli")
    try:
        rows = [await _partition(reader, p) for p in range(settings.kafka_partitions)]
    finally:
        await reader.close()
    return {"cluster": fitness, "partitions": rows}


async def _partition(reader: KafkaLogReader, partition: int) -> dict[str, object]:
    last = await reader.last_record(POSITIONS, partition)
    position = 0 if last is None else decode_as(Position, last.value or b"").next_offset
    end = await reader.end_offset(COMMANDS, partition)
    return {
        "partition": partition,
        "next_offset": position,
        "end": end,
        # Offsets are not dense: a bound, not a count.
        "behind_at_most": end - position,
    }

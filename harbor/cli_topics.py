"""`paybond-harbor topics apply|diff|acls`: a cluster that matches `schemas.topics`."""

from dataclasses import asdict
from typing import Annotated

import typer

from harbor.adapters.kafka_topics import KafkaTopics, binding_of
from harbor.bootstrap import compared_cluster
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
from harbor.engine.access import Grant, program_grants, tenant_grants
from harbor.engine.cluster_layout import (
    Difference,
    DifferenceKind,
    TopicLayout,
)
from harbor.settings import HarborSettings
from schemas.errors import ConfigurationError
from schemas.topics import (
    GROUP_HARBOR,
    GROUP_RAILS,
    GROUP_VIEWS,
)
from streams.runtime.kafka_clients import client_settings
from streams.runtime.shared_settings import GroupProtocol

app = typer.Typer(help="The cluster's topics, settings and rights.", no_args_is_help=True)
_GROUPS = (GROUP_HARBOR, GROUP_RAILS, GROUP_VIEWS)


@app.command("diff")
def diff(
    *,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    single_node: SingleNodeOption = None,
    as_json: JsonOption = False,
) -> None:
    """What differs from the tables of this release; exit 1 if anything does."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, single_node=single_node)

    async def look() -> tuple[Difference, ...]:
        topics = _topics(settings)
        try:
            return (await compared_cluster(topics, settings))[1]
        finally:
            await topics.close()

    found = run_tool(look())
    if as_json:
        show([asdict(difference) for difference in found])
    else:
        for difference in found:
            typer.echo(difference)
    raise typer.Exit(1 if found else 0)


@app.command("apply")
def apply(
    *,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    single_node: SingleNodeOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Make what is missing and set what differs; a number of partitions or replicas is never changed."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, single_node=single_node)
    for line in run_tool(_apply(settings, is_dry=dry_run)):
        typer.echo(line)


@app.command("acls")
def acls(
    *,
    bootstrap: BootstrapOption = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", help="Grant this tenant's own ledger topic, and nothing else."),
    ] = None,
    principal: Annotated[
        str | None, typer.Option("--principal", help="Who gets it, User:name; with --tenant.")
    ] = None,
    apply_now: Annotated[
        bool, typer.Option("--apply", help="Create them; else they are only printed.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """The rights each program needs (principals User:paybond-<program>), or a tenant's right to its own ledger."""
    grants = program_grants()
    if (tenant is None) != (principal is None):
        raise ConfigurationError("--tenant and --principal go together")
    if tenant is not None and principal is not None:
        grants = tenant_grants(tenant_of(tenant), principal=principal)
    for grant in grants:
        typer.echo(grant)
    if apply_now and not dry_run:
        run_tool(_grant(settings_of(bootstrap=bootstrap), grants))
        tell(f"{len(grants)} rights are granted")


async def _apply(settings: HarborSettings, *, is_dry: bool) -> list[str]:
    topics = _topics(settings)
    try:
        wanted, found = await compared_cluster(topics, settings)
        lasting = [d for d in found if d.kind in _LASTING]
        if lasting:
            raise ConfigurationError(
                "; ".join(map(str, lasting)) + ": this is never changed on a living topic"
            )
        missing = {d.topic for d in found if d.kind is DifferenceKind.MISSING}
        done = [f"create {layout.name}" for layout in wanted if layout.name in missing]
        done += [f"set {d.topic} {d.name}={d.wanted}" for d in found if d.topic not in missing]
        if settings.kafka_group_protocol is GroupProtocol.CONSUMER:
            done += [
                f"set group {group} consumer.session.timeout.ms={settings.kafka_session_milliseconds}"
                for group in _GROUPS
            ]
        if not is_dry:
            await _change(topics, wanted, found, settings)
        return done
    finally:
        await topics.close()


_LASTING = frozenset({DifferenceKind.PARTITIONS, DifferenceKind.REPLICATION})


async def _change(
    topics: KafkaTopics,
    wanted: tuple[TopicLayout, ...],
    found: tuple[Difference, ...],
    settings: HarborSettings,
) -> None:
    missing = {d.topic for d in found if d.kind is DifferenceKind.MISSING}
    for layout in wanted:
        if layout.name in missing:
            await topics.create(layout)
    await topics.set_config([d for d in found if d.topic not in missing])
    if settings.kafka_group_protocol is GroupProtocol.CONSUMER:
        await topics.set_group_session(_GROUPS, milliseconds=settings.kafka_session_milliseconds)


async def _grant(settings: HarborSettings, grants: tuple[Grant, ...]) -> None:
    topics = _topics(settings)
    try:
        await topics.grant([binding_of(grant) for grant in grants])
    finally:
        await topics.close()


def _topics(settings: HarborSettings) -> KafkaTopics:
    return KafkaTopics(client_settings(settings, client_id="paybond-harbor-topics"))

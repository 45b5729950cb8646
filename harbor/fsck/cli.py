"""`paybond-harbor fsck --tenant T | --all [--json]`: every record and row that follows from a ledger, checked again.

Exit 0: all that was asked for is clean. 1: findings, or nobody to check. 2: usage. 3: an outage.
"""

import json
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.console import Console

from harbor.bootstrap import log_reader
from harbor.cli_options import (
    BootstrapOption,
    JsonOption,
    PartitionsOption,
    run_tool,
    settings_of,
    show,
    tell,
    tenant_of,
)
from harbor.fsck.audit import Audit, TenantReport, Watcher
from harbor.fsck.postgres_tables import PostgresTables
from harbor.fsck.report import ScreenWatcher, document, exit_code, finding_lines, table
from harbor.fsck.shared_topics import LedgerKeys
from harbor.settings import HarborSettings
from schemas.canonical import ed25519
from schemas.errors import ConfigurationError, PaybondError
from schemas.ids import TenantId
from schemas.ledger.signed_note import parse_vkey
from streams.runtime.clock import SystemClock
from streams.runtime.shared_settings import LOCAL_FILE


def fsck(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="One tenant's id.")] = None,
    is_all: Annotated[bool, typer.Option("--all", help="Every tenant with a ledger.")] = False,
    as_json: JsonOption = False,
    is_without_tables: Annotated[
        bool, typer.Option("--without-postgres", help="Leave the read tables out.")
    ] = False,
    verifier_keys: Annotated[
        list[str] | None,
        typer.Option(
            "--verifier-key",
            help="Public key of the ledger, hex; again for more [PAYBOND_HARBOR_LEDGER_VERIFIER_KEYS]",
        ),
    ] = None,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """Read ledgers again from their first byte and compare all that claims to follow from them; changes nothing."""
    if is_all is (tenant is not None):
        raise typer.BadParameter("give either --tenant T or --all")
    settings = settings_of(
        bootstrap=bootstrap,
        partitions=partitions,
        ledger_verifier_keys=tuple(verifier_keys) if verifier_keys else None,
    )
    only = None if tenant is None else tenant_of(tenant)
    keys = ledger_keys(settings)
    dsn = None if is_without_tables else _dsn(settings)
    console = Console(stderr=True)
    with ScreenWatcher(console) if console.is_terminal else nullcontext(Silent()) as watcher:
        reports = run_tool(_audited(settings, only, keys=keys, dsn=dsn, watcher=watcher))
    if not reports:
        tell("no tenant was checked: there is no ledger" + (f" of {tenant}" if tenant else ""))
    for report in reports:
        for line in finding_lines(report):
            tell(line)
    console.print(table(reports))
    if as_json:
        show(document(reports))
    raise typer.Exit(exit_code(reports))


class Silent:
    """A watcher for whoever does not look: pipes, and `--json` in a script."""

    def began(self, tenant_id: TenantId, *, records: int) -> None: ...

    def read(self, tenant_id: TenantId, *, entries: int) -> None: ...

    def ended(self, report: TenantReport) -> None: ...


def ledger_keys(settings: HarborSettings) -> LedgerKeys:
    """Configured keys, and the one that this Harbor signs with; on one machine the one in `.paybond/local.json`.

    Raises ConfigurationError when there is none: then no checkpoint could be believed.
    """
    found = [_key(text) for text in settings.ledger_verifier_keys]
    if settings.ledger_signing_seed is not None:
        found.append(ed25519.public_key(settings.signing_seed))
    if not found:
        found = _local_keys()
    if not found:
        raise ConfigurationError(
            "no key of the ledger is known: set PAYBOND_HARBOR_LEDGER_VERIFIER_KEYS (--verifier-key)"
        )
    return LedgerKeys(deployment=settings.deployment, public_keys=tuple(dict.fromkeys(found)))


async def _audited(
    settings: HarborSettings,
    only: TenantId | None,
    *,
    keys: LedgerKeys,
    dsn: str | None,
    watcher: Watcher,
) -> list[TenantReport]:
    reader = log_reader(settings, client_id="paybond-harbor-fsck")
    try:
        audit = Audit(
            reader=reader,
            tables=None if dsn is None else PostgresTables(dsn),
            clock=SystemClock(),
            keys=keys,
            partitions=settings.kafka_partitions,
        )
        return await audit.run(only, watcher)
    finally:
        await reader.close()


def _dsn(settings: HarborSettings) -> str:
    dsn = settings.postgres_dsn.get_secret_value()
    if not dsn:
        raise ConfigurationError("PAYBOND_POSTGRES_DSN is not set (or say --without-postgres)")
    return dsn


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not hex") from error
    if len(key) != ed25519.PUBLIC_KEY_LENGTH:
        raise ConfigurationError(f"{text!r} is not {ed25519.PUBLIC_KEY_LENGTH} bytes")
    return key


def _local_keys() -> list[bytes]:
    """What `paybond-local up` wrote into this directory."""
    try:
        vkey = json.loads(LOCAL_FILE.read_text())["checkpoint_vkey"]
    except (OSError, ValueError, KeyError):
        return []
    try:
        return [parse_vkey(str(vkey)).public_key]
    except PaybondError as error:
        raise ConfigurationError(f"{LOCAL_FILE}: {error}") from error

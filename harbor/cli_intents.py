"""`paybond-harbor intents show`: one intent, from Kafka alone, for whoever is asked about it at night."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from harbor.bootstrap import log_reader
from harbor.cli_options import (
    BootstrapOption,
    DryRunOption,
    JsonOption,
    PartitionsOption,
    TenantOption,
    run_tool,
    settings_of,
    show,
    show_row,
    tell,
    tenant_of,
)
from harbor.fsck.cli import ledger_keys
from harbor.fsck.shared_topics import LedgerKeys
from harbor.inspection.dossier import dossier, intent_document
from harbor.inspection.intent_file import IntentFile, read_intent_file
from harbor.inspection.new_file import check_is_new, write_new
from harbor.settings import HarborSettings
from schemas.errors import ConfigurationError
from schemas.ids import IntentId, TenantId, is_canonical_uuid
from schemas.ledger.checkpoint import verifier_key_of
from streams.runtime.clock import SystemClock

app = typer.Typer(help="Intents, as Kafka has them.", no_args_is_help=True)

VerifierKeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--verifier-key",
        help="Public key of the ledger, hex; again for more [PAYBOND_HARBOR_LEDGER_VERIFIER_KEYS]",
    ),
]


@app.callback()
def intents() -> None:
    """Intents, as Kafka has them."""


@app.command("show")
def show_intent(
    *,
    tenant: TenantOption,
    intent: Annotated[str, typer.Option("--intent", help="The intent's id.")],
    dossier_file: Annotated[
        Path | None,
        typer.Option(
            "--dossier", help="Write one self-contained JSON file with proofs; it must not exist."
        ),
    ] = None,
    is_with_consent: Annotated[
        bool,
        typer.Option(
            "--with-consent", help="Keep the record with the principal's signature in the dossier."
        ),
    ] = False,
    as_json: JsonOption = False,
    verifier_keys: VerifierKeysOption = None,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """State, hold, timeline, rail ids, effects, outcomes, and what it waits for. Needs Kafka only.

    Exit 1: there is no such intent, or what Kafka holds of it does not agree (`problems`).
    """
    settings = settings_of(
        bootstrap=bootstrap,
        partitions=partitions,
        ledger_verifier_keys=tuple(verifier_keys) if verifier_keys else None,
    )
    tenant_id, intent_id = tenant_of(tenant), _intent_of(intent)
    if dossier_file is not None:
        check_is_new(dossier_file)
    keys = _keys(settings, is_needed=dossier_file is not None)
    file = run_tool(_read(settings, tenant_id, intent_id, keys))
    now = SystemClock().now()
    document = intent_document(file, now)
    if as_json:
        show(document)
    else:
        _print(document)
    for problem in file.problems:
        tell(f"does not agree: {problem}")
    if file.state is None:
        tell(f"{tenant_id} has no intent {intent_id}")
    elif dossier_file is not None and keys is not None:
        trusted = [
            verifier_key_of(deployment=keys.deployment, tenant_id=tenant_id, public_key=key)
            for key in keys.public_keys
        ]
        whole = dossier(file, now, keys=trusted, is_with_consent=is_with_consent)
        _write(dossier_file, whole, dry_run=dry_run)
    raise typer.Exit(1 if file.problems or file.state is None else 0)


async def _read(
    settings: HarborSettings, tenant_id: TenantId, intent_id: IntentId, keys: LedgerKeys | None
) -> IntentFile:
    reader = log_reader(settings, client_id="paybond-harbor-cli")
    try:
        return await read_intent_file(
            reader, tenant_id, intent_id, keys=keys, partitions=settings.kafka_partitions
        )
    finally:
        await reader.close()


def _intent_of(text: str) -> IntentId:
    if not is_canonical_uuid(text):
        raise ConfigurationError(f"{text!r} is no intent id (a lower-case UUID)")
    return IntentId(text)


def _keys(settings: HarborSettings, *, is_needed: bool) -> LedgerKeys | None:
    """Raises ConfigurationError for a dossier without a key: nothing in it would be proven."""
    try:
        return ledger_keys(settings)
    except ConfigurationError:
        if is_needed:
            raise
        tell("no key of the ledger is known: the checkpoint was not checked")
        return None


def _write(path: Path, document: dict[str, Any], *, dry_run: bool) -> None:
    unproven = [entry["seq"] for entry in document["entries"] if entry["proof"] is None]
    if unproven:
        tell(f"no checkpoint covers seq {', '.join(map(str, unproven))} yet: without proof")
    if dry_run:
        tell(f"{path}: would be written, {len(document['entries'])} entries")
        return
    write_new(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    tell(f"{path}: written, {len(document['entries'])} entries")


def _print(document: dict[str, Any]) -> None:
    """For people: who waits for what first, then the story."""
    state, action = document["state"], document["next_action"]
    if state is None:
        return
    hold = state["hold"]
    lines = [
        f"{document['tenant_id']} {document['intent_id']}",
        f"state    {state['status']}" + (f" ({state['reason']})" if state["reason"] else ""),
        f"amount   {state['amount_cents']} {state['currency']} (minor units)",
        f"hold     {hold['status']}, {hold['rail_object'] or 'no object'}"
        + (f", until {hold['expires_at']}" if hold["expires_at"] else ""),
        "next     nothing more"
        if action is None
        else f"next     {action['kind']} at {action['at'] or '-'},"
        f" blocked by {action['blocked_by'] or 'nothing'}",
    ]
    lines += [
        f"asked    {one['action']} {one['amount_cents']} {one['currency']}, attempt"
        f" {one['attempt']}, issued {one['issues']} times since {one['requested_at']},"
        f" effect {one['effect_id']}"
        for one in document["outstanding"]
    ]
    lines += [
        f"{one['seq']:>8} {one['at']} {one['event']} by {one['actor']['kind']} {one['actor']['ref']}"
        for one in document["timeline"]
    ]
    lines += [
        f"command  {one['command_id']} {one['command']} {one['status']} {one['code'] or ''}".rstrip()
        for one in document["outcomes"]
    ]
    for line in lines:
        show_row(line)

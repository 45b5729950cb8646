"""`paybond-harbor dead-letters list|show|replay|discard`: what could not work, and what is done about it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

import typer

from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.bootstrap import log_reader, record_sender
from harbor.cli_options import (
    BootstrapOption,
    ByOption,
    DryRunOption,
    JsonOption,
    PartitionsOption,
    ReasonOption,
    run_tool,
    settings_of,
    show,
    show_row,
    tell,
    tenant_of,
)
from harbor.dead_letters.reading import Letter, read_letters
from harbor.dead_letters.replay import (
    Replayed,
    disposition_of,
    replay,
    why_not_replay,
    write_disposition,
)
from harbor.dead_letters.standing import (
    LetterStanding,
    decided_before,
    letters_with_standing,
    standing_of,
    why_not_discard,
)
from harbor.engine.provisioning import Operator
from harbor.settings import HarborSettings
from schemas.errors import ConfigurationError
from schemas.instants import format_instant
from schemas.messages.operations import DeadLetterDisposition, LetterAction
from schemas.messages.outcomes import Outcome, OutcomeStatus
from streams.runtime.clock import SystemClock

app = typer.Typer(help="Records that could not work.", no_args_is_help=True)

LetterOption = Annotated[
    str, typer.Option("--letter", help="Its id: <group>/<topic>/<partition>/<offset>.")
]


@app.command("list")
def list_letters(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="One tenant's letters.")] = None,
    is_all: Annotated[bool, typer.Option("--all", help="Also those that are done with.")] = False,
    as_json: JsonOption = False,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """Letters that are not done with, oldest first; the topic keeps 30 days.

    One that was replayed stays until its command is decided.
    """
    settings = settings_of(bootstrap=bootstrap, partitions=partitions)
    only = None if tenant is None else tenant_of(tenant)
    rows = [
        (letter, standing)
        for letter, standing in run_tool(_letters(settings))
        if (is_all or standing.is_open) and only in (None, letter.tenant_id)
    ]
    if as_json:
        show([_document(letter, standing) for letter, standing in rows])
        return
    for letter, standing in rows:
        show_row(
            letter.letter_id,
            format_instant(letter.buried_at),
            letter.tenant_id or "-",
            letter.letter.reason,
            standing.value,
        )


@app.command("show")
def show_letter(
    *,
    letter: LetterOption,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
) -> None:
    """One letter, without its bytes: what it was, why it lies here, and whether it may be replayed."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions)
    found, decided = run_tool(_one(settings, letter))
    now = SystemClock().now()
    why_not = why_not_replay(found, decided=decided, now=now)
    standing = standing_of(found, decided=decided, now=now)
    show(_document(found, standing) | {"command": _command(found), "replay_refused": why_not})


@app.command("replay")
def replay_letter(
    *,
    letter: LetterOption,
    reason: ReasonOption,
    by: ByOption = None,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    wait: Annotated[int, typer.Option("--wait", min=1, help="Seconds.")] = 30,
    dry_run: DryRunOption = False,
) -> None:
    """Send the same bytes to Harbor again; decided once, however often. Exit 1: refused, or not decided."""
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, operator=by)
    found, decided = run_tool(_one(settings, letter))
    why_not = why_not_replay(found, decided=decided, now=SystemClock().now())
    if why_not is not None:
        show({"letter_id": found.letter_id, "result": "refused", "message": why_not})
        raise typer.Exit(1)
    if dry_run:
        show({"letter_id": found.letter_id, "result": "dry_run", "command": _command(found)})
        return
    replayed = run_tool(_replay(settings, found, reason=reason, wait=timedelta(seconds=wait)))
    show({"letter_id": found.letter_id, **_result(replayed)})
    outcome = replayed.outcome
    is_decided = outcome is not None and outcome.status in {
        OutcomeStatus.DONE,
        OutcomeStatus.ACCEPTED,
    }
    raise typer.Exit(0 if is_decided else 1)


@app.command("discard")
def discard_letter(
    *,
    letter: LetterOption,
    reason: ReasonOption,
    by: ByOption = None,
    bootstrap: BootstrapOption = None,
    partitions: PartitionsOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Decide that a letter is done with: it stays readable, is listed no more, and is never replayed.

    Exit 1: its replay was decided.
    """
    settings = settings_of(bootstrap=bootstrap, partitions=partitions, operator=by)
    found, decided = run_tool(_one(settings, letter))
    standing = standing_of(found, decided=decided, now=SystemClock().now())
    why_not = why_not_discard(standing, decided=decided)
    if why_not is not None:
        show({"letter_id": found.letter_id, "result": "refused", "message": why_not})
        raise typer.Exit(1)
    if dry_run:
        show({"letter_id": found.letter_id, "result": "dry_run"})
        return
    run_tool(_dispose(settings, found, LetterAction.DISCARD, reason=reason))
    show({"letter_id": found.letter_id, "result": "discarded"})


async def _letters(settings: HarborSettings) -> list[tuple[Letter, LetterStanding]]:
    """Oldest first."""
    async with _reader(settings) as reader:
        return await letters_with_standing(
            reader, partitions=settings.kafka_partitions, now=SystemClock().now()
        )


async def _one(settings: HarborSettings, letter_id: str) -> tuple[Letter, Outcome | None]:
    """Raises ConfigurationError for an id that is not there."""
    async with _reader(settings) as reader:
        partitions = settings.kafka_partitions
        letter = (await read_letters(reader, partitions=partitions)).get(letter_id)
        if letter is None:
            raise ConfigurationError(f"there is no dead letter {letter_id!r} (any more)")
        return letter, await decided_before(reader, letter, partitions=partitions)


async def _dispose(
    settings: HarborSettings, letter: Letter, action: LetterAction, *, reason: str
) -> None:
    sender = record_sender(settings)
    try:
        await write_disposition(
            sender,
            disposition_of(
                letter,
                action,
                reason=reason,
                operator=Operator(ref=settings.operator),
                now=SystemClock().now(),
            ),
            partitions=settings.kafka_partitions,
        )
    finally:
        sender.close()


async def _replay(
    settings: HarborSettings, letter: Letter, *, reason: str, wait: timedelta
) -> Replayed:
    await _dispose(settings, letter, LetterAction.REPLAY, reason=reason)
    tell(f"the decision is on record; sending {letter.letter_id} again")
    sender = record_sender(settings)
    try:
        async with _reader(settings) as reader:
            return await replay(
                letter,
                reader=reader,
                sender=sender,
                clock=SystemClock(),
                partitions=settings.kafka_partitions,
                wait=wait,
            )
    finally:
        sender.close()


@asynccontextmanager
async def _reader(settings: HarborSettings) -> AsyncIterator[KafkaLogReader]:
    reader = log_reader(settings, client_id="paybond-harbor-cli")
    try:
        yield reader
    finally:
        await reader.close()


def _document(letter: Letter, standing: LetterStanding) -> dict[str, Any]:
    buried = letter.letter
    return {
        "letter_id": letter.letter_id,
        "buried_at": format_instant(letter.buried_at),
        "recorded_at": format_instant(buried.recorded_at),
        "tenant_id": letter.tenant_id,
        "command_id": buried.command_id,
        "reason": buried.reason,
        "standing": standing.value,
        "attempts": buried.attempts,
        "copies": letter.copies,
        "bytes": None if buried.value is None else len(buried.value),
        "value_digest": buried.value_digest.hex(),
        "dispositions": [_disposition(one) for one in letter.dispositions],
    }


def _disposition(one: DeadLetterDisposition) -> dict[str, Any]:
    return {
        "action": one.action.value,
        "reason": one.reason,
        "actor": {"kind": one.actor.kind.value, "ref": one.actor.ref},
        "decided_at": format_instant(one.decided_at),
    }


def _command(letter: Letter) -> dict[str, Any] | None:
    """What it says it is; bodies, salts and signatures stay out."""
    command = letter.command
    if command is None:
        return None
    return {
        "kind": type(command.body).__name__,
        "command_id": command.command_id,
        "tenant_id": command.tenant_id,
        "intent_id": command.intent_id,
        "issuer": command.issuer.value,
        "actor": {"kind": command.actor.kind.value, "ref": command.actor.ref},
        "not_after": None if command.not_after is None else format_instant(command.not_after),
        "request_id": command.request_id,
    }


def _result(replayed: Replayed) -> dict[str, Any]:
    outcome = replayed.outcome
    if outcome is None:
        return {"result": "buried_again", "message": replayed.buried_again}
    refusal = outcome.refusal
    return {
        "result": outcome.status.value,
        "code": None if refusal is None else refusal.code,
        "message": None if refusal is None else refusal.message,
        "ledger_seq": outcome.ledger_seq,
    }

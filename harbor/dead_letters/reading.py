"""The letters of `paybond.dead-letters`, each with what was decided about it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from harbor.engine.ports import LogReader
from schemas.errors import IntegrityError
from schemas.ids import TenantId, is_tenant_id
from schemas.messages.avro_codec import decode, decode_as
from schemas.messages.commands import Command
from schemas.messages.operations import DeadLetter, DeadLetterDisposition, LetterAction
from schemas.topics import DEAD_LETTERS, dead_letter_key

_log = structlog.get_logger("dead_letters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """`copies` > 1: the same record was buried again, after a crash. `dispositions` in the order of decision.

    `command` = what the bytes say, if they say a command; nothing of it is believed here.
    """

    letter: DeadLetter
    buried_at: datetime
    copies: int = 1
    dispositions: tuple[DeadLetterDisposition, ...] = ()

    @property
    def letter_id(self) -> str:
        return letter_id_of(self.letter)

    @property
    def replayed_at(self) -> datetime | None:
        """When somebody last decided to send it again; what became of that is not said here."""
        replays = [one for one in self.dispositions if one.action is LetterAction.REPLAY]
        return replays[-1].decided_at if replays else None

    @property
    def command(self) -> Command | None:
        try:
            return decode_as(Command, self.letter.value or b"")
        except IntegrityError:
            return None

    @property
    def tenant_id(self) -> TenantId | None:
        """Whose it says it is; None where that is nobody's id: the bytes may be anybody's."""
        command = self.command
        said = self.letter.tenant_id or (None if command is None else command.tenant_id)
        return TenantId(said) if said is not None and is_tenant_id(said) else None


def letter_id_of(letter: DeadLetter | DeadLetterDisposition) -> str:
    """`<group>/<topic>/<partition>/<offset>`: the record's key."""
    return dead_letter_key(letter.group, letter.topic, letter.partition, letter.offset).decode()


async def read_letters(reader: LogReader, *, partitions: int) -> Mapping[str, Letter]:
    """By id, as far back as the topic goes (30 days). Raises BrokerUnavailableError."""
    found: dict[str, Letter] = {}
    await asyncio.gather(
        *(_read_partition(reader, partition, found) for partition in range(partitions))
    )
    return found


async def _read_partition(reader: LogReader, partition: int, found: dict[str, Letter]) -> None:
    start = await reader.beginning_offset(DEAD_LETTERS, partition)
    end = await reader.stable_offset(DEAD_LETTERS, partition)
    dispositions: dict[str, list[DeadLetterDisposition]] = {}
    async for record in reader.read(DEAD_LETTERS, partition, start=start, end=end):
        try:
            message = None if record.value is None else decode(record.value)
        except IntegrityError as error:
            # One record of nonsense must not hide all the others.
            _log.warning(
                "dead_letter_unreadable",
                partition=partition,
                offset=record.offset,
                error=str(error),
            )
            continue
        match message:
            case DeadLetter():
                letter_id = letter_id_of(message)
                before = found.get(letter_id)
                found[letter_id] = Letter(
                    letter=message,
                    buried_at=record.timestamp,
                    copies=1 if before is None else before.copies + 1,
                )
            case DeadLetterDisposition():
                dispositions.setdefault(letter_id_of(message), []).append(message)
            case _:
                pass
    for letter_id, decided in dispositions.items():
        # A letter that has grown too old for the topic may leave its disposition behind.
        if letter_id in found:
            found[letter_id] = replace(found[letter_id], dispositions=tuple(decided))

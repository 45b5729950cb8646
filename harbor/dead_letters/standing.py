"""Where a letter stands: what was decided about it, and whether its command was decided since.

A disposition is written before anything is sent, so a replay alone closes nothing: the sending may have failed, or
Harbor may have answered that it is to be sent again.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from harbor.dead_letters.reading import Letter, read_letters
from harbor.engine.ports import LogReader
from schemas.errors import IntegrityError
from schemas.ids import CommandId, TenantId, is_tenant_id
from schemas.messages.avro_codec import decode_as
from schemas.messages.operations import LetterAction
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.partitioner import partition_of
from schemas.topics import OUTCOMES, outcome_key, spec_of


class LetterStanding(StrEnum):
    UNTOUCHED = "open"
    UNDECIDED = "replayed, undecided"
    # Whether it was decided can't be told any more; it is too old to be sent again in any case.
    FORGOTTEN = "replayed, outcomes of that time are kept no more"
    DECIDED = "replayed, decided"
    DISCARDED = "discarded"

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something about it."""
        return self not in {LetterStanding.DECIDED, LetterStanding.DISCARDED}


def standing_of(letter: Letter, *, decided: Outcome | None, now: datetime) -> LetterStanding:
    """`decided` as of `decided_before`."""
    replayed_at = letter.replayed_at
    if replayed_at is not None and decided is not None:
        return LetterStanding.DECIDED
    if any(one.action is LetterAction.DISCARD for one in letter.dispositions):
        return LetterStanding.DISCARDED
    if replayed_at is None:
        return LetterStanding.UNTOUCHED
    if now - replayed_at > _outcomes_kept():
        return LetterStanding.FORGOTTEN
    return LetterStanding.UNDECIDED


def why_not_discard(standing: LetterStanding, *, decided: Outcome | None) -> str | None:
    """What was carried out is not called nonsense afterwards. None = it may be discarded."""
    if standing is LetterStanding.DECIDED and decided is not None:
        return f"it was replayed and decided since: {decided.status.value}"
    return None


async def letters_with_standing(
    reader: LogReader, *, partitions: int, now: datetime
) -> list[tuple[Letter, LetterStanding]]:
    """All that the topic has, oldest first. Raises BrokerUnavailableError."""
    letters = (await read_letters(reader, partitions=partitions)).values()
    # Of the others no outcome is asked for: nothing that was decided closes them.
    replayed = [letter for letter in letters if letter.replayed_at is not None]
    decisions = await decisions_of(reader, replayed, partitions=partitions)
    return [
        (letter, standing_of(letter, decided=decisions.get(letter.letter_id), now=now))
        for letter in sorted(letters, key=lambda one: (one.buried_at, one.letter_id))
    ]


async def decided_before(reader: LogReader, letter: Letter, *, partitions: int) -> Outcome | None:
    """As `decisions_of`, of one letter. Raises BrokerUnavailableError."""
    found = await decisions_of(reader, [letter], partitions=partitions)
    return found.get(letter.letter_id)


async def decisions_of(
    reader: LogReader, letters: Collection[Letter], *, partitions: int
) -> Mapping[str, Outcome]:
    """By letter id the newest outcome of its command that decided something, in the 7 days that the topic keeps.

    Raises BrokerUnavailableError.
    """
    asked: dict[int, dict[bytes, list[str]]] = {}
    for letter in letters:
        command = letter.command
        if command is not None and is_tenant_id(command.tenant_id):
            key = outcome_key(TenantId(command.tenant_id), CommandId(command.command_id))
            of_partition = asked.setdefault(partition_of(command.tenant_id, partitions), {})
            of_partition.setdefault(key, []).append(letter.letter_id)
    found: dict[str, Outcome] = {}
    for partition, keys in asked.items():
        start = await reader.beginning_offset(OUTCOMES, partition)
        end = await reader.stable_offset(OUTCOMES, partition)
        async for record in reader.read(OUTCOMES, partition, start=start, end=end):
            named = keys.get(record.key or b"")
            outcome = None if named is None else _decided(record.value)
            if named is not None and outcome is not None:
                found |= dict.fromkeys(named, outcome)
    return found


def _decided(value: bytes | None) -> Outcome | None:
    try:
        outcome = decode_as(Outcome, value or b"")
    except IntegrityError:
        return None
    return None if outcome.status is OutcomeStatus.RETRY else outcome


def _outcomes_kept() -> timedelta:
    spec = spec_of(OUTCOMES)
    assert spec is not None
    return timedelta(milliseconds=int(spec.config["retention.ms"]))

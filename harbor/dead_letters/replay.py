"""Sending a buried command again, the same bytes through the ordinary input, and letting one lie for good.

    1. judge: what can't be made right by a replay is refused here, with the reason
    2. write the disposition beside the letter, and wait until it is acknowledged: no replay without its record
    3. send the same bytes to the partition of the tenant that the bytes name
    4. wait for the outcome

Harbor trusts a replay as little as any record: MAC, type, idempotency, nonce and `not_after` are checked as always, so
step 1 guards no money; it spares an operator a second letter. What it alone can do is to look further back than Harbor,
which forgets outcomes after 24 h: a command that was decided before, or is older than that, is not sent again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from harbor.dead_letters.reading import Letter, letter_id_of, read_letters
from harbor.engine.batch_lookup import IDEMPOTENCY_WINDOW
from harbor.engine.intake import RejectReason
from harbor.engine.ports import Clock, LogReader
from harbor.engine.provisioning import CommandDesk, Operator
from schemas.errors import BrokerUnavailableError
from schemas.messages.avro_codec import encode
from schemas.messages.command_sealing import command_headers
from schemas.messages.commands import Command
from schemas.messages.operations import DeadLetterDisposition, LetterAction
from schemas.messages.outcomes import Outcome
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, DEAD_LETTERS, GROUP_HARBOR

# The broker's clock is not ours: within this much of the window's end a replay might be decided beyond it.
_MARGIN = timedelta(hours=1)
# Somebody wrote who should not, or wrote nonsense: the same bytes stay what they are.
_NEVER_RIGHT = (
    RejectReason.ISSUER_MAC_WRONG,
    RejectReason.ISSUER_TYPE_NOT_ALLOWED,
    RejectReason.IDS_MALFORMED,
)


class RecordSender(Protocol):
    async def produce(
        self, topic: str, *, key: bytes, value: bytes, headers: Mapping[str, bytes], partition: int
    ) -> None:
        """Returns when acknowledged. Raises BrokerUnavailableError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """`outcome` null: `buried_again` is the reason of the letter that it became."""

    outcome: Outcome | None
    buried_again: str | None = None


def why_not_replay(letter: Letter, *, decided: Outcome | None, now: datetime) -> str | None:
    """Step 1, in this order; None = it may be sent."""
    buried, command = letter.letter, letter.command
    if (buried.group, buried.topic) != (GROUP_HARBOR, COMMANDS):
        return (
            "only commands are replayed: effects are re-issued by Harbor, read tables are rebuilt"
        )
    if buried.value is None:
        return "its bytes were too large to be kept; whoever sent it must send it again"
    if hashlib.sha256(buried.value).digest() != buried.value_digest:
        return "its bytes are not those whose digest it names"
    reason = buried.reason.partition(":")[0]
    if reason in _NEVER_RIGHT:
        return f"{reason}: the same bytes would be refused again; find out who wrote them"
    if command is None:
        return "its bytes still can't be decoded by this release"
    if decided is not None:
        return f"it was decided since: {decided.status.value}"
    if any(one.action is LetterAction.DISCARD for one in letter.dispositions):
        return "it was discarded"
    if command.not_after is not None and now > command.not_after:
        return "its time has passed (not_after): whoever sent it must ask again"
    if now - buried.recorded_at > IDEMPOTENCY_WINDOW - _MARGIN:
        return "it is too old: after 24 h Harbor can't tell whether it was decided since"
    return None


def disposition_of(
    letter: Letter, action: LetterAction, *, reason: str, operator: Operator, now: datetime
) -> DeadLetterDisposition:
    buried, command = letter.letter, letter.command
    return DeadLetterDisposition(
        group=buried.group,
        topic=buried.topic,
        partition=buried.partition,
        offset=buried.offset,
        value_digest=buried.value_digest,
        action=action,
        reason=reason,
        actor=operator.actor,
        decided_at=now,
        tenant_id=letter.tenant_id,
        command_id=buried.command_id or (None if command is None else command.command_id),
    )


async def write_disposition(
    sender: RecordSender, disposition: DeadLetterDisposition, *, partitions: int
) -> None:
    """Step 2: under the letter's key, so that it lies in the letter's partition and outlives it there.

    Raises BrokerUnavailableError.
    """
    key = letter_id_of(disposition).encode()
    await sender.produce(
        DEAD_LETTERS,
        key=key,
        value=encode(disposition),
        headers={},
        partition=partition_of(key, partitions),
    )


class SameBytes:
    """`harbor.engine.provisioning.CommandSender` that seals nothing: step 3."""

    def __init__(self, sender: RecordSender, value: bytes, *, partitions: int) -> None:
        self._sender = sender
        self._value = value
        self._partitions = partitions

    async def send(self, command: Command) -> None:
        """Raises BrokerUnavailableError."""
        await self._sender.produce(
            COMMANDS,
            key=command.tenant_id.encode(),
            value=self._value,
            headers=command_headers(command),
            partition=partition_of(command.tenant_id, self._partitions),
        )


async def replay(
    letter: Letter,
    *,
    reader: LogReader,
    sender: RecordSender,
    clock: Clock,
    partitions: int,
    wait: timedelta,
) -> Replayed:
    """Steps 3 and 4, of a letter that was judged. Raises BrokerUnavailableError when nothing is heard in time."""
    command, value = letter.command, letter.letter.value
    assert command is not None
    assert value is not None
    before = {
        one.letter_id
        for one in _of_bytes(await read_letters(reader, partitions=partitions), letter)
    }
    desk = CommandDesk(
        reader=reader,
        sender=SameBytes(sender, value, partitions=partitions),
        clock=clock,
        partitions=partitions,
    )
    try:
        return Replayed(outcome=await desk.decide(command, wait=wait))
    except BrokerUnavailableError:
        # Whoever's MAC is wrong is not answered; the new letter tells.
        after = _of_bytes(await read_letters(reader, partitions=partitions), letter)
        again = next((one for one in after if one.letter_id not in before), None)
        if again is None:
            raise
        return Replayed(outcome=None, buried_again=again.letter.reason)


def _of_bytes(letters: Mapping[str, Letter], letter: Letter) -> list[Letter]:
    digest = letter.letter.value_digest
    return [one for one in letters.values() if one.letter.value_digest == digest]

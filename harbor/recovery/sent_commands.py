"""What the tick sent of late, so that it does not send the same command hot while Harbor is busy or behind.

Back-off is counted in turns, not in time: a clock that steps back must neither silence the tick nor make it shout.
"""

from dataclasses import dataclass

from schemas.ids import CommandId

# With a turn per second as the re-issue of effects: 30 s, doubling to 15 min.
TURNS_FIRST = 30
TURNS_MAX = 900


@dataclass(slots=True, kw_only=True)
class _Sent:
    next_turn: int
    wait: int
    seen_in_pass: int


class SentCommands:
    """Of one partition. A pass is one reading of the index from its beginning to the end of what is due."""

    def __init__(self) -> None:
        self._sent: dict[CommandId, _Sent] = {}
        self._pass = 0

    def __len__(self) -> int:
        return len(self._sent)

    def is_wanted(self, command_id: CommandId, *, turn: int) -> bool:
        """Whether to send it in this turn: never sent yet, or long enough ago."""
        sent = self._sent.get(command_id)
        if sent is None:
            return True
        sent.seen_in_pass = self._pass
        return turn >= sent.next_turn

    def note(self, command_id: CommandId, *, turn: int) -> None:
        """It was sent in this turn."""
        sent = self._sent.get(command_id)
        wait = TURNS_FIRST if sent is None else min(sent.wait * 2, TURNS_MAX)
        self._sent[command_id] = _Sent(next_turn=turn + wait, wait=wait, seen_in_pass=self._pass)

    def end_pass(self) -> None:
        """What was not due in the whole pass is over: it need not be remembered."""
        self._sent = {
            command_id: sent
            for command_id, sent in self._sent.items()
            if sent.seen_in_pass == self._pass
        }
        self._pass += 1

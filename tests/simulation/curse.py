"""A command that crashes the decision: as a defect of ours would, until the command is given up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harbor.domain.decision import Decision, Facts, Refused
from harbor.engine import batch
from schemas.messages.commands import Command, FundIntent

if TYPE_CHECKING:
    from tests.simulation.world import World


class CursedError(Exception):
    """What `decide` raises of a cursed command."""


class Curse:
    """At the `nth` time that a fund is decided, that command is cursed; `nth` 0 = none is."""

    def __init__(self, world: "World", nth: int) -> None:
        self._world = world
        self._left = nth
        self._cursed: str | None = None

    def lift(self) -> None:
        """It was given up, and is decided like any other if it comes again."""
        self._cursed = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        decide: Callable[[Command, Facts], Decision | Refused] = vars(batch)["decide"]

        def decide_or_crash(command: Command, facts: Facts) -> Decision | Refused:
            self._look_at(command)
            return decide(command, facts)

        if not self._left:
            yield
            return
        vars(batch)["decide"] = decide_or_crash
        try:
            yield
        finally:
            vars(batch)["decide"] = decide

    def _look_at(self, command: Command) -> None:
        if self._left and isinstance(command.body, FundIntent):
            self._left -= 1
            if not self._left:
                self._cursed = command.command_id
                self._world.cursed(command)
        if command.command_id == self._cursed:
            raise CursedError(command.command_id)

"""One way to be refused: how the world comes there, and the request that has exactly this fault."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from schemas.messages.shared import Environment, SettlementMode
from tests.e2e.http.asks import Ask, Client

# Arranges what has to be there before, and gives the request to refuse.
Arrange = Callable[[Client], Awaitable[Ask]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`appended` = the events that the refused request itself leaves, for the few that leave some."""

    code: str
    variant: str
    http_status: int
    arrange: Arrange
    environment: Environment = Environment.SANDBOX
    settlement_mode: SettlementMode = SettlementMode.SIMULATED
    appended: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.code}: {self.variant}"


def at_once(ask: Callable[[Client], Ask]) -> Arrange:
    """For requests that need nothing before them."""

    async def arrange(client: Client) -> Ask:
        return ask(client)

    return arrange


def after(before: Callable[[Client], Awaitable[None]], ask: Callable[[Client], Ask]) -> Arrange:
    async def arrange(client: Client) -> Ask:
        await before(client)
        return ask(client)

    return arrange

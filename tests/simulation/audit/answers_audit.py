"""What clients were answered, held against what was committed by then."""

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.messages.commands import Command
from schemas.messages.outcomes import IntentAnswer, Outcome
from tests.simulation.audit.rules import Rule, ViolationError
from tests.simulation.requests import Credentials, Identity, Wish

if TYPE_CHECKING:
    from tests.simulation.clients import Given

_Key = tuple[str, str, bytes]


class _Said(NamedTuple):
    tenant_id: str
    intent_id: str
    input_hash: bytes
    nonce: tuple[str, str] | None


class AnswersAudit:
    """Every outcome that was ever published, and the first answer that each request got."""

    def __init__(self) -> None:
        self._published: dict[_Key, list[Outcome]] = defaultdict(list)
        self._asked: dict[str, set[_Said]] = {}
        self._last: dict[bytes, bytes] = {}
        self._first: dict[_Key, bytes] = {}
        self._latest: dict[tuple[str, str], Outcome] = {}
        self.checked = 0

    def asked(self, who: Credentials, wish: Wish, identity: Identity) -> None:
        """Before the request is sent."""
        command_id = identity.command_id(wish, who.key_id)
        nonce = None if wish.mutation.purpose is None else (who.key_id, identity.nonce)
        said = _Said(who.tenant_id, wish.intent_id, wish.input_hash, nonce)
        self._asked.setdefault(command_id, set()).add(said)

    def check_command(self, command: Command) -> None:
        """A gateway's, once it is decided. Raises ViolationError."""
        spent = command.spent
        nonce = None if spent is None else (spent.key_id, spent.nonce)
        said = _Said(command.tenant_id, command.intent_id or "", command.input_hash, nonce)
        if said not in self._asked.get(command.command_id, ()):
            raise ViolationError(
                Rule.COMMAND_SAYS, f"nobody asked for {type(command.body).__name__} {said}"
            )

    def last_value(self, key: bytes) -> bytes | None:
        return self._last.get(key)

    def published(self, key: bytes, value: bytes, outcome: Outcome) -> None:
        self._last[key] = value
        self._latest[outcome.tenant_id, outcome.command_id] = outcome
        self._published[outcome.tenant_id, outcome.command_id, outcome.input_hash].append(outcome)

    def code_of(self, tenant_id: str, command_id: str) -> str | None:
        """How the command ended last: the code of a refusal, or its status; None = not yet."""
        found = self._latest.get((tenant_id, command_id))
        if found is None:
            return None
        return found.status.value if found.refusal is None else found.refusal.code

    def check(self, who: Credentials, given: "Given") -> None:
        """Raises ViolationError. What the gateway refused by itself says nothing of Harbor."""
        response = given.response
        if response.code is not None:
            return
        command_id = given.identity.command_id(given.wish, who.key_id)
        key = who.tenant_id, command_id, given.wish.input_hash
        members: dict[str, Any] = json.loads(response.body)
        self.checked += 1
        if members.get("tenant", who.tenant_id) != who.tenant_id:
            raise ViolationError(Rule.TENANT, f"{who.tenant_id} was shown {members['tenant']}'s")
        if not any(_says(outcome, members) for outcome in self._published.get(key, ())):
            raise ViolationError(
                Rule.ACKNOWLEDGED,
                f"{given.wish.name} of {who.tenant_id} ({command_id}) was answered"
                f" {response.http_status} {members}, which nobody committed",
            )
        if response.http_status in {200, 201}:
            first = self._first.setdefault(key, response.body)
            if first != response.body:
                raise ViolationError(
                    Rule.ACKNOWLEDGED, f"{given.wish.name} ({command_id}) got two different answers"
                )


def _says(outcome: Outcome, members: dict[str, Any]) -> bool:
    if outcome.refusal is not None:
        return bool(members.get("error", {}).get("code") == outcome.refusal.code)
    answer = outcome.answer
    if not isinstance(answer, IntentAnswer) or "error" in members:
        return False
    shown = members.get("intent_id"), members.get("state"), members.get("ledger_seq")
    return shown == (answer.intent_id, answer.status.value, outcome.ledger_seq)

"""Clients of one tenant: they live intents' lives over REST, retry as real ones do, and now and then misbehave.

A client knows only what it was answered. What it asked, and what it got for it, is shown to the auditor.
"""

import json
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from schemas.ids import TenantId, uuid8_of
from tests.simulation import requests
from tests.simulation.faults import Fault
from tests.simulation.gateway_node import Response
from tests.simulation.requests import Credentials, Identity, Wish
from tests.simulation.scheduler import Actor, Stopped
from tests.support.builders import ALWAYS, IS_PAID, NEVER, Party

if TYPE_CHECKING:
    from tests.simulation.world import World

_PATIENCE_SECONDS = 9
_TRIES_MAX = 12
_POLLS_MAX = 5
_STEPS_MAX = 4
_PAYLOADS = (b'{"paid":true,"status":"done"}', b'{"paid":false,"status":"done"}', b'{"cost":1}')
_RETRY_STATUSES = frozenset({429, 500, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An answer, with what it answers: for the auditor, and for a repeat."""

    wish: Wish
    identity: Identity
    response: Response


class Client(Actor):
    def __init__(
        self, world: "World", number: int, who: Credentials, parties: tuple[Party, Party, Party]
    ) -> None:
        super().__init__(name=f"client-{number}")
        self.world = world
        self.who = who
        self.is_done = False
        self._parties = parties
        self._rng = random.Random(f"{world.seed}/client/{number}")
        self._made = 0
        # What it calls its things by: there is one client per tenant, and another tenant's may use the same words.
        self._alias = "client" if world.shares_ids else self.name

    @property
    def tenant_id(self) -> TenantId:
        return self.who.tenant_id

    async def run(self, stories: int) -> None:
        for story in range(stories):
            named = uuid8_of("simulation", self.world.seed_text, self._alias, str(story))
            await self._live(named)
        self.is_done = True

    async def _live(self, intent_id: str) -> None:
        """One intent's life, straight or as it comes."""
        rng = self._rng
        principal, payee, _ = self._parties
        await self._create(intent_id, principal, payee)
        if rng.randrange(10) == 0:
            return
        funded = await self._fund(intent_id)
        if funded and rng.randrange(100) < 55:
            await self._straight(intent_id, payee)
        else:
            for _ in range(1 + rng.randrange(_STEPS_MAX)):
                await self._anything(intent_id, payee)

    async def _create(self, intent_id: str, principal: Party, payee: Party) -> None:
        rng, world = self._rng, self.world
        made = {
            "payee": payee,
            "amount_minor": 1 + rng.randrange(90_000),
            "deadline": world.scheduler.now + timedelta(hours=rng.choice((1, 6, 30, 72, 240))),
            "predicate": rng.choice((ALWAYS, ALWAYS, NEVER, IS_PAID)),
        }

        def wish(**changes: Any) -> Wish:
            return requests.create(
                self.tenant_id, intent_id, **{"principal": principal, **made, **changes}
            )

        if world.faults.is_drawn(Fault.WRONG_SIGNATURE, in_percent=5):
            await self._ask(wish(is_signed_well=False))
        if world.faults.is_drawn(Fault.OTHER_KEY, in_percent=5):
            stranger = replace(self._parties[2], did=principal.did)
            await self._ask(wish(principal=stranger))
        await self._ask(wish())

    async def _fund(self, intent_id: str) -> bool:
        """Poll with fresh proofs until the money is held, or the rail has said no."""
        wish = requests.fund(self.tenant_id, intent_id)
        for _ in range(_POLLS_MAX):
            given = await self._ask(wish, is_keyed=False)
            if given is None or given.response.http_status not in {200, 202}:
                return False
            if _members(given.response).get("funded"):
                return True
            await self._pause(4_000)
        return False

    async def _straight(self, intent_id: str, payee: Party) -> None:
        await self._evidence(intent_id, payee)
        if self._rng.randrange(4) == 0:
            await self._ask(requests.dispute(self.tenant_id, intent_id, "open"))
            if self._rng.randrange(2) == 0:
                await self._ask(requests.dispute(self.tenant_id, intent_id, "withdraw"))
            else:
                await self._resolve(intent_id)
        for _ in range(2):
            given = await self._ask(requests.confirm(self.tenant_id, intent_id))
            if given is None or given.response.http_status == 200:
                return
            await self._pause(3_000)

    async def _anything(self, intent_id: str, payee: Party) -> None:
        rng, tenant_id = self._rng, self.tenant_id
        match rng.randrange(8):
            case 0:
                await self._ask(requests.fund(tenant_id, intent_id))
            case 1 | 2:
                await self._evidence(intent_id, payee)
            case 3:
                await self._ask(requests.confirm(tenant_id, intent_id))
            case 4:
                await self._ask(requests.dispute(tenant_id, intent_id, "open"))
            case 5:
                await self._ask(requests.dispute(tenant_id, intent_id, "withdraw"))
            case 6:
                await self._resolve(intent_id)
            case _:
                await self._trespass()

    async def _evidence(self, intent_id: str, payee: Party) -> None:
        drawn = self.world.faults.is_drawn(Fault.WRONG_SIGNATURE, in_percent=4)
        await self._ask(
            requests.evidence(
                self.tenant_id,
                intent_id,
                payee=payee,
                payload=self._rng.choice(_PAYLOADS),
                now=self.world.scheduler.now,
                is_signed_well=not drawn,
            )
        )

    async def _resolve(self, intent_id: str) -> None:
        rng = self._rng
        outcome = rng.choice(("release", "refund", "resolved_split", "escalated_external"))
        members: dict[str, Any] = {"outcome": outcome}
        if outcome == "resolved_split":
            amount = self.world.amounts.get((self.tenant_id, intent_id), 2)
            payee = 1 + rng.randrange(max(amount - 1, 1))
            members["split"] = {"payee_cents": payee, "principal_cents": amount - payee}
        if outcome == "escalated_external":
            members |= {"custody": rng.choice(("capture", "cancel")), "external_ref": "court-7"}
        await self._ask(requests.dispute(self.tenant_id, intent_id, "resolve", **members))

    async def _trespass(self) -> None:
        """Ask for an intent that is another tenant's."""
        amounts = self.world.amounts
        others = [
            key
            for key in amounts
            if key[0] != self.tenant_id and (self.tenant_id, key[1]) not in amounts
        ]
        if others and self.world.faults.is_active:
            self.world.faults.happened(Fault.CROSS_TENANT)
            _, intent_id = others[self._rng.randrange(len(others))]
            await self._ask(requests.fund(self.tenant_id, intent_id))

    async def _ask(self, wish: Wish, *, is_keyed: bool | None = None) -> Given | None:
        """Until there is an answer; then perhaps once more, or again with something changed."""
        rng, faults = self._rng, self.world.faults
        is_operator = wish.mutation.purpose is None
        has_key = is_operator or (rng.randrange(3) > 0 if is_keyed is None else is_keyed)
        identity = Identity(key=self._name("key") if has_key else None, nonce=self._name("nonce"))
        given = await self._insist(wish, identity)
        if given is None:
            return None
        if rng.randrange(100) < 15:
            await self._insist(wish, self._again(identity))
        if identity.key is not None and faults.is_drawn(Fault.OTHER_BODY, in_percent=6):
            other = replace(wish, body=wish.body + b" ")
            await self._insist(other, self._again(identity))
        if not is_operator and faults.is_drawn(Fault.NONCE_AGAIN, in_percent=6):
            await self._insist(wish, Identity(key=self._name("key"), nonce=identity.nonce))
        return given

    def _again(self, identity: Identity) -> Identity:
        """A repeat has a fresh proof where a key says what it repeats."""
        return identity if identity.key is None else replace(identity, nonce=self._name("nonce"))

    async def _insist(self, wish: Wish, identity: Identity) -> Given | None:
        self.world.wished(wish)
        for _ in range(_TRIES_MAX):
            response = await self._send(wish, identity)
            if response is not None and self.world.faults.is_drawn(Fault.ANSWER_LOST, in_percent=8):
                response = None
            if response is not None:
                given = Given(wish=wish, identity=identity, response=response)
                self.world.auditor.answered(self.who, given)
                if response.http_status not in _RETRY_STATUSES:
                    return given
            await self._pause(3_000)
            identity = self._again(identity)
        return None

    async def _send(self, wish: Wish, identity: Identity) -> Response | None:
        """None = no answer: the connection broke, nobody listened, or patience ended."""
        world, scheduler = self.world, self.world.scheduler
        await scheduler.park(self, "ask")
        world.auditor.answers.asked(self.who, wish, identity)
        request = requests.request_of(
            wish, identity, self.who, now=scheduler.now, request_id=self._name("request")
        )
        gateway = world.gateways[self._rng.randrange(len(world.gateways))]
        task = gateway.request(request, wish.mutation, wish.intent_id)
        if task is None:
            return None
        await scheduler.park(
            self,
            f"answer to {wish.name}",
            wake_at=scheduler.now + timedelta(seconds=_PATIENCE_SECONDS),
            until=task,
        )
        if not task.done():
            return None
        try:
            return task.result()
        except Stopped:
            return None

    async def _pause(self, milliseconds_max: int) -> None:
        scheduler = self.world.scheduler
        wake_at = scheduler.now + timedelta(milliseconds=self._rng.randrange(milliseconds_max))
        await scheduler.park(self, "pause", wake_at=wake_at)

    def _name(self, what: str) -> str:
        self._made += 1
        return f"{what}-{self._alias}-{self._made}"


def _members(response: Response) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(response.body)
    return members

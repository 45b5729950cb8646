"""Clients as a process of their own: intents from creation to their end, side by side, until told to stop.

`python -m tests.e2e.kills.load LOCAL_FILE ACKNOWLEDGED_FILE SEED SIDE_BY_SIDE`: every acknowledged command is a line
of the file, written before anything else happens. SIGTERM: intents under way are ended first.
"""

import asyncio
import json
import random
import signal
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from deploy.local.demo import terms_of
from deploy.local.demo_client import evidence_body, intent_body
from deploy.local.demo_plan import PlannedIntent, Story, plan_of
from deploy.local.local_file import TenantAccess, tenant_of
from schemas.instants import format_instant
from streams.runtime.clock import SystemClock
from tests.e2e.kills.patient_client import Acknowledged, PatientClient, Request, with_new_id

_HTTP_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.25
# Plans are drawn a piece at a time; the stories of a piece take turns.
_PLAN_INTENTS = 500
_TOLD = (Story.DONE, Story.FAILED)
_OK = 200
_ACCEPTED = 202
_DECLINED = 402


# Made once: each client of its own would read all certificates again.
_NO_TLS = ssl.create_default_context()


class UnexpectedAnswerError(Exception):
    """The system stands by an answer that this request must not get."""

    def __init__(self, answer: Acknowledged) -> None:
        super().__init__(answer.line())


@dataclass(frozen=True, slots=True)
class Teller:
    """Takes one tenant's intents through their lives."""

    client: PatientClient
    draw: random.Random
    file: IO[str]

    async def tell(self, intent: PlannedIntent) -> None:
        """Raises UnexpectedAnswerError."""
        tenant, path = self.client.tenant, f"/harbor/intents/{intent.intent_id}"
        body = intent_body(tenant, terms_of(intent))
        await self._settled(intent, "/harbor/intents", "harbor.intent.create", body)
        await self._settled(intent, f"{path}/fund", "harbor.intent.fund", b"{}")
        evidence = evidence_body(
            tenant,
            intent.intent_id,
            intent.payload,
            submitted_at=format_instant(SystemClock().now().replace(microsecond=0)),
        )
        await self._settled(intent, f"{path}/evidence", "harbor.intent.evidence.submit", evidence)
        confirm = "harbor.intent.settlement.confirm"
        ended = await self._settled(intent, f"{path}/settlement/confirm", confirm, b"{}")
        if ended.document.get("state") != intent.final_state:
            raise UnexpectedAnswerError(ended)

    async def _settled(
        self, intent: PlannedIntent, path: str, purpose: str, body: bytes
    ) -> Acknowledged:
        """Polls with the same key while it is accepted; a new attempt after the rail declined."""
        key = self._key()
        while True:
            request = Request(path=path, purpose=purpose, body=body, key=key)
            answer = await self.client.ask(request, intent_id=intent.intent_id)
            self.file.write(answer.line() + "\n")
            self.file.flush()
            match answer.status:
                case status if status == _ACCEPTED:
                    await asyncio.sleep(_POLL_SECONDS)
                case status if status == _DECLINED:
                    key = self._key()
                case status if status in {_OK, 201}:
                    return answer
                case _:
                    raise UnexpectedAnswerError(answer)

    def _key(self) -> str:
        return self.draw.randbytes(12).hex()


class Load:
    """All tellers of one process."""

    def __init__(self, document: dict[str, Any], file: IO[str], *, seed: int) -> None:
        self._document = document
        self._file = file
        self._draw = random.Random(f"load {seed}")
        self.is_stopping = False

    async def run(self, side_by_side: int) -> None:
        """Raises UnexpectedAnswerError for the first answer that must not be."""
        tenants = (tenant_of(self._document), tenant_of(self._document["second_tenant"]))
        async with asyncio.TaskGroup() as group:
            for number in range(side_by_side):
                group.create_task(self._lane(tenants[number % len(tenants)]))

    async def _lane(self, tenant: TenantAccess) -> None:
        """A client with a connection of its own: a shared pool looks at all connections at each request."""
        draw = random.Random(self._draw.randbytes(16))
        base_url = self._document["base_url"]
        async with httpx.AsyncClient(
            base_url=base_url, timeout=_HTTP_SECONDS_MAX, verify=_NO_TLS, trust_env=False
        ) as http:
            client = PatientClient(http, tenant, draw=draw, on_retry=self._note_retry)
            teller = Teller(client=client, draw=draw, file=self._file)
            while True:
                for intent in plan_of(seed=draw.randrange(2**40), intents=_PLAN_INTENTS):
                    if self.is_stopping:
                        return
                    if intent.story in _TOLD:
                        await teller.tell(with_new_id(intent, draw))

    def _note_retry(self, why: str) -> None:
        self._file.write(json.dumps({"retried": why}) + "\n")


def main(local_file: Path, acknowledged: Path, seed: int, side_by_side: int) -> None:
    with acknowledged.open("a") as file:
        load = Load(json.loads(local_file.read_text()), file, seed=seed)

        async def run() -> None:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGTERM, lambda: setattr(load, "is_stopping", True)
            )
            await load.run(side_by_side)

        asyncio.run(run())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

"""The newcomer's run: 200 intents on two tenants over HTTP, their ledger, and one proof checked without us.

1. the published intent of the signing vectors; 2. the random ones, side by side; 3. the same entries read from Kafka;
4. an inclusion proof, checked by a script that trusts one key and nothing else. Only base_url and keys are needed.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.progress import Progress

from deploy.local.demo_client import DemoClient, GatewayUnavailableError, IntentTerms
from deploy.local.demo_plan import EVIDENCE_SCHEMA, PlannedIntent, Story, plan_of
from deploy.local.demo_proof import Entry, ProofCheck, check_proof, read_from_kafka
from deploy.local.demo_report import (
    Told,
    print_kafka,
    print_proof,
    print_stories,
    print_what_next,
)
from deploy.local.local_file import TenantAccess, read_local_file, tenant_of
from schemas.instants import format_instant

# The v6 intent of the published signing vectors; a test compares its body with them.
VECTOR_INTENT: Final = IntentTerms(
    intent_id="7f2a9b1e-2f66-4f4f-9c6e-8f4b8e85c401",
    amount_cents=20_000,
    currency="usd",
    deadline="2030-01-02T15:04:05Z",
    budget={"max_spend_usd": 20, "currency": "usd"},
    evidence_schema={"type": "object", "required": ["status"]},
    predicate={"version": 1, "root": {"op": "true"}},
    tools=("Travel.Book_Hotel", "travel.search"),
)
_VECTOR_PAYLOAD: Final = {"status": "completed", "cost_cents": 18_700}

FINAL: Final = frozenset({"released", "refunded", "resolved_split", "escalated_external"})
# Of the 64 commands a tenant may have in flight.
_SIDE_BY_SIDE = 12
# A rail that declines three times in a row declines for a reason.
_ATTEMPTS_MAX = 8
_RAIL_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.2
_HTTP_SECONDS_MAX = 30.0
_VALID_FOR = timedelta(days=2)


class UnexpectedAnswerError(Exception):
    """The system did not do what it promises; the run goes on and ends as failed."""


def run_demo(*, local_file: Path, intents: int, seed: int | None, console: Console) -> bool:
    """Whether everything came out as it must. Raises ConfigurationError, GatewayUnavailableError."""
    document = read_local_file(local_file)
    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    return asyncio.run(_run(document, plan_of(seed=chosen, intents=intents), chosen, console))


async def _run(
    document: Mapping[str, Any], plan: Sequence[PlannedIntent], seed: int, console: Console
) -> bool:
    limits = httpx.Limits(max_connections=4 * _SIDE_BY_SIDE)
    async with httpx.AsyncClient(
        base_url=document["base_url"], timeout=_HTTP_SECONDS_MAX, limits=limits, trust_env=False
    ) as http:
        clients = [
            client_of(http, tenant_of(access)) for access in (document, document["second_tenant"])
        ]
        console.print(f"[bold]1. The published intent[/], {clients[0].tenant.tenant_id}")
        vector = await tell_vector(clients[0])
        console.print(f"   {vector.note}: {vector.state}")
        console.print(f"[bold]2. {len(plan)} random intents on two tenants[/] (seed {seed})")
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("intents", total=len(plan))
            told = await tell_all(clients, plan, lambda: progress.advance(bar))
        await print_stories(console, clients, told)
        entries = await entries_of(clients[0], vector.intent_id)
        bootstrap = document.get("kafka_bootstrap")
        is_same = True
        if bootstrap:
            console.print("[bold]3. The same entries, read straight from Kafka[/]")
            records = await asyncio.to_thread(
                read_from_kafka, bootstrap, clients[0].tenant.tenant_id
            )
            is_same = print_kafka(console, entries, records)
        console.print("[bold]4. One entry's inclusion proof, checked without Paybond's software[/]")
        check = await check_proof(clients[0], entries[-1])
        print_proof(console, check)
        print_what_next(console, document, entries[-1])
        return _is_good([vector, *told], check, is_same=is_same)


def _is_good(told: Sequence[Told], check: ProofCheck | None, *, is_same: bool) -> bool:
    is_proven = check is None or check.is_good
    return is_same and is_proven and not any(one.fault for one in told)


async def tell_vector(client: DemoClient) -> Told:
    """The published body, a fresh proof. On a second run it is there already, and stays as it is."""
    planned = PlannedIntent(
        tenant=0,
        intent_id=VECTOR_INTENT.intent_id,
        amount_cents=VECTOR_INTENT.amount_cents,
        currency=VECTOR_INTENT.currency,
        tools=VECTOR_INTENT.tools,
        predicate=VECTOR_INTENT.predicate,
        story=Story.DONE,
        payload=_VECTOR_PAYLOAD,
        payee_cents=VECTOR_INTENT.amount_cents,
    )
    return await create_and_tell(client, planned, VECTOR_INTENT)


async def tell_all(
    clients: Sequence[DemoClient], plan: Sequence[PlannedIntent], advance: Callable[[], None]
) -> list[Told]:
    """All of them side by side, some at a time on each tenant. A fault ends one story, not the run."""
    gates = [asyncio.Semaphore(_SIDE_BY_SIDE) for _ in clients]

    async def one(planned: PlannedIntent) -> Told:
        client = clients[planned.tenant]
        async with gates[planned.tenant]:
            try:
                told = await create_and_tell(client, planned, terms_of(planned))
            except (UnexpectedAnswerError, GatewayUnavailableError) as error:
                told = Told(planned=planned, state="?", note="", fault=str(error))
        advance()
        return told

    return list(await asyncio.gather(*map(one, plan)))


async def entries_of(client: DemoClient, intent_id: str) -> list[Entry]:
    """The ledger entries of one intent, in order, with the exact bytes of their records."""
    document = await _read(client, intent_id)
    found = []
    for item in document["timeline"]:
        page = await client.get(
            "/harbor/ledger/v1/events", parameters={"after_seq": item["seq"] - 1, "limit": 1}
        )
        found.append(Entry.of(page.document["entries"][0]))
    return found


def client_of(http: httpx.AsyncClient, tenant: TenantAccess) -> DemoClient:
    """With this machine's clock and dice."""
    return DemoClient(http, tenant, now=_now, random_hex=_random_hex)


async def create_and_tell(client: DemoClient, planned: PlannedIntent, terms: IntentTerms) -> Told:
    """An intent of an earlier run is told on from where it stands."""
    created = await client.create(terms)
    if created.status == 201:
        return await _tell(client, planned, note="created from its signed body")
    _expect("create", created.code == "intent_exists", created.document)
    there = await client.get(f"/harbor/operator/v1/intents/{planned.intent_id}")
    _expect("read", there.status == 200, there.document)
    state = str(there.document["state"])
    if state in FINAL:
        return Told(planned=planned, state=state, note="already there")
    return await _tell(client, planned, note="already there, told on")


async def _tell(client: DemoClient, planned: PlannedIntent, *, note: str) -> Told:
    """Fund, evidence, settle or dispute, read back; each step checked against the plan."""
    declines = await _fund(client, planned.intent_id)
    evidence = await client.submit_evidence(planned.intent_id, planned.payload)
    if evidence.code != "evidence_exists":
        _expect("evidence", evidence.status in {200, 201, 202}, evidence.document)
        passed = evidence.document.get("predicate_passed")
        _expect("evidence", passed is planned.passes, evidence.document)
    if planned.is_disputed:
        declines += await _dispute(client, planned)
    if planned.resolution is None:
        declines += await _settle(client, planned.intent_id, "confirm", None)
    document = await _read(client, planned.intent_id)
    _check_end(planned, document)
    return Told(
        planned=planned,
        state=str(document["state"]),
        note=note,
        declines=declines,
    )


async def _fund(client: DemoClient, intent_id: str) -> int:
    """Poll with fresh proofs until funded; how often the rail declined."""
    declines = 0
    deadline = asyncio.get_running_loop().time() + _RAIL_SECONDS_MAX
    while asyncio.get_running_loop().time() < deadline:
        answer = await client.fund(intent_id)
        match answer.status:
            case 200 if answer.document["funded"]:
                return declines
            case 202:
                await asyncio.sleep(_POLL_SECONDS)
            case 402 if declines < _ATTEMPTS_MAX:
                declines += 1
            case _:
                raise UnexpectedAnswerError(f"fund: {answer.status} {answer.document}")
    raise UnexpectedAnswerError(f"fund: not funded after {_RAIL_SECONDS_MAX:g} s")


async def _dispute(client: DemoClient, planned: PlannedIntent) -> int:
    opened = await client.dispute(planned.intent_id, "open", {"reason_code": "quality"})
    _expect("dispute/open", opened.status == 200, opened.document)
    frozen = await client.confirm(planned.intent_id)
    _expect("confirm while disputed", frozen.code == "intent_frozen", frozen.document)
    if planned.resolution is None:
        withdrawn = await client.dispute(
            planned.intent_id, "withdraw", {"reason_code": "opened_by_mistake"}
        )
        _expect("dispute/withdraw", withdrawn.status == 200, withdrawn.document)
        return 0
    return await _settle(client, planned.intent_id, "resolve", planned.resolution)


async def _settle(
    client: DemoClient, intent_id: str, action: str, body: Mapping[str, Any] | None
) -> int:
    """Confirm or resolve until it is final; how often the rail declined."""
    for declines in range(_ATTEMPTS_MAX):
        if body is None:
            answer = await client.confirm(intent_id)
        else:
            answer = await client.dispute(intent_id, action, body)
        code = answer.code
        if answer.status == 202:
            operation = await _operation(client, str(answer.document["operation_id"]))
            code = operation.get("error", {}).get("code")
        if answer.status in {200, 202} and code is None:
            return declines
        _expect(action, code == "payment_declined", answer.document)
    raise UnexpectedAnswerError(f"{action}: declined {_ATTEMPTS_MAX} times")


async def _operation(client: DemoClient, operation_id: str) -> Mapping[str, Any]:
    deadline = asyncio.get_running_loop().time() + _RAIL_SECONDS_MAX
    while asyncio.get_running_loop().time() < deadline:
        answer = await client.get(f"/v1/operations/{operation_id}")
        _expect("operation", answer.status == 200, answer.document)
        if answer.document["status"] != "pending":
            return answer.document
        await asyncio.sleep(_POLL_SECONDS)
    raise UnexpectedAnswerError(f"operation {operation_id}: pending for {_RAIL_SECONDS_MAX:g} s")


async def _read(client: DemoClient, intent_id: str) -> Mapping[str, Any]:
    """The read tables follow by milliseconds: read until the state is no longer on its way."""
    deadline = asyncio.get_running_loop().time() + _RAIL_SECONDS_MAX
    while True:
        answer = await client.get(f"/harbor/operator/v1/intents/{intent_id}")
        is_late = asyncio.get_running_loop().time() > deadline
        if answer.status == 200 and (answer.document["state"] in FINAL or is_late):
            return answer.document
        _expect("read", answer.status in {200, 404} and not is_late, answer.document)
        await asyncio.sleep(_POLL_SECONDS)


def _check_end(planned: PlannedIntent, document: Mapping[str, Any]) -> None:
    _expect("state", document["state"] == planned.final_state, document["state"])
    parts = ("held_cents", "released_cents", "refunded_cents", "custody_cents")
    total = sum(int(document[part]) for part in parts)
    _expect("money", document["placed_cents"] == total == planned.amount_cents, document["hold"])


def _expect(what: str, is_so: object, document: object) -> None:
    if not is_so:
        raise UnexpectedAnswerError(f"{what}: {document}")


def terms_of(planned: PlannedIntent) -> IntentTerms:
    return IntentTerms(
        intent_id=planned.intent_id,
        amount_cents=planned.amount_cents,
        currency=planned.currency,
        deadline=format_instant((_now() + _VALID_FOR).replace(microsecond=0)),
        budget={"max_spend_cents": planned.amount_cents, "currency": planned.currency},
        evidence_schema=EVIDENCE_SCHEMA,
        predicate=planned.predicate,
        tools=planned.tools,
    )


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 – a client's own clock; nothing of it is ever replayed


def _random_hex() -> str:
    return secrets.token_hex(16)

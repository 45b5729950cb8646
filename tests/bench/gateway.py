"""The whole system on one machine under REST: creations and reads at 64 in flight, beside a route that does nothing.

Requests are signed beforehand with distinct keys of their nonces, ids and amounts; the load generator is this process.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

from deploy.local.demo import terms_of
from deploy.local.demo_client import PROOF_HEADER, intent_body
from deploy.local.demo_plan import plan_of
from deploy.local.local_file import TenantAccess, tenant_of
from deploy.local.server_process import accepts_connections, free_port
from tests.bench.figures import Figure, Goal, at_least, at_most, below, quantile
from tests.bench.http_load import Answered, load, request
from tests.bench.processors import processor_seconds
from tests.e2e.kills.patient_client import proof_headers, with_new_id
from tests.e2e.local_stack import LocalStack, running_stack

_CREATIONS = 4_000
_READS = 6_000
_SIDE_BY_SIDE = 64
_CREATED = 201
_OK = 200
_START_SECONDS_MAX = 30.0
_SHOWN_SECONDS_MAX = 60.0


def run(share: float, *, kafka: str = "apache") -> Iterator[Figure]:
    creations, reads = max(64, int(_CREATIONS * share)), max(64, int(_READS * share))
    with running_stack(kafka=kafka) as stack, _bare() as bare_port:
        document = stack.local_file()
        port = int(document["base_url"].rsplit(":", 1)[1])
        tenants = [tenant_of(document), tenant_of(document["second_tenant"])]
        made = _creations(tenants, creations)
        warm, made = made[: creations // 10], made[creations // 10 :]
        asyncio.run(load(port, [one for _, one in warm], side_by_side=_SIDE_BY_SIDE))
        before = _processor_seconds(stack)
        answered = asyncio.run(load(port, [one for _, one in made], side_by_side=_SIDE_BY_SIDE))
        assert set(answered.statuses) == {_CREATED}, set(answered.statuses)
        yield from _figures("creations", answered, rate=700, p99=at_most(200))
        for name, seconds in _processor_seconds(stack).items():
            yield Figure(
                name=f"processor time of one creation in {name}",
                value=(seconds - before[name]) / len(made) * 1e3,
                unit="ms",
            )
        yield from _beside("creations", answered, bare_port, method="POST")
        _wait_until_shown(port, [_read(*intent) for intent, _ in made])
        asked = [_read(*made[number % len(made)][0]) for number in range(reads)]
        answered = asyncio.run(load(port, asked, side_by_side=_SIDE_BY_SIDE))
        assert set(answered.statuses) == {_OK}, set(answered.statuses)
        yield from _figures("reads of one intent", answered, rate=1_500, p99=below(50))
        yield from _beside("reads of one intent", answered, bare_port, method="GET")


def _wait_until_shown(port: int, reads: Sequence[bytes]) -> None:
    """Rows follow the ledger, and bodies come by a topic of their own: until then a read is 404 or 503."""
    deadline = time.monotonic() + _SHOWN_SECONDS_MAX
    while set(asyncio.run(load(port, reads, side_by_side=_SIDE_BY_SIDE)).statuses) != {_OK}:
        assert time.monotonic() < deadline, "the read tables do not catch up"


def _figures(what: str, answered: Answered, *, rate: float, p99: Goal) -> Iterator[Figure]:
    yield Figure(
        name=f"{what}, 64 in flight",
        value=answered.per_second,
        unit="requests/s",
        goal=at_least(rate),
    )
    yield Figure(
        name=f"{what}, 64 in flight, p99",
        value=quantile(answered.seconds, 0.99) * 1e3,
        unit="ms",
        goal=p99,
    )


def _beside(what: str, answered: Answered, port: int, *, method: str) -> Iterator[Figure]:
    requests = [request(method, "/nothing", [], b"{}")] * len(answered.seconds)
    bare = asyncio.run(load(port, requests, side_by_side=_SIDE_BY_SIDE))
    yield Figure(name=f"a bare FastAPI {method}", value=bare.per_second, unit="requests/s")
    yield Figure(
        name=f"{what} ÷ a bare FastAPI {method}",
        value=answered.per_second / bare.per_second,
        unit="ratio",
    )


def _creations(
    tenants: Sequence[TenantAccess], count: int
) -> list[tuple[tuple[TenantAccess, str], bytes]]:
    """Each with the tenant and the id that it creates."""
    draw = random.Random(time.time_ns())
    made = []
    for number, planned in enumerate(plan_of(seed=draw.randrange(2**40), intents=count)):
        tenant = tenants[number % len(tenants)]
        intent = with_new_id(planned, draw)
        body = intent_body(tenant, terms_of(intent))
        headers = proof_headers(
            tenant, path="/harbor/intents", purpose="harbor.intent.create", body=body, draw=draw
        )
        assert PROOF_HEADER in headers
        one = request("POST", "/harbor/intents", list(headers.items()), body)
        made.append(((tenant, intent.intent_id), one))
    return made


def _read(tenant: TenantAccess, intent_id: str) -> bytes:
    path = f"/harbor/operator/v1/intents/{intent_id}"
    return request("GET", path, [("authorization", f"Bearer {tenant.api_key}")])


def _processor_seconds(stack: LocalStack) -> dict[str, float]:
    """Of each process of the system, its children with it."""
    state: dict[str, Any] = stack.supervision()
    parts = {**state["servers"], **state["programs"]}
    return {name: processor_seconds(psutil.Process(entry["pid"])) for name, entry in parts.items()}


@contextmanager
def _bare() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.bare_app", str(port)])
    try:
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not accepts_connections(port):
            assert time.monotonic() < deadline, "the bare application does not start"
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()

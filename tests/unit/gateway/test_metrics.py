"""Requests are counted by route and status; no id and no tenant ever becomes a label."""

import asyncio

import httpx
from prometheus_client import generate_latest

from gateway.app import create_app
from streams.runtime.metrics import Metrics

INTENT = "7f2a9b1e-2f66-4f4f-9c6e-8f4b8e85c401"


def test_a_request_is_counted_under_its_route_and_status() -> None:
    metrics = Metrics()

    async def ask() -> None:
        transport = httpx.ASGITransport(create_app(metrics))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await client.get(f"/nowhere/{INTENT}")
            await client.put(f"/harbor/intents/{INTENT}/fund")

    asyncio.run(ask())
    page = generate_latest(metrics.registry).decode()

    assert 'paybond_gateway_requests_total{route="none",status="404"} 1.0' in page
    assert 'status="405"' in page
    assert INTENT not in page

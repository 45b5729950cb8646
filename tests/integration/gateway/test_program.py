"""The program around its parts: it ends, and not well, when one of them has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from deploy.local.server_process import free_port
from gateway import app
from gateway.app import run_gateway
from gateway.bootstrap import Parts
from gateway.settings import GatewaySettings
from schemas.errors import OwnershipLostError

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

_NOT_ASKED: Any = None
_SECONDS_MAX = 20.0


async def _fenced() -> None:
    await asyncio.sleep(0.2)
    raise OwnershipLostError(resource="the row topic", reason="a newer relay has opened it")


@asynccontextmanager
async def _parts_with_a_fenced_relay(*_: object, **__: object) -> AsyncIterator[Parts]:
    yield Parts(
        command_path=_NOT_ASKED,
        read_path=_NOT_ASKED,
        guard=_NOT_ASKED,
        readiness={},
        waiting=lambda: 0,
        work=[asyncio.create_task(_fenced(), name="outbox-relay")],
    )


def test_a_gateway_whose_relay_was_fenced_ends_with_that_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "parts", _parts_with_a_fenced_relay)
    # It would leave the whole test process out of the collector.
    monkeypatch.setattr(app, "spare_what_stands", lambda: None)
    key = SecretStr("11" * 32)
    settings = GatewaySettings(
        port=free_port(),
        private_port=free_port(),
        postgres_dsn=SecretStr("postgresql://nobody@127.0.0.1/nothing"),
        issuer_key=key,
        api_key_pepper=key,
        capability_key=key,
    )

    with pytest.raises(OwnershipLostError):
        asyncio.run(asyncio.wait_for(run_gateway(settings), _SECONDS_MAX))

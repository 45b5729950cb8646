"""The adapters every case runs on, and cases as coroutines: a world opens and closes in the loop of its test."""

import asyncio
import inspect
from typing import Any

import pytest

from tests.contract.worlds import KafkaWorld, MemoryWorld, World

_MEMORY = pytest.param("memory", id="memory")


@pytest.fixture(
    params=[_MEMORY, pytest.param("kafka", id="kafka", marks=[pytest.mark.integration])]
)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """Memory, and whatever broker `PAYBOND_TEST_KAFKA` names."""
    return _world(request, monkeypatch)


@pytest.fixture(
    params=[
        _MEMORY,
        pytest.param("kafka", id="kafka", marks=[pytest.mark.integration, pytest.mark.apache_only]),
    ]
)
def strict_world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """Memory and Apache Kafka: what the embedded broker does not do (`deploy/local/embedded_kafka.py`)."""
    return _world(request, monkeypatch)


def _world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    if request.param == "memory":
        return MemoryWorld()
    return KafkaWorld(
        bootstrap=request.getfixturevalue("kafka"),
        is_apache=request.getfixturevalue("is_apache"),
        name=request.getfixturevalue("unique_name"),
        patch=monkeypatch,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Run a case that is a coroutine, around it open and close the worlds it asked for."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(_run(pyfuncitem.obj, arguments))
    return True


async def _run(case: Any, arguments: dict[str, Any]) -> None:
    worlds = [one for one in arguments.values() if isinstance(one, MemoryWorld | KafkaWorld)]
    try:
        for one in worlds:
            await one.open()
        await case(**arguments)
    finally:
        for one in worlds:
            await one.close()

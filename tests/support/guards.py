"""What no test may do: talk past loopback, or leave a thread or a task behind."""

import asyncio
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# Executors' threads end shortly after their loop; what is alive after this was forgotten.
THREAD_SECONDS_MAX = 2.0
# Threads that others keep on purpose, by the beginning of their names.
_THREADS_ALLOWED = ("pydevd", "pytest-watcher")
# Python's own, so that a guard inside a guard does not report to both.
_CANCEL_ALL: Callable[[asyncio.AbstractEventLoop], None] = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]


class SocketRefusedError(RuntimeError):
    """A test tried to reach another machine."""

    def __init__(self, address: object) -> None:
        super().__init__(f"tests may talk to loopback only, not to {address!r}")


def refuse_unless_loopback(family: int, address: object) -> None:
    """Raise SocketRefusedError for an internet address that is not loopback."""
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return
    host = address[0] if isinstance(address, tuple) else address
    if host == "localhost":
        return
    try:
        is_loopback = ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        # A name that would have to be looked up is another machine's.
        is_loopback = False
    if not is_loopback:
        raise SocketRefusedError(address)


def install_socket_guard(patch: pytest.MonkeyPatch) -> None:
    """Guard Python's own sockets; librdkafka and libpq get loopback addresses from fixtures."""
    for name in ("connect", "connect_ex", "bind"):
        patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


@contextmanager
def no_thread_left_behind() -> Iterator[None]:
    """Fail with the names of threads that were started inside and are still alive."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_SECONDS_MAX
    while left := _new_threads(before):
        if time.monotonic() > deadline:
            pytest.fail(f"threads left behind: {sorted(thread.name for thread in left)}")
        left[0].join(0.05)


@contextmanager
def no_task_left_behind(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail with the names of tasks that were still pending when `asyncio.run` ended."""
    left: list[str] = []

    def cancel_and_note(loop: asyncio.AbstractEventLoop) -> None:
        left.extend(repr(task.get_coro()) for task in asyncio.all_tasks(loop))
        _CANCEL_ALL(loop)

    # asyncio.run cancels what is left and says nothing; this is where it looks for it.
    patch.setattr(asyncio.runners, "_cancel_all_tasks", cancel_and_note)
    yield
    if left:
        pytest.fail(f"tasks left behind: {left}")


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread not in before
        and thread.is_alive()
        and not thread.name.startswith(_THREADS_ALLOWED)
        and thread is not threading.current_thread()
    ]


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: object) -> Any:
        refuse_unless_loopback(self.family, address)
        return method(self, address)

    return guarded

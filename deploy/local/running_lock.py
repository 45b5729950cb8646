"""Who runs here: a lock that dies with its holder, and beside it what the holder says of itself.

The lock is the kernel's (flock), so a supervisor that was SIGKILLed leaves none behind; what it wrote may be old, and
counts only while the lock is held.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local.generated_keys import write_secret
from schemas.errors import PaybondError

LOCK_FILE = "supervisor.lock"
STATE_FILE = "supervisor.json"
_POLL_SECONDS = 0.1
_PROBE_SECONDS_MAX = 1.0


class AlreadyRunningError(PaybondError):
    def __init__(self, directory: Path) -> None:
        super().__init__(f"Paybond already runs in {directory}; `paybond-local status` shows it.")


@contextmanager
def held_lock(directory: Path) -> Iterator[None]:
    """Hold the folder's lock; what an earlier holder said of itself is gone. Raises AlreadyRunningError."""
    directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _PROBE_SECONDS_MAX
    with _open(directory) as descriptor:
        # Whoever only looks whether it is held holds it for a moment too.
        while not _lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise AlreadyRunningError(directory)
            time.sleep(_POLL_SECONDS)
        (directory / STATE_FILE).unlink(missing_ok=True)
        yield


def is_held(directory: Path) -> bool:
    """Whether a supervisor runs there now."""
    if not (directory / LOCK_FILE).exists():
        return False
    with _open(directory) as descriptor:
        return not _lock(descriptor, fcntl.LOCK_SH)


def write_state(directory: Path, state: Mapping[str, Any]) -> None:
    write_secret(directory / STATE_FILE, json.dumps(state, indent=1))


def read_state(directory: Path) -> dict[str, Any] | None:
    """What the present holder says of itself; None if nobody holds the lock or it has said nothing yet."""
    return last_state(directory) if is_held(directory) else None


def last_state(directory: Path) -> dict[str, Any] | None:
    """What the last holder said of itself, dead or alive."""
    try:
        state = json.loads((directory / STATE_FILE).read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def wait_until_free(directory: Path, *, seconds_max: float) -> bool:
    deadline = time.monotonic() + seconds_max
    while is_held(directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


@contextmanager
def _open(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        # Closing gives the lock back.
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

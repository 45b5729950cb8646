"""The load as a process beside the test: begun, and at the end every intent under way is taken to its own end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.kills.acknowledgements import Acknowledgements
from tests.e2e.local_stack import LocalStack
from tests.support.brokers import ROOT

_DRAIN_SECONDS_MAX = 300


@contextmanager
def clients(
    stack: LocalStack, told: Acknowledgements, *, seed: int, side_by_side: int
) -> Iterator[None]:
    """Half of them for each of two tenants; what they are told goes to `told.path`."""
    log_file = told.path.with_suffix(".log")
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.e2e.kills.load"),
                str(stack.directory / ".paybond" / "local.json"),
                *(str(told.path), str(seed), str(side_by_side)),
            ],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
            process.terminate()
            ended = process.wait(_DRAIN_SECONDS_MAX)
        finally:
            process.kill()
            process.wait()
    assert ended == 0, log_file.read_text()

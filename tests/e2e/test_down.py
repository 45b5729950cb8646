"""`paybond-local down`, each time on a stack of its own.

In a module of their own: beside another stack's idle embedded broker, which takes a core, they took four times as long.
"""

import psutil
import pytest

from deploy.local.demo import create_and_tell, terms_of
from deploy.local.demo_plan import Story
from tests.e2e.conversations import planned, talk
from tests.e2e.local_stack import READY_SECONDS_MAX, LocalStack, kafka_option, running_stack
from tests.support.brokers import temporary_directory

pytestmark = pytest.mark.integration


def test_down_stops_what_a_killed_supervisor_left_behind() -> None:
    with running_stack() as stack:
        status = stack.status()
        pids = [entry["pid"] for part in ("servers", "programs") for entry in status[part].values()]
        supervisor = psutil.Process(status["pid"])
        supervisor.kill()
        psutil.wait_procs([supervisor], timeout=READY_SECONDS_MAX)
        alive = [pid for pid in pids if psutil.pid_exists(pid)]

        down = stack.run("paybond-local", "down")
        again = stack.run("paybond-local", "down")

        assert alive == pids
        assert down.returncode == 0
        assert "The supervisor was gone; stopped what it had left: gateway, views" in down.stderr
        assert [pid for pid in pids if psutil.pid_exists(pid)] == []
        assert "Nothing runs here" in again.stderr


def test_down_leaves_no_process_behind_and_up_finds_everything_again() -> None:
    with temporary_directory("e2e") as directory:
        stack = LocalStack(directory=directory)
        option = kafka_option()
        if ":" in option:
            pytest.skip("a broker that is not ours keeps another stack's ledgers")
        first = stack.run("paybond-local", "up", "--detach", "--kafka", option)
        assert first.returncode == 0, first.stderr
        intent = planned(Story.FAILED)
        talk(stack, lambda client: create_and_tell(client, intent, terms_of(intent)))
        pids = [
            entry["pid"]
            for part in ("servers", "programs")
            for entry in stack.status()[part].values()
        ]

        down = stack.run("paybond-local", "down")
        left = [pid for pid in pids if psutil.pid_exists(pid)]
        status = stack.run("paybond-local", "status")
        second = stack.run("paybond-local", "up", "--detach", "--kafka", option)
        try:
            read = talk(
                stack,
                lambda client: client.get(f"/harbor/operator/v1/intents/{intent.intent_id}"),
            )
        finally:
            stack.run("paybond-local", "down")

        assert stack.found_in_logs() == []
        assert (down.returncode, status.returncode, second.returncode) == (0, 1, 0)
        assert left == []
        assert read.document["state"] == "refunded"

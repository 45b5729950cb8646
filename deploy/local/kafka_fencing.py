"""Before a broker's next life its own controller is made to know that the last one is over.

One node that restarts first sees itself as it was before: leader of everything. Its transaction coordinator then starts
to write the markers of a transaction that was being committed. Moments later the node registers anew, for a tenth of a
second no partition has a leader, and the coordinator takes them for deleted and skips their markers: such a transaction
hangs for ever, and every read_committed reader with it (measured on 4.3.1: `TransactionMarkerChannelManager`, "couldn't
find leader endpoint … likely deleted already and hence can be skipped"). With replicas on other nodes there is always a
leader. So a node runs as a controller alone first, until it has fenced its former broker: then the next start sees no
leaders, becomes leader of everything at once, and only then finishes transactions.

A controlled shutdown would fence the broker itself, but while it still runs: its coordinator then skips the markers of
what is being committed at that moment, with the same end (one orderly stop in some forty under load, measured). The
node's properties switch it off, and an orderly stop is, for the cluster, a death.
"""

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# As the broker's default is 9 s, this is only for the seconds in which the controller is alone.
_OVERRIDES = {
    "process.roles": "controller",
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "250",
}
_BROKER_ONLY = ("advertised.listeners", "inter.broker.listener.name")
_LOOK_SECONDS = 0.5
_DUMP_SECONDS_MAX = 60.0
# Records that say whether the one broker is fenced; the last one counts.
_REGISTERED = re.compile(
    r'"type":"(?:REGISTER_BROKER_RECORD|BROKER_REGISTRATION_CHANGE_RECORD)".*?"fenced":(true|1|-1|false)'
)


def has_lived(log_directory: Path) -> bool:
    """Whether a node has written metadata here."""
    return bool(_segments(log_directory))


def controller_properties(properties: str, *, controller_port: int) -> str:
    """The node's own properties, as a controller alone."""
    overridden = {*_OVERRIDES, *_BROKER_ONLY, "listeners"}
    kept = [line for line in properties.splitlines() if line.split("=", 1)[0] not in overridden]
    listeners = f"listeners=CONTROLLER://127.0.0.1:{controller_port}"
    return "\n".join([*kept, listeners, *(f"{name}={value}" for name, value in _OVERRIDES.items())])


def wait_until_fenced(dump: Callable[[Path], str], log_directory: Path, *, seconds: float) -> bool:
    """Whether the controller has fenced the broker in time. `dump` prints a file of the metadata log."""
    deadline = time.monotonic() + seconds
    while not is_fenced([dump(file) for file in _segments(log_directory)]):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def is_fenced(dumped: Sequence[str]) -> bool:
    """What the last record about the broker says; segments in order. One never registered leads nothing."""
    found = _REGISTERED.findall("\n".join(dumped))
    return not found or found[-1] in {"true", "1"}


def _segments(log_directory: Path) -> list[Path]:
    return sorted((log_directory / "__cluster_metadata-0").glob("*.log"))


def dumper(command: Sequence[str]) -> Callable[[Path], str]:
    """`command` is Java with its class path, without the class."""

    def dump(file: Path) -> str:
        return subprocess.run(
            [
                *command,
                "org.apache.kafka.tools.DumpLogSegments",
                "--cluster-metadata-decoder",
                *("--files", str(file)),
            ],
            check=False,
            capture_output=True,
            timeout=_DUMP_SECONDS_MAX,
        ).stdout.decode(errors="replace")

    return dump

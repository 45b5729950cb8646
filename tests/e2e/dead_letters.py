"""Two records that Harbor must bury, for the tools that decide what becomes of them."""

import json
import time
from collections.abc import Callable

from harbor.engine.provisioning import Operator, resume_command
from schemas.ids import TenantId
from schemas.messages.command_sealing import command_headers, seal
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, PARTITIONS_ONE_MACHINE
from tests.support.records import plain_producer

_SECONDS_MAX = 60.0
_PAUSE_SECONDS = 0.5


def two_letters(
    *,
    bootstrap: str,
    tenant: TenantId,
    issuer_key: str,
    told: Callable[..., str],
) -> tuple[str, str]:
    """The ids of the letters: a sealed command in another tenant's partition, and bytes that are none.

    `issuer_key` = the command line's (hex). `told` runs `paybond-harbor` with its arguments and returns its output.
    """
    command = resume_command(tenant, reason="a test", attempt="docs", operator=Operator(ref="test"))
    producer = plain_producer(bootstrap)
    elsewhere = (partition_of(tenant, PARTITIONS_ONE_MACHINE) + 1) % PARTITIONS_ONE_MACHINE
    producer.produce(
        COMMANDS,
        value=seal(command, bytes.fromhex(issuer_key.strip())),
        key=tenant.encode(),
        partition=elsewhere,
        headers=list(command_headers(command).items()),
    )
    producer.produce(COMMANDS, value=b"nonsense", key=b"nobody", partition=elsewhere)
    assert producer.flush(30) == 0
    deadline = time.monotonic() + _SECONDS_MAX
    while True:
        listed = json.loads(told("dead-letters", "list", "--json"))
        by_reason = {row["reason"].partition(":")[0]: row["letter_id"] for row in listed}
        if {"wrong_partition", "undecodable"} <= by_reason.keys():
            return by_reason["wrong_partition"], by_reason["undecodable"]
        assert time.monotonic() < deadline, listed
        time.sleep(_PAUSE_SECONDS)

"""`fsck` of a whole stack at rest: clean, and of tables that have every entry.

Tables that lag are no finding, and neither are tables that fsck sees no rows of; so the lag's end is waited for first.
"""

import json
import time
from collections.abc import Mapping
from subprocess import CompletedProcess

from tests.e2e.local_stack import READY_SECONDS_MAX, LocalStack
from tests.support.depth import by_depth

_SECONDS_MAX = by_depth(usual=READY_SECONDS_MAX, deep=3_600)
_LOOK_SECONDS = 0.5


def audited(stack: LocalStack) -> CompletedProcess[str]:
    """What fsck says of all tenants; nobody may send commands meanwhile."""
    deadline = time.monotonic() + _SECONDS_MAX
    while any(lags := _lags(stack)):
        assert time.monotonic() < deadline, f"still behind by {lags}: {stack.last_words()}"
        time.sleep(_LOOK_SECONDS)
    return stack.run("paybond-harbor", "fsck", "--all", "--json")


def entries_of_whole(checked: CompletedProcess[str]) -> Mapping[str, int]:
    """How many entries each tenant has; nothing was found, and the tables have all of them."""
    assert checked.returncode == 0, checked.stdout + checked.stderr
    report = json.loads(checked.stdout)
    entries = {tenant["tenant_id"]: tenant["entries"] for tenant in report["tenants"]}
    in_tables = {tenant["tenant_id"]: tenant["table_entries"] for tenant in report["tenants"]}
    assert report["ok"] is True
    assert in_tables == entries
    return entries


def _lags(stack: LocalStack) -> list[int]:
    rows = json.loads(stack.run("paybond-streams", "status", "--json").stdout)
    return [row["lag"] for row in rows]

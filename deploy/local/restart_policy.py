"""When a crashed program is started again: a pure function of how often it crashed and how long it had lived.

No jitter: one machine has one of each, so nothing competes for the same moment.
"""

from dataclasses import dataclass
from datetime import timedelta

# A Harbor that was fenced must not come back before its rival's session is judged (failure-modes.md): 6 s.
SESSION = timedelta(seconds=6)
FIRST_DELAY = timedelta(seconds=1)
DELAY_MAX = timedelta(seconds=30)
# Who lived this long did not crash from what it crashed from before: a record that stops a program stops it within
# seconds of its start. Longer, and a machine that kills at random waits more than it works.
HEALTHY_AFTER = timedelta(seconds=20)
# 30 s is reached by then; a larger exponent only overflows.
_DOUBLINGS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """`crashes` in a row, this one included; `delay` until the next start."""

    crashes: int
    delay: timedelta


def next_restart(*, crashes_before: int, lived: timedelta, first_delay: timedelta) -> Restart:
    """Doubling from `first_delay` up to 30 s, from the beginning again after a healthy life."""
    assert crashes_before >= 0
    crashes = 1 if lived >= HEALTHY_AFTER else crashes_before + 1
    doubled = first_delay * 2 ** min(crashes - 1, _DOUBLINGS_MAX)
    return Restart(crashes=crashes, delay=min(doubled, max(DELAY_MAX, first_delay)))


def must_restart_broker(*, is_embedded: bool, is_group_member: bool, exit_status: int) -> bool:
    """On the embedded broker a member ended by a signal blocks its group until the broker restarts.

    `exit_status` as subprocess gives it: minus the signal's number. A program that ended by itself has left its group.
    """
    return is_embedded and is_group_member and exit_status < 0

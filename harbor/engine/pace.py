"""How many commands the next batch may have: as many as are decided within a second, and fewer after an abort.

Decisions run without a pause. A batch that takes longer than the group waits for its member's next poll
(`max.poll.interval.ms`, 5 minutes) is lost, comes again just as large, and is lost again.
"""

from datetime import timedelta

# While it is decided, nobody's clock ticks and no other tenant is served.
DECIDED_MAX = timedelta(seconds=1)
# More in a row are no rebalance: what can't be written now can't be written by trying (a topic that is gone, a right
# that was taken away). A process that starts anew looks at each tenant, and stops the one it is about.
ABORTS_MAX = 6


class Pace:
    """`records_max` of the next batch, at most `most`; `is_stuck` once nothing but aborts follow each other."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._aborts = 0
        self.records_max = most

    @property
    def is_stuck(self) -> bool:
        return self._aborts >= ABORTS_MAX

    def committed(self, records: int, *, took: timedelta) -> None:
        """`took` = from the look-ups to the last decision; a clock that stepped back says nothing."""
        self._aborts = 0
        if took > DECIDED_MAX:
            self.records_max = max(1, int(records * (DECIDED_MAX / took)))
        else:
            self.records_max = min(self._most, self.records_max * 2)

    def aborted(self, records: int) -> None:
        self._aborts += 1
        self.records_max = max(1, min(self.records_max, records) // 2)

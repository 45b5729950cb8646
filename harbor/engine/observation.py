"""What the loop tells whoever keeps metrics and logs. Nothing here may fail or wait."""

from typing import Protocol

from harbor.engine.batch_result import BatchResult
from harbor.engine.intake import Rejected
from harbor.engine.ports import Restored


class LoopObserver(Protocol):
    def began(self) -> None:
        """A transaction begins; `committed` or `aborted` ends it, or the process ends."""

    def committed(self, result: BatchResult) -> None:
        """`result.tally.alarms` is what must wake somebody."""

    def aborted(self, *, records: int, reason: str) -> None:
        """An ordinary rebalance; the records come again."""

    def started(self, restored: Restored) -> None: ...

    def revoked(self, partition: int) -> None: ...

    def poisoned(self, rejected: Rejected, error: BaseException | None) -> None:
        """A command was given up and its tenant quarantined; `error` is None where the process itself had died."""


class SilentObserver:
    def began(self) -> None:
        pass

    def committed(self, result: BatchResult) -> None:
        pass

    def aborted(self, *, records: int, reason: str) -> None:
        pass

    def started(self, restored: Restored) -> None:
        pass

    def revoked(self, partition: int) -> None:
        pass

    def poisoned(self, rejected: Rejected, error: BaseException | None) -> None:
        pass

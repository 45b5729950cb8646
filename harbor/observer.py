"""What the loop does, as metrics and log lines: ids and counts, never a body; no tenant id is a metric's label."""

import time
import traceback

import structlog

from harbor.engine.batch_result import BatchResult
from harbor.engine.intake import Rejected
from harbor.engine.ports import Restored
from streams.runtime.metrics import Metrics

_log = structlog.get_logger("harbor")


class MetricsObserver:
    """`harbor.engine.observation.LoopObserver`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._quarantined: dict[int, set[str]] = {}
        self._began = time.perf_counter()
        self._show()

    def began(self) -> None:
        self._began = time.perf_counter()

    def committed(self, result: BatchResult) -> None:
        self._metrics.observe("paybond_harbor_batch_seconds", time.perf_counter() - self._began)
        tally = result.tally
        for status, count in tally.by_status.items():
            self._metrics.count("paybond_harbor_commands_total", count, status=status.value)
        for reason, count in tally.rejects.items():
            self._metrics.count("paybond_dead_letters_total", count, reason=reason.value)
        for reason, count in tally.alarms.items():
            _log.error("command_refused_to_dead_letters", reason=reason.value, count=count)
        if result.released:
            for tenants in self._quarantined.values():
                tenants.difference_update(result.released)
            self._show()

    def aborted(self, *, records: int, reason: str) -> None:
        self._metrics.count("paybond_harbor_aborts_total")
        _log.info("transaction_aborted", records=records, reason=reason)

    def started(self, restored: Restored) -> None:
        self._quarantined[restored.partition] = set(restored.quarantined)
        self._show()
        _log.info(
            "partition_started", partition=restored.partition, next_offset=restored.next_offset
        )

    def revoked(self, partition: int) -> None:
        self._quarantined.pop(partition, None)
        self._show()
        _log.info("partition_revoked", partition=partition)

    def poisoned(self, rejected: Rejected, error: BaseException | None) -> None:
        record = rejected.record
        _log.error(
            "command_given_up",
            partition=record.partition,
            offset=record.offset,
            tenant_id=rejected.tenant_id,
            # Its class and place: some exceptions quote what they could not read (UnicodeDecodeError the whole of it).
            error=None if error is None else type(error).__name__,
            raised_at=None if error is None else _place(error),
        )

    def _show(self) -> None:
        self._metrics.gauge("paybond_partitions_owned", len(self._quarantined))
        self._metrics.gauge(
            "paybond_quarantined_tenants", sum(map(len, self._quarantined.values()))
        )


def _place(error: BaseException) -> str | None:
    """File, line and function that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno} {frames[-1].name}" if frames else None

"""What the loop tells, as metrics and log lines; an alarm is a line of level error."""

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
        self._owned: set[int] = set()
        self._quarantined: dict[int, set[str]] = {}

    def committed(self, result: BatchResult) -> None:
        for status, count in result.tally.by_status.items():
            self._metrics.count("paybond_harbor_commands_total", count, status=status.value)
        for reason, count in result.tally.rejects.items():
            self._metrics.count("paybond_dead_letters_total", count, reason=reason.value)
        for reason, count in result.tally.alarms.items():
            _log.error("issuer_breach", reason=reason.value, count=count)
        for tenant_id in sorted(result.quarantined):
            _log.error("tenant_quarantined", tenant_id=tenant_id)
        for tenant_id in sorted(result.released):
            _log.warning("tenant_released", tenant_id=tenant_id)

    def aborted(self, *, records: int, reason: str) -> None:
        self._metrics.count("paybond_harbor_aborts_total")
        _log.info("transaction_aborted", records=records, reason=reason)

    def started(self, restored: Restored) -> None:
        self._owned.add(restored.partition)
        self._quarantined[restored.partition] = set(restored.quarantined)
        self._tell_gauges()
        _log.info(
            "partition_started", partition=restored.partition, next_offset=restored.next_offset
        )

    def revoked(self, partition: int) -> None:
        self._owned.discard(partition)
        self._quarantined.pop(partition, None)
        self._tell_gauges()
        _log.info("partition_revoked", partition=partition)

    def poisoned(self, rejected: Rejected, error: BaseException | None) -> None:
        _log.error(
            "command_poisoned",
            partition=rejected.record.partition,
            offset=rejected.record.offset,
            tenant_id=rejected.tenant_id,
            error=repr(error),
        )

    def _tell_gauges(self) -> None:
        self._metrics.gauge("paybond_partitions_owned", len(self._owned))
        stopped = sum(map(len, self._quarantined.values()))
        self._metrics.gauge("paybond_quarantined_tenants", stopped)

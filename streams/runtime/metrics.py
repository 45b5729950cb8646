"""Every metric's name, kind, unit and meaning in one type; no tenant id is ever a label (they are unbounded)."""

from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

CounterName = Literal[
    # Commands that got an outcome, by kind of body and status.
    "paybond_harbor_commands_total",
    # Records that can never work, by reason; any growth is an alarm.
    "paybond_dead_letters_total",
    # Transactions aborted by an ordinary rebalance.
    "paybond_harbor_aborts_total",
    # Checkpoints signed and published.
    "paybond_harbor_checkpoints_total",
    # Effects answered by a rail.
    "paybond_rails_answers_total",
    # Ledger entries indexed.
    "paybond_streams_entries_total",
    # Requests answered, by route and status.
    "paybond_gateway_requests_total",
    # Rows that a re-read had to restore; expected 0.
    "paybond_streams_restored_rows_total",
]
GaugeName = Literal[
    # Tenants that are stopped until an operator releases them; expected 0.
    "paybond_quarantined_tenants",
    # Partitions owned and running.
    "paybond_partitions_owned",
    # Requests that wait for an outcome.
    "paybond_gateway_waiting",
]
HistogramName = Literal[
    # Seconds of one transaction that committed: from its first look-up to the local store's write.
    "paybond_harbor_batch_seconds",
    # Seconds from a request's command produced to the outcome that answered it, the wait for a rail included.
    "paybond_gateway_command_seconds",
]
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One registry per program; a metric exists once it is first asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}

    def count(self, name: CounterName, by: float = 1, **labels: str) -> None:
        counter = self._counters.get(name)
        if counter is None:
            counter = Counter(
                name.removesuffix("_total"), name, tuple(labels), registry=self.registry
            )
            self._counters[name] = counter
        (counter.labels(**labels) if labels else counter).inc(by)

    def gauge(self, name: GaugeName, value: float) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, name, registry=self.registry)
        self._gauges[name].set(value)

    def follow(self, name: GaugeName, read: Callable[[], float]) -> None:
        """The gauge is read whenever somebody asks for the metrics."""
        self._gauges[name] = Gauge(name, name, registry=self.registry)
        self._gauges[name].set_function(read)

    def observe(self, name: HistogramName, seconds: float) -> None:
        if name not in self._histograms:
            self._histograms[name] = Histogram(name, name, buckets=_BUCKETS, registry=self.registry)
        self._histograms[name].observe(seconds)

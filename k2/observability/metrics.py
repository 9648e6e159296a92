"""Every metric of the platform, declared once: name, kind, labels, help. Recording with other labels is refused.

The label for the kind of record is `data_type` (trades | quotes | reference_data) everywhere.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROW_BUCKETS = (1, 10, 100, 1_000, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000)


class MetricKind(Enum):
    """The Prometheus type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One declared metric."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_BUCKETS_SECONDS

    @property
    def unit(self) -> str:
        """What it is measured in, which its name ends with: "seconds"; a counter counts what it is called after."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in _UNITS else ("count" if self.kind is MetricKind.COUNTER else "number")


_UNITS = ("seconds", "bytes", "messages", "rows", "connections", "threads")
_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM
_TRANSACTION = ("exchange", "asset_class", "table")

CATALOGUE: tuple[Metric, ...] = (
    # producer
    Metric("k2_producer_records_sent_total", _COUNTER, "Records the broker acknowledged.", ("data_type",)),
    Metric("k2_producer_errors_total", _COUNTER, "Records the broker did not acknowledge.", ("data_type", "reason")),
    Metric("k2_producer_retries_exhausted_total", _COUNTER, "Records given up after every retry.", ("data_type",)),
    # consumer
    Metric("k2_messages_received_total", _COUNTER, "Messages of batches the table holds.", ("data_type",)),
    Metric("k2_messages_rejected_total", _COUNTER, "Messages sent to dead letters.", ("data_type", "stage", "reason")),
    Metric("k2_rows_flagged_total", _COUNTER, "Rows kept that break a rule.", ("data_type", "rule")),
    Metric("k2_dead_letters_total", _COUNTER, "Dead letters kept.", ("data_type", "destination")),
    Metric("k2_sequence_events_total", _COUNTER, "Sequence verdicts.", ("data_type", "event")),
    Metric("k2_sequence_gaps_total", _COUNTER, "Gaps opened in an exchange's sequence.", ("data_type", "exchange")),
    Metric("k2_sequence_numbers_lost_total", _COUNTER, "Missing numbers given up.", ("data_type", "tracker")),
    Metric("k2_sequence_keys_forgotten_total", _COUNTER, "Keys the bound pushed out of a state.", ("data_type",)),
    Metric("k2_duplicates_detected_total", _COUNTER, "Records recognised and not written again.", ("data_type",)),
    Metric("k2_identifiers_looked_up_total", _COUNTER, "Ids looked up: known, new.", ("data_type", "outcome")),
    Metric("k2_consumer_lag_messages", _GAUGE, "Messages in the log not yet in the table.", ("data_type", "partition")),
    Metric("k2_consumer_lag_seconds", _GAUGE, "Age of the newest record in the table.", ("data_type",)),
    Metric("k2_consumer_batch_rows", _HISTOGRAM, "Messages in a batch.", ("data_type",), ROW_BUCKETS),
    Metric("k2_consumer_batch_seconds", _HISTOGRAM, "From the last message polled to the commit.", ("data_type",)),
    Metric("k2_consumer_step_seconds", _HISTOGRAM, "Duration of each protocol step.", ("data_type", "step")),
    Metric("k2_consumer_delivery_seconds", _HISTOGRAM, "From a record being sent until queryable.", ("data_type",)),
    Metric("k2_consumer_commits_total", _COUNTER, "Commits: success, refused, failed.", ("data_type", "outcome")),
    Metric("k2_retries_total", _COUNTER, "Attempts repeated after a transient failure.", ("data_type", "reason")),
    Metric("k2_consumer_rebalances_total", _COUNTER, "Assignments and losses.", ("data_type", "kind")),
    # resilience
    Metric("k2_circuit_breaker_state", _GAUGE, "0 closed, 1 half-open, 2 open.", ("breaker",)),
    Metric("k2_circuit_breaker_calls_total", _COUNTER, "Calls: success, failure, refused.", ("breaker", "outcome")),
    Metric("k2_circuit_breaker_transitions_total", _COUNTER, "Changes of a breaker's state.", ("breaker", "to")),
    Metric("k2_degradation_level", _GAUGE, "0 nominal, 1 degraded, 2 critical, 3 shutdown.", ("component",)),
    Metric("k2_degradation_transitions_total", _COUNTER, "Changes of the level.", ("component", "to")),
    Metric("k2_degradation_signal", _GAUGE, "What the level follows from.", ("component", "signal")),
    Metric("k2_shed_total", _COUNTER, "Work that was not done, or done in part.", ("what", "level")),
    # storage
    Metric("k2_iceberg_write_errors_total", _COUNTER, "Failed writes or commits.", ("table", "error")),
    Metric("iceberg_transactions_total", _COUNTER, "Iceberg transactions.", ("status", *_TRANSACTION)),
    Metric("iceberg_transaction_rows", _HISTOGRAM, "Rows of a transaction.", _TRANSACTION, ROW_BUCKETS),
    Metric("k2_iceberg_transaction_seconds", _HISTOGRAM, "Duration of a transaction.", ("table",)),
    Metric("k2_table_freshness_seconds", _GAUGE, "Age of the newest record.", ("data_type", "exchange")),
    Metric("k2_table_silence_seconds", _GAUGE, "Time since rows last came in.", ("data_type", "exchange")),
    Metric("k2_table_compaction_age_seconds", _GAUGE, "Time since files were last compacted.", ("data_type",)),
    Metric("k2_state_cache_reads_total", _COUNTER, "Checkpoints asked of a state store.", ("store", "outcome")),
    Metric("k2_state_cache_writes_total", _COUNTER, "Checkpoints put into a state store.", ("store", "outcome")),
    # what surrounds a process
    Metric("k2_market_open", _GAUGE, "1 while an exchange trades, 0 while it is closed.", ("exchange",)),
    Metric("k2_dependency_up", _GAUGE, "1 if a server answers, 0 if not.", ("dependency", "address")),
    Metric("k2_disk_free_bytes", _GAUGE, "Free space where K2 writes.", ("directory",)),
    Metric("k2_disk_size_bytes", _GAUGE, "Size of the disk K2 writes to.", ("directory",)),
    # query engine and its pool
    Metric("k2_query_seconds", _HISTOGRAM, "Query duration in the engine.", ("query",)),
    Metric("k2_query_timeouts_total", _COUNTER, "Queries interrupted at the limit.", ("query",)),
    Metric("k2_connection_pool_size", _GAUGE, "Connections the pool may open."),
    Metric("k2_connection_pool_active_connections", _GAUGE, "Connections in use."),
    Metric("k2_connection_pool_available_connections", _GAUGE, "Connections that can be acquired at once."),
    Metric("k2_connection_pool_wait_time_seconds", _HISTOGRAM, "Wait for a connection."),
    Metric("k2_connection_pool_acquisition_timeouts_total", _COUNTER, "Waits that ended without a connection."),
    Metric("k2_connection_pool_creation_errors_total", _COUNTER, "Connections that could not be opened."),
    # API
    Metric("k2_http_requests_total", _COUNTER, "HTTP requests.", ("method", "endpoint", "status")),
    Metric("k2_http_request_duration_seconds", _HISTOGRAM, "HTTP latency.", ("method", "endpoint")),
    Metric("k2_api_abandoned_threads", _GAUGE, "Threads still at work on requests that were answered 504."),
    Metric("http_request_size_limit_exceeded_total", _COUNTER, "Bodies over the limit.", ("method", "endpoint")),
    Metric("http_request_size_limit_errors_total", _COUNTER, "Unusable Content-Length headers.", ("reason",)),
)


GaugeValues = Iterable[tuple[Mapping[str, str], float]]
"""Labels and value of each sample of a gauge."""

_log = structlog.get_logger("k2.metrics")


class Metrics:
    """A registry holding exactly the declared metrics, and the process_* ones of prometheus_client.

    Raises:
        KeyError: a metric that is not declared.
        ValueError: labels other than the declared ones, or an operation the metric's kind does not have.
    """

    def __init__(self, catalogue: Iterable[Metric] = CATALOGUE) -> None:
        self.registry = CollectorRegistry()
        # When the process started tells a counter that begins above 0 from one that grew; memory and CPU are shown.
        ProcessCollector(registry=self.registry)
        self._declared: dict[str, Metric] = {}
        self._collectors: dict[str, Counter | Gauge | Histogram] = {}
        self._computed: dict[str, _ComputedGauge] = {}
        for metric in catalogue:
            self._declared[metric.name] = metric
            self._collectors[metric.name] = self._create(metric)

    def increment(self, name: str, labels: Mapping[str, str] | None = None, value: float = 1) -> None:
        """Add to a counter."""
        collector = self._labelled(name, labels)
        if not isinstance(collector, Counter):
            raise ValueError(f"{name} is a {self._declared[name].kind.value}, not a counter")
        collector.inc(value)

    def set(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Set a gauge."""
        collector = self._labelled(name, labels)
        if not isinstance(collector, Gauge):
            raise ValueError(f"{name} is a {self._declared[name].kind.value}, not a gauge")
        collector.set(value)

    def compute(self, name: str, source: Callable[[], GaugeValues]) -> None:
        """Have a gauge computed whenever it is read, so that it never shows what was true once.

        A source that fails leaves its gauge out, for everything else must still be readable; so does one that has
        nothing to say. A later source takes the place of an earlier one.

        Args:
            name: the gauge.
            source: gives its samples; called in the thread that reads, so it must be quick and safe there.
        """
        metric = self._declared[name]
        if metric.kind is not MetricKind.GAUGE:
            raise ValueError(f"{name} is a {metric.kind.value}, not a gauge")
        self.registry.unregister(self._computed.get(name) or self._collectors.pop(name))
        self._computed[name] = _ComputedGauge(metric, source)
        self.registry.register(self._computed[name])

    def observe(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Add an observation to a histogram."""
        collector = self._labelled(name, labels)
        if not isinstance(collector, Histogram):
            raise ValueError(f"{name} is a {self._declared[name].kind.value}, not a histogram")
        collector.observe(value)

    def value(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """Current value of a counter or gauge, 0 if never recorded."""
        return self.registry.get_sample_value(name, dict(labels or {})) or 0.0

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    def _create(self, metric: Metric) -> Counter | Gauge | Histogram:
        if metric.kind is MetricKind.HISTOGRAM:
            return Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=metric.buckets)
        factory = Counter if metric.kind is MetricKind.COUNTER else Gauge
        return factory(metric.name, metric.help, metric.labels, registry=self.registry)

    def _labelled(self, name: str, labels: Mapping[str, str] | None) -> Counter | Gauge | Histogram:
        given = dict(labels or {})
        _check_labels(self._declared[name], given)
        if name in self._computed:
            raise ValueError(f"{name} is computed when it is read: it cannot be set")
        collector = self._collectors[name]
        return collector.labels(**given) if given else collector


class _ComputedGauge(Collector):
    def __init__(self, metric: Metric, source: Callable[[], GaugeValues]) -> None:
        self._metric = metric
        self._source = source

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [self._family()]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            samples = list(self._source())
        except Exception as error:  # noqa: BLE001 - whatever stops one gauge must not hide the others
            _log.warning("gauge not computed", metric=self._metric.name, error=str(error))
            samples = []
        family = self._family()
        for labels, value in samples:
            _check_labels(self._metric, labels)
            family.add_metric([labels[label] for label in self._metric.labels], value)
        return [family]

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)


def _check_labels(metric: Metric, given: Mapping[str, str]) -> None:
    if set(given) != set(metric.labels):
        raise ValueError(f"{metric.name} takes the labels {sorted(metric.labels)}, not {sorted(given)}")

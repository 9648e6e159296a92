"""The running system exports the metrics that are named, with the labels that are declared.

Producer, consumer, writer and API MUST export the metrics that operators were promised, each sample with exactly its
labels, and the label of the kind of record is `data_type` everywhere (OBS-1). Read from the processes' own /metrics,
after records with gaps and duplicates, requests, and writes that failed.
"""

import re
from collections.abc import Iterable

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.alert_rules import sample_labels
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, latest, wait_until_drained
from conformance.drivers.silence import METRICS, comes_true, metrics_url
from conformance.history import HistoryWriter
from conformance.stacks.base import Outage, Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.observability.alerts.validation import exported_names

PROMISED: dict[str, dict[str, list[str]]] = {
    "producer": {
        "k2_producer_records_sent_total": ["data_type"],
    },
    "consumer": {
        "k2_messages_received_total": ["data_type"],
        "k2_sequence_gaps_total": ["data_type", "exchange"],
        "k2_duplicates_detected_total": ["data_type"],
        "k2_consumer_lag_messages": ["data_type", "partition"],
        "k2_circuit_breaker_state": ["breaker"],
    },
    "writer": {
        "k2_iceberg_write_errors_total": ["error", "table"],
        "iceberg_transactions_total": ["asset_class", "exchange", "status", "table"],
        "iceberg_transaction_rows_count": ["asset_class", "exchange", "table"],
        "k2_iceberg_transaction_seconds_count": ["table"],
    },
    "api": {
        "k2_http_requests_total": ["endpoint", "method", "status"],
        "k2_http_request_duration_seconds_bucket": ["endpoint", "le", "method"],
        "k2_circuit_breaker_state": ["breaker"],
    },
}
PROCESSES = {"producer": "feed", "consumer": "consumer", "writer": "consumer", "api": "api"}
"""The process each part is in."""
PATIENT = {
    **METRICS,
    "K2_RETRY__ATTEMPTS": "60",
    "K2_RETRY__FIRST_WAIT_SECONDS": "0.1",
    "K2_RETRY__LONGEST_WAIT_SECONDS": "0.5",
}
ERRORS, SENT = "k2_iceberg_write_errors_total", "k2_producer_records_sent_total"
RECORDS, PATIENCE_SECONDS = 400, 60.0


@pytest.mark.clause(
    name="exported_metrics",
    claims=("OBS-1c",),
    checker="facts",
    title="Running producer, consumer, writer and API export the promised metrics with their declared labels",
    minimum_samples=sum(map(len, PROMISED.values())) + 3,
    remedy="see docs/metrics.md, and k2/observability/metrics.py",
)
def test_running_processes_export_what_is_promised(clause: ClauseRun, stack: Stack) -> None:
    with clause.history(seed=91) as history:
        consumer = metrics_url(stack.start_consumer("trades", environment=PATIENT))
        work_with_a_failed_write(stack, history, consumer)
        api = stack.start_api()
        http.get(f"{api}/v1/trades", {"symbol": "BTCUSDT"})
        feed = metrics_url(stack.start_feed(50, 92, environment={"K2_PRODUCER__METRICS_PORT": "0"}))
        comes_true(lambda: bool(http.samples(exposition(feed), SENT, {})), PATIENCE_SECONDS)
        expositions = {"feed": exposition(feed), "consumer": exposition(consumer), "api": exposition(f"{api}/metrics")}
        seen = {name: sample_labels([text]) for name, text in expositions.items()}
        for part, promised in PROMISED.items():
            for metric, labels in promised.items():
                shown = seen[PROCESSES[part]].get(metric)
                record_fact(history, f"{part}: {metric}", labels, lambda shown=shown: shown and sorted(shown))
        for name, labels_by_metric in seen.items():
            other = sorted(not_as_declared(labels_by_metric))
            count = len(labels_by_metric)
            record_fact(history, f"samples of {name} not as declared", [], lambda other=other: other, samples=count)
        record_fact(history, "labels of the kind of record", ["data_type"], sorted, type_labels(expositions.values()))
    clause.judge()


def work_with_a_failed_write(stack: Stack, history: HistoryWriter, consumer_url: str) -> None:
    """Records with gaps and duplicates reach the table, half of them after the warehouse was away."""
    first, second = (
        SyntheticExchange(
            SyntheticSettings(seed=seed, records=RECORDS, gap_rate=0.05, duplicate_rate=0.05, trade_share=1.0)
        )
        for seed in (91, 93)
    )
    before = feed_records(stack, first).acknowledged_ends()
    wait_until_drained(stack, history, before)
    with stack.outage(Outage.WAREHOUSE_AWAY):
        after = feed_records(stack, second).acknowledged_ends()
        comes_true(lambda: bool(http.samples(exposition(consumer_url), ERRORS, {})), PATIENCE_SECONDS)
    wait_until_drained(stack, history, latest(before, after))


def exposition(url: str) -> str:
    """What a process exports."""
    return str(http.get(url).body)


def not_as_declared(labels_by_metric: dict[str, set[str]]) -> Iterable[str]:
    """Metrics of K2 that have other labels than they are declared with, or are not declared."""
    declared = exported_names()
    for metric, labels in labels_by_metric.items():
        if metric.startswith(("process_", "python_")) or metric.endswith("_created"):
            continue
        if metric not in declared or set(declared[metric]) != labels:
            yield metric


def type_labels(expositions: Iterable[str]) -> set[str]:
    """Names of labels that speak of a type."""
    return {label for text in expositions for label in re.findall(r'[{,](\w*type\w*)="', text)}

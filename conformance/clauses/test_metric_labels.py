"""A metric recorded with other labels than declared is refused at the call.

Each metric is declared once with its labels; recording it with a label missing, surplus or misspelt MUST raise, and
so MUST a metric that was never declared (OBS-1).
"""

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from k2.observability.metrics import CATALOGUE, Metric, MetricKind, Metrics


@pytest.mark.clause(
    name="metric_labels",
    claims=("OBS-1a",),
    checker="facts",
    title="Every declared metric takes exactly its labels and refuses any others",
    minimum_samples=3 * len(CATALOGUE),
    remedy="see k2/observability/metrics.py",
)
def test_every_metric_takes_its_labels_and_refuses_others(clause: ClauseRun) -> None:
    metrics = Metrics()
    with clause.history() as history:
        for metric in CATALOGUE:
            right = dict.fromkeys(metric.labels, "x")
            record_fact(history, f"{metric.name} with its labels", "taken", record, metrics, metric, right)
            surplus = {**right, "table_name": "x"}
            record_fact(history, f"{metric.name} with one more", "refused", record, metrics, metric, surplus)
            wrong = {**dict.fromkeys(metric.labels[1:], "x"), "datatype": "x"}
            record_fact(history, f"{metric.name} misspelt", "refused", record, metrics, metric, wrong)
        undeclared = Metric("k2_undeclared_total", MetricKind.COUNTER, "never declared")
        record_fact(history, "an undeclared metric", "unknown", record, metrics, undeclared, {})
    clause.judge()


def record(metrics: Metrics, metric: Metric, labels: dict[str, str]) -> str:
    """What comes of recording one value."""
    try:
        match metric.kind:
            case MetricKind.COUNTER:
                metrics.increment(metric.name, labels)
            case MetricKind.GAUGE:
                metrics.set(metric.name, 1, labels)
            case MetricKind.HISTOGRAM:
                metrics.observe(metric.name, 1, labels)
    except ValueError:
        return "refused"
    except KeyError:
        return "unknown"
    return "taken"

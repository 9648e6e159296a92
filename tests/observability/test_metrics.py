"""The declared metrics: each takes its labels and its operation, and nothing else."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from k2.observability.metrics import CATALOGUE, Metric, MetricKind, Metrics


def record(metrics: Metrics, metric: Metric, labels: dict[str, str]) -> None:
    if metric.kind is MetricKind.COUNTER:
        metrics.increment(metric.name, labels)
    elif metric.kind is MetricKind.GAUGE:
        metrics.set(metric.name, 1, labels)
    else:
        metrics.observe(metric.name, 1, labels)


def labels_of(metric: Metric) -> dict[str, str]:
    return dict.fromkeys(metric.labels, 'a "quoted"\nvalue')


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_takes_its_labels_and_no_others(metric: Metric) -> None:
    metrics = Metrics()
    record(metrics, metric, labels_of(metric))
    with pytest.raises(ValueError, match="takes the labels"):
        record(metrics, metric, {**labels_of(metric), "other": "x"})
    if metric.labels:
        with pytest.raises(ValueError, match="takes the labels"):
            record(metrics, metric, {})


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_takes_the_operation_of_its_kind_alone(metric: Metric) -> None:
    for other in MetricKind:
        if other is not metric.kind:
            wrong = Metric(metric.name, other, "", metric.labels)
            with pytest.raises(ValueError, match=f"{metric.name} is a {metric.kind.value}, not a {other.value}"):
                record(Metrics(), wrong, labels_of(metric))


def test_an_undeclared_metric_is_an_error() -> None:
    with pytest.raises(KeyError, match="k2_nonsense"):
        Metrics().increment("k2_nonsense")


def test_names_are_declared_once() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)


def test_all_of_it_is_exposed_as_prometheus_reads_it() -> None:
    metrics = Metrics()
    for metric in CATALOGUE:
        record(metrics, metric, labels_of(metric))
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    for metric in CATALOGUE:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind.value
        samples = [sample for sample in family.samples if not sample.name.endswith(("_created", "_bucket", "_sum"))]
        assert [sample.value for sample in samples] == [1.0]
        assert dict(samples[0].labels) == labels_of(metric)


def test_values_are_read_back_and_nothing_recorded_is_zero() -> None:
    metrics = Metrics()
    labels = {"data_type": "trades"}
    assert metrics.value("k2_messages_received_total", labels) == 0
    metrics.increment("k2_messages_received_total", labels, 3)
    metrics.increment("k2_messages_received_total", labels)
    assert metrics.value("k2_messages_received_total", labels) == 4


GAUGE, LABELS = "k2_table_silence_seconds", {"data_type": "trades", "exchange": "BINANCE"}


def test_a_computed_gauge_is_computed_anew_whenever_it_is_read() -> None:
    metrics = Metrics()
    numbers = iter([1.5, 2.5, 3.5])
    metrics.compute(GAUGE, lambda: [(LABELS, next(numbers))])
    assert metrics.value(GAUGE, LABELS) == 1.5
    assert b'k2_table_silence_seconds{data_type="trades",exchange="BINANCE"} 2.5' in metrics.exposition()
    assert metrics.value(GAUGE, LABELS) == 3.5


def test_a_sample_that_is_no_longer_given_is_no_longer_shown() -> None:
    metrics = Metrics()
    samples = [(LABELS, 1.0)]
    metrics.compute(GAUGE, lambda: samples)
    assert metrics.value(GAUGE, LABELS) == 1
    samples.clear()
    assert b"BINANCE" not in metrics.exposition()


def test_a_source_that_fails_leaves_out_its_gauge_and_nothing_else() -> None:
    def fail() -> list[tuple[dict[str, str], float]]:
        raise OSError("the catalog is away")

    metrics = Metrics()
    metrics.increment("k2_messages_received_total", {"data_type": "trades"})
    metrics.compute(GAUGE, fail)
    exposition = metrics.exposition().decode()
    assert "k2_table_silence_seconds{" not in exposition
    assert 'k2_messages_received_total{data_type="trades"} 1.0' in exposition


def test_a_source_that_gives_other_labels_is_refused() -> None:
    metrics = Metrics()
    metrics.compute(GAUGE, lambda: [({"data_type": "trades"}, 1.0)])
    with pytest.raises(ValueError, match=r"k2_table_silence_seconds takes the labels \['data_type', 'exchange'\]"):
        metrics.exposition()


def test_a_computed_gauge_cannot_be_set() -> None:
    metrics = Metrics()
    metrics.compute(GAUGE, list)
    with pytest.raises(ValueError, match="k2_table_silence_seconds is computed when it is read"):
        metrics.set(GAUGE, 1, LABELS)


def test_a_later_source_takes_the_place_of_an_earlier_one() -> None:
    metrics = Metrics()
    for number in (1.0, 2.0):
        metrics.compute(GAUGE, lambda number=number: [(LABELS, number)])  # type: ignore[misc]
    assert metrics.exposition().count(b"k2_table_silence_seconds{") == 1
    assert metrics.value(GAUGE, LABELS) == 2


def test_only_a_declared_gauge_can_be_computed() -> None:
    with pytest.raises(ValueError, match="k2_messages_received_total is a counter, not a gauge"):
        Metrics().compute("k2_messages_received_total", list)
    with pytest.raises(KeyError, match="k2_nonsense"):
        Metrics().compute("k2_nonsense", list)

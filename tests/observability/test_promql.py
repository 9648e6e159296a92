"""Metrics, labels, ranges and functions are read out of PromQL."""

import pytest

from k2.observability.promql import Selector, read_expression


def metrics(expression: str) -> dict[str, set[str]]:
    return {selector.metric: set(selector.labels) for selector in read_expression(expression).selectors}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("up", {"up": set()}),
        ('up{job="api"} == 0 or absent(up)', {"up": set()}),
        ('sum by (a, b) (rate(x_total{c=~"y{z}"}[5m]))', {"x_total": {"a", "b", "c"}}),
        ("sum(rate(x_total[5m])) by (a)", {"x_total": {"a"}}),
        ("histogram_quantile(0.99, sum by (le) (rate(x_bucket[$__rate_interval])))", {"x_bucket": {"le"}}),
        ("sum by (a) (x) / on (a) group_left (b) max by (c) (y)", {"x": {"a"}, "y": {"c"}}),
        ("x unless on (exchange) (y == 0)", {"x": set(), "y": set()}),
        ("k2:ratio:1h > 14.4 * 0.001 and x offset 10m", {"k2:ratio:1h": set(), "x": set()}),
        ("topk(3, x)", {"x": set()}),
        ("sum without (a) (x)", {"x": set()}),
        ("avg_over_time(x[1h:15s]) # y", {"x": set()}),
        ("SUM BY (a) (x) OR vector(0)", {"x": {"a"}}),
        ("((x))", {"x": set()}),
    ],
)
def test_metrics_are_read_with_the_labels_they_are_asked_for(expression: str, found: dict[str, set[str]]) -> None:
    assert metrics(expression) == found


def test_every_part_of_a_selector_is_told_apart() -> None:
    (selector,) = read_expression('sum by (a) (increase(x_total{b="1"}[$__range]))').selectors
    assert selector == Selector("x_total", frozenset("b"), frozenset("ab"), "[$__range]", "increase", True)


def test_an_expression_is_taken_apart() -> None:
    expression = read_expression(
        "# a comment with k2_nothing\n"
        'sum by (job, le) (rate(a_bucket{x="by (y)",z!~"1"}[5m:15s] offset 1h)) / on (job) group_left b > bool 0.5\n'
        "or absent(up{job='api'}) == 0 unless max_over_time((c and on (instance) time() - 3e2 < 300)[1h:]) >= 1"
    )
    none = frozenset[str]()
    assert expression.selectors == (
        Selector("a_bucket", frozenset("xz"), frozenset(("x", "z", "job", "le")), "[5m:15s]", "rate", True),
        Selector("b", none, none, "", "", False),
        Selector("up", frozenset(("job",)), frozenset(("job",)), "", "absent", False),
        Selector("c", none, none, "", "", False),
    )
    assert expression.grouped_by == ("job", "le", "job", "instance")
    assert expression.divides
    assert not read_expression('x{path="/v1"}').divides


@pytest.mark.parametrize("expression", ["sum(x", "x{a", "x ; y", 'x{a="', "x)", "sum(x}", "x{a)}"])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"is not closed|closes nothing|is no PromQL"):
        read_expression(expression)


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("sum by (a) (x) / sum by (b) (y)", "ab"),
        ("sum by (a) (max by (a, b) (x))", "a"),
        ("histogram_quantile(0.5, sum by (a, le) (rate(x_bucket[5m])))", "a"),
        ("sum(x)", ""),
        ("rate(x[5m])", None),
    ],
)
def test_the_labels_of_an_answer_are_those_its_aggregations_keep(expression: str, labels: str | None) -> None:
    assert read_expression(expression).result_labels == (None if labels is None else frozenset(labels))

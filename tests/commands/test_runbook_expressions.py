"""Metrics and labels are read out of PromQL."""

import pytest

from k2.commands.runbooks.expressions import result_labels, selectors


def metrics(expression: str) -> dict[str, set[str]]:
    return {selector.metric: set(selector.labels) for selector in selectors(expression)}


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
    ],
)
def test_metrics_are_read_with_the_labels_they_are_asked_for(expression: str, found: dict[str, set[str]]) -> None:
    assert metrics(expression) == found


def test_matchers_and_ranges_are_told_apart_from_groupings() -> None:
    (selector,) = selectors('sum by (a) (increase(x_total{b="1"}[$__range]))')
    assert selector.matchers == frozenset("b")
    assert selector.labels == frozenset("ab")
    assert selector.range == "[$__range]"


@pytest.mark.parametrize("expression", ["sum(x", "x{a", "x ; y", 'x{a="'])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"closed|PromQL"):
        selectors(expression)


def test_the_labels_of_an_answer_are_those_its_aggregations_keep() -> None:
    assert result_labels("sum by (a) (x) / sum by (b) (y)") == frozenset("ab")
    assert result_labels("sum by (a) (max by (a, b) (x))") == frozenset("a")
    assert result_labels("histogram_quantile(0.5, sum by (a, le) (rate(x_bucket[5m])))") == frozenset("a")
    assert result_labels("sum(x)") == frozenset()
    assert result_labels("rate(x[5m])") is None

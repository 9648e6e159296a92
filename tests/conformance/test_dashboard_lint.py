"""Each rule finds the mistake it is there for, and the dashboards of this repository have none."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.dashboard_lint import FIXED_RANGES, filled, lint, panels, queries
from conformance.drivers.panel_queries import known_series, load_dashboards

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = load_dashboards(ROOT)
KNOWN = known_series(ROOT)
Dashboard = dict[str, Any]


def no_syntax(expressions: Sequence[str]) -> list[str | None]:
    """Takes every expression for one that parses; promtool judges those of the repository in a clause."""
    return [None] * len(expressions)


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_dashboard_has_no_mistake(uid: str) -> None:
    assert DASHBOARDS[uid]["uid"] == uid
    assert [str(finding) for finding in lint(DASHBOARDS[uid], KNOWN.get, no_syntax)] == []


def first_panel(dashboard: Dashboard) -> dict[str, Any]:
    shown = next(iter(panels(dashboard)))
    assert isinstance(shown, dict)
    return shown


def expression(text: str) -> Callable[[Dashboard], None]:
    """Give the first panel this query alone."""

    def plant(dashboard: Dashboard) -> None:
        shown = first_panel(dashboard)
        shown["targets"] = [{**shown["targets"][0], "expr": text, "legendFormat": "{{data_type}}"}]

    return plant


def variable(name: str, **changes: Any) -> Callable[[Dashboard], None]:
    """Change a variable."""

    def plant(dashboard: Dashboard) -> None:
        next(entry for entry in dashboard["templating"]["list"] if entry["name"] == name).update(changes)

    return plant


def panel(**changes: Any) -> Callable[[Dashboard], None]:
    """Change the first panel."""
    return lambda dashboard: first_panel(dashboard).update(copy.deepcopy(changes))


def without_variable(name: str) -> Callable[[Dashboard], None]:
    """Drop a variable."""

    def plant(dashboard: Dashboard) -> None:
        kept = [entry for entry in dashboard["templating"]["list"] if entry["name"] != name]
        dashboard["templating"]["list"] = kept

    return plant


TARGET = 'job=~"$job",instance=~"$instance"'


@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        ("template-datasource-rule", without_variable("datasource")),
        ("template-datasource-rule", variable("job", datasource={"uid": "k2"})),
        ("template-job-rule", without_variable("job")),
        ("template-job-rule", variable("job", multi=False)),
        ("template-instance-rule", variable("instance", allValue="*")),
        ("template-label-promql-rule", variable("data_type", query="label_values(data_type)x")),
        ("template-label-promql-rule", variable("data_type", query="label_values(k2_messages_total, data_type)")),
        ("template-label-promql-rule", variable("data_type", query="label_values(k2_query_seconds_count, data_type)")),
        ("template-on-time-change-reload-rule", variable("data_type", refresh=1)),
        ("uneditable-dashboard", lambda dashboard: dashboard.update(editable=True)),
        ("panel-datasource-rule", panel(datasource={"uid": "k2"})),
        ("panel-title-description-rule", panel(description="")),
        ("panel-units-rule", panel(fieldConfig={"defaults": {"unit": "messages"}})),
        ("panel-no-targets-rule", panel(targets=[])),
        ("target-metric", expression(f"k2_consumer_lag{{{TARGET}}}")),
        ("target-metric", expression(f'k2_consumer_lag_messages{{{TARGET},topic="x"}}')),
        ("target-metric", expression(f"sum by (topic) (k2_consumer_lag_messages{{{TARGET}}})")),
        ("target-job-rule", expression('k2_consumer_lag_messages{instance=~"$instance"}')),
        ("target-instance-rule", expression('k2_consumer_lag_messages{job=~"$job"}')),
        ("target-counter-agg-rule", expression(f"sum by (data_type) (k2_messages_received_total{{{TARGET}}})")),
        ("target-rate-interval-rule", expression(f"rate(k2_messages_received_total{{{TARGET}}}[5m])")),
        ("target-legend", expression(f"sum(k2_consumer_lag_messages{{{TARGET}}})")),
    ],
)
def test_a_planted_mistake_is_found_by_its_rule(rule: str, plant: Callable[[Dashboard], None]) -> None:
    dashboard = copy.deepcopy(DASHBOARDS["k2-consumer-monitoring"])
    plant(dashboard)
    assert rule in {finding.rule for finding in lint(dashboard, KNOWN.get, no_syntax)}


def test_what_does_not_parse_is_told_with_its_panel() -> None:
    dashboard = DASHBOARDS["k2-consumer-monitoring"]
    found = lint(dashboard, KNOWN.get, lambda texts: ["odd", *[None] * (len(texts) - 1)])
    assert [str(finding) for finding in found] == ["k2-consumer-monitoring: Consumer lag: target-promql-rule: odd"]


def test_every_variable_is_filled_in() -> None:
    for dashboard in DASHBOARDS.values():
        assert not [query for query in queries(dashboard) if "$" in filled(query.expression, dashboard)]


def test_every_exception_is_of_a_panel_that_is_there() -> None:
    assert set(FIXED_RANGES) <= {(uid, query.panel) for uid, board in DASHBOARDS.items() for query in queries(board)}


def test_the_consumer_dashboard_has_its_eight_panels() -> None:
    assert [str(shown["title"]) for shown in panels(DASHBOARDS["k2-consumer-monitoring"])] == [
        "Consumer lag",
        "Messages consumed per second",
        "Batch size",
        "Iceberg write duration",
        "Dead letters",
        "Consumer errors per minute",
        "Commit success",
        "Memory",
    ]

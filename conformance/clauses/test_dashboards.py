"""The dashboards are Grafana's, and ask for nothing that nobody exports.

The six dashboards MUST be there under their uids, load as JSON with panels in them, and every query of every panel MUST
parse and use metrics that are exported, with labels that they have (OBS-6). A panel with a mistake is found by a named
rule. Whether each query brings data is for a Prometheus to say.
"""

import copy
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.dashboard_lint import lint, panels, queries
from conformance.drivers.facts import record_fact
from conformance.drivers.panel_queries import known_series, load_dashboards, promtool_syntax
from conformance.drivers.runbook_pages import alert_dashboards
from conformance.promtool import PROMTOOL, NoTool, find_tool

ROOT = Path(__file__).resolve().parents[2]
UIDS = {
    "k2-platform-overview",
    "k2-kafka-metrics",
    "k2-iceberg-metrics",
    "k2-query-metrics",
    "k2-api-metrics",
    "k2-consumer-monitoring",
}
CHOSEN = 'job=~"$job",instance=~"$instance"'
PLANTED = {
    "a typo in a metric": (f"k2_consumer_lag_mesages{{{CHOSEN}}}", "target-metric"),
    "a label it does not have": (f'k2_consumer_lag_messages{{{CHOSEN},topic="x"}}', "target-metric"),
    "a grouping it does not have": (f"sum by (topic) (k2_consumer_lag_messages{{{CHOSEN}}})", "target-metric"),
    "no PromQL": (f"sum by (data_type) (k2_consumer_lag_messages{{{CHOSEN}}}", "target-promql-rule"),
    "a rate of a scalar": ("rate(1)", "target-promql-rule"),
    "a bare counter": (f"sum by (data_type) (k2_messages_received_total{{{CHOSEN}}})", "target-counter-agg-rule"),
    "a fixed interval": (f"rate(k2_messages_received_total{{{CHOSEN}}}[1m])", "target-rate-interval-rule"),
    "every job at once": ("k2_consumer_lag_messages", "target-job-rule"),
    "a legend without its label": (f"sum(k2_consumer_lag_messages{{{CHOSEN}}})", "target-legend"),
}


@pytest.mark.clause(
    name="dashboards",
    claims=("OBS-6a",),
    checker="facts",
    title="The six dashboards load, pass the rules of Grafana's linter, and use exported metrics only",
    minimum_samples=2 * len(UIDS) + len(PLANTED) + 2,
    remedy="see deploy/grafana/source and docs/dashboards.md",
)
def test_the_six_dashboards_use_exported_metrics_only(clause: ClauseRun) -> None:
    tool = find_tool(PROMTOOL)
    if isinstance(tool, NoTool):
        pytest.skip(tool.reason)
    known, syntax = known_series(ROOT), promtool_syntax(tool)
    dashboards = load_dashboards(ROOT)
    with clause.history() as history:
        record_fact(history, "dashboards", sorted(UIDS), lambda: sorted(board["uid"] for board in dashboards.values()))
        for uid in sorted(UIDS):
            record_fact(
                history, f"{uid} shows something", True, lambda uid=uid: len(list(panels(dashboards[uid]))) >= 8
            )
            record_fact(
                history,
                f"mistakes of {uid}",
                [],
                lambda uid=uid: [str(finding) for finding in lint(dashboards[uid], known.get, syntax)],
                samples=len(list(queries(dashboards[uid]))),
            )
        for name, (expression, rule) in PLANTED.items():
            board = with_query(dashboards["k2-consumer-monitoring"], expression)
            found = [finding.rule for finding in lint(board, known.get, syntax)]
            record_fact(history, name, True, lambda rule=rule, found=found: rule in found)
        record_fact(
            history, "dashboards that alerts name and nobody has", [], lambda: sorted(alert_dashboards(ROOT) - UIDS)
        )
    clause.judge()


def with_query(dashboard: dict[str, Any], expression: str) -> dict[str, Any]:
    """A copy whose first panel asks this alone."""
    board = copy.deepcopy(dashboard)
    first = board["panels"][0]
    first["targets"] = [{**first["targets"][0], "expr": expression, "legendFormat": "{{data_type}}"}]
    return board

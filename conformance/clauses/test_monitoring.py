"""Prometheus sees what dashboards and alerts ask for, in a platform at work.

Under load and on a bad day every query of every panel of the six dashboards, sent to the stack's own Prometheus, MUST
bring data (OBS-6); a zero that stands in place of an empty answer is none here. Every metric that a rule, a panel or a
runbook asks for MUST be known to that Prometheus (OBS-3).
"""

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.dashboard_lint import Query, filled, queries
from conformance.drivers import alert_rules, prometheus
from conformance.drivers.busy_platform import bring_trouble, busy_platform
from conformance.drivers.facts import record_fact
from conformance.drivers.panel_queries import load_dashboards
from conformance.drivers.silence import comes_true
from conformance.history import HistoryWriter
from conformance.panel_data import Answer, ask_query, record
from conformance.stacks.base import Monitoring, Stack
from k2.observability.promql import read_expression

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 6
PANELS = 60
"""So many at least; there are more."""
PATIENCE_SECONDS = 240.0
LOOK_SECONDS = 3.0
WARM_UP_SECONDS = 60.0
TYPO = "sum by (data_type) (rate(k2_mesages_received_total[5m]))"
Asked = Mapping[tuple[str, str, str, str], Answer]


@pytest.mark.timeout(600)
@pytest.mark.alone
@pytest.mark.clause(
    name="monitoring/panels",
    claims=("OBS-6b", "OBS-3b"),
    checker="facts",
    title="Under load each query of each panel brings data, and no rule, panel or runbook asks for an unknown metric",
    minimum_samples=PANELS + 3,
    remedy="python -m conformance.panel_data shows which; see deploy/grafana/source and docs/metrics.md",
)
def test_every_panel_shows_data_and_no_expression_asks_for_an_unknown_metric(
    clause: ClauseRun, stack: Stack, tmp_path: Path
) -> None:
    monitoring = stack.monitoring()
    dashboards = load_dashboards(ROOT)
    with clause.history() as history:
        with busy_platform(stack) as platform:
            record_fact(history, "Prometheus reads every process", PROCESSES, processes_read, monitoring)
            bring_trouble(stack, platform)
            answers = ask_until_filled(monitoring, dashboards)
            record_expressions(history, monitoring, dashboards)
        for place, answer in answers.items():
            record_fact(history, f"nothing of {': '.join(place)}", [], lambda answer=answer: nothing_of(answer))
        typo = Query("k2-consumer-monitoring", "a typo", TYPO, "", False)
        seen = ask_query(monitoring.prometheus_url, dashboards["k2-consumer-monitoring"], typo)
        record_fact(history, "a panel with a typo is seen", ["empty"], lambda: nothing_of(seen))
    record(tmp_path / "answers.json", answers.values())
    empty = [place for place, answer in answers.items() if nothing_of(answer)]
    clause.note(f"{len({place[:2] for place in answers})} panels, {len(answers)} queries, {len(empty)} empty")
    clause.judge()


def processes_read(monitoring: Monitoring) -> int:
    """How many processes Prometheus reads, once it reads all of them or time is over."""
    targets = f'{{instance=~"{monitoring.instances}"}}'
    comes_true(lambda: len(prometheus.instances_up(monitoring.prometheus_url, targets)) == PROCESSES, WARM_UP_SECONDS)
    return len(prometheus.instances_up(monitoring.prometheus_url, targets))


def ask_until_filled(monitoring: Monitoring, dashboards: Mapping[str, Mapping[str, Any]]) -> Asked:
    """The answer to every query; those that bring nothing are asked again until they do, or time is over."""
    pending = {
        (query.dashboard, query.panel, query.legend, query.expression): (board, query)
        for board in dashboards.values()
        for query in queries(board)
    }
    answers: dict[tuple[str, str, str, str], Answer] = {}
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while pending:
        for place, (board, query) in list(pending.items()):
            chosen = {"instance": monitoring.instances}
            answers[place] = ask_query(monitoring.prometheus_url, board, query, chosen)
            if not nothing_of(answers[place]):
                del pending[place]
        if time.monotonic() > give_up_at:
            break
        time.sleep(LOOK_SECONDS)
    return answers


def nothing_of(answer: Answer) -> list[str]:
    """Why an answer shows nothing; nothing if it shows something."""
    return ["empty"] * (not answer.series) + ["a fallback"] * answer.is_fallback


def record_expressions(
    history: HistoryWriter, monitoring: Monitoring, dashboards: Mapping[str, Mapping[str, Any]]
) -> None:
    """Facts about the metrics that rules, panels and runbooks ask for."""
    url, ours = monitoring.prometheus_url, f'{{instance=~"{monitoring.instances}"}}'
    known = prometheus.declared_names(url, ours) | prometheus.series_names(url, ours, '{__name__=~".+:.+|ALERTS"}')
    rules = alert_rules.read_rule_texts()
    recorded = {rule.name for rule in rules if not rule.is_alert}
    sources = {
        "rules": [str(rule.fields["expr"]) for rule in rules],
        "panels": [filled(query.expression, board) for board in dashboards.values() for query in queries(board)],
        "runbooks": list(runbook_expressions()),
    }
    for name, expressions in sources.items():
        asked = {metric for text in expressions for metric in metrics_of(text)}
        unknown = sorted(asked - known - recorded)
        record_fact(history, f"unknown to {name}", [], lambda unknown=unknown: unknown, samples=len(expressions))
    record_fact(history, "recorded by no rule's evaluation", [], lambda: sorted(recorded - known))
    record_fact(history, "an unknown metric is seen", True, lambda: not metrics_of(TYPO) <= known)


def metrics_of(text: str) -> set[str]:
    """Names of the metrics in an expression."""
    return {selector.metric for selector in read_expression(text).selectors}


def runbook_expressions() -> Iterator[str]:
    """What runbooks have people ask Prometheus."""
    for page in sorted((ROOT / "docs" / "runbooks").glob("*.md")):
        yield from re.findall(r"^ask '([^']+)'", page.read_text(), re.MULTILINE)

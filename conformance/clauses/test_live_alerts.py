"""`k2 alerts watch` shows what fires in a real Prometheus, filtered, once or for as long as somebody watches.

With no API and no consumer, alerts of two severities and components MUST fire in the stack's Prometheus and reach its
Alertmanager; the command MUST show those that are asked for and no others, say by its exit code whether one fires, and
in watch mode tell of an alert that ends (OBS-5). The rules are those of deploy/prometheus but for the time an alert has
to hold, which the unit tests of the rules watch over.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import alert_rules, prometheus
from conformance.drivers.dlq_command import Answer, k2
from conformance.drivers.facts import record_fact
from conformance.drivers.silence import comes_true
from conformance.stacks.base import Stack
from conformance.stacks.warm_start import process_starter
from k2.embedded.processes import ChildProcess

PAGES, WAITS = "APIDown", "NoDataIngested"
"""Fire where there is no API and no consumer: critical and of the API, high and of ingestion."""
PATIENCE_SECONDS = 90.0
FOUND, NOTHING = 1, 0
FILTERS: dict[str, tuple[list[str], list[str]]] = {
    "all": ([], [PAGES, WAITS]),
    "critical": (["--severity", "critical"], [PAGES]),
    "of the API": (["--component", "api"], [PAGES]),
    "of ingestion": (["--component", "ingestion"], [WAITS]),
    "high and of the API": (["--severity", "high", "--component", "api"], []),
}
"""Options, and which of the two they let through."""


@pytest.mark.timeout(400)
@pytest.mark.alone
@pytest.mark.clause(
    name="monitoring/live_alerts",
    claims=("OBS-5b",),
    checker="facts",
    title="k2 alerts watch shows what fires in a real Prometheus, filtered and in watch mode, and when it ends",
    minimum_samples=2 * len(FILTERS) + 6,
    remedy="see k2/observability/alerts/live.py and k2/commands/alerts.py",
)
def test_the_command_shows_what_fires_in_a_real_prometheus(clause: ClauseRun, stack: Stack, tmp_path: Path) -> None:
    monitoring = stack.monitoring()
    url, hurried = monitoring.prometheus_url, alert_rules.hurried_copy(tmp_path / "hurried")
    sound = k2(stack, "alerts", "validate", str(hurried / "rules"), "--root", str(alert_rules.ROOT), "--json")
    with clause.history() as history, monitoring.rules(hurried / "rules"):
        kinds = {json.loads(line).get("kind") for line in sound.stdout.splitlines()[:-1]}
        record_fact(history, "what the rules differ in from sound ones", ["interval"], sorted, kinds)
        expected = {PAGES, WAITS}
        comes_true(lambda: expected <= prometheus.alert_names(url, "firing"), PATIENCE_SECONDS)
        record_fact(history, "firing in Prometheus", True, lambda: expected <= prometheus.alert_names(url, "firing"))
        told = monitoring.alertmanager_url
        record_fact(history, "Alertmanager is told", True,
                    comes_true, lambda: expected <= prometheus.told_alerts(told), PATIENCE_SECONDS)  # fmt: skip
        for name, (options, shown) in FILTERS.items():
            answer = k2(stack, "alerts", "watch", "--once", "--json", "--url", url, *options)
            record_fact(history, f"{name}: shown", shown, shown_of, answer, expected)
            fires = FOUND if answer.stdout else NOTHING
            record_fact(history, f"{name}: exit code", fires, lambda answer=answer: answer.exit_code)
        with watching(stack, tmp_path, url) as watch:
            record_fact(history, "seen by whoever watches", "critical", severity_of, watch, PAGES, "firing")
            stack.start_api()
            record_fact(history, "seen to end with an API", "critical", severity_of, watch, PAGES, "resolved")
        comes_true(lambda: PAGES not in prometheus.alert_names(url, "firing"), PATIENCE_SECONDS)
        after = k2(stack, "alerts", "watch", "--once", "--json", "--url", url, "--severity", "critical")
        record_fact(history, "shown once an API is there", [], shown_of, after, {PAGES})
    clause.judge()


def shown_of(answer: Answer, names: set[str]) -> list[str]:
    """Which of these alerts an answer shows as firing."""
    return sorted({one["name"] for one in answer.objects if one["state"] == "firing"} & names)


@contextmanager
def watching(stack: Stack, folder: Path, url: str) -> Iterator[ChildProcess]:
    """`k2 alerts watch` of critical alerts, looking all the time."""
    command = ["k2.cli", "--data-dir", str(stack.directory), "alerts", "watch", "--severity", "critical"]
    arguments = [*command, "--every", "0.3", "--json", "--url", url]
    child = ChildProcess("watch", arguments, folder / "watch.log", start=process_starter())
    try:
        yield child
    finally:
        child.stop()


def severity_of(watch: ChildProcess, name: str, state: str) -> str:
    """Severity of an alert in the next line that says it is in this state; others may come between."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        line = json.loads(watch.next_line())
        if (line["name"], line["state"]) == (name, state):
            return str(line["severity"])
    return f"not {state}"

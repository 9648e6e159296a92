"""The alert rules: all that are ruled are there, each is tested both ways, and each uses what is exported.

There MUST be the 21 alerts in their 7 groups and the warning tier, each with summary, description, runbook, dashboard,
severity, component and team (OBS-2). For every alert one unit test MUST fire it and another keep it silent: shown by
changing the alert, not by believing the tests' names. Every metric in every expression MUST be exported by a running
process, with the labels it is asked for by (OBS-3). Recording rules MUST compute the objectives over their windows
(OBS-7).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.clause import ClauseRun
from conformance.drivers import alert_rules, http
from conformance.drivers.alert_rules import PROMETHEUS, ROOT, RuleText, tool
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.silence import METRICS, metrics_url
from conformance.promtool import PROMTOOL, Promtool
from conformance.stacks.base import Stack
from k2.embedded.processes import ChildProcess
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

GROUPS = {
    "pipeline": {"ConsumerLagCritical", "IcebergWriteFailures", "SequenceGapsDetected", "NoDataIngested",
                 "DuplicateRateHigh"},
    "circuit-breaker": {"CircuitBreakerOpen", "CircuitBreakerFailureRateHigh"},
    "api": {"APIErrorRateHigh", "APILatencyHigh", "APIDown"},
    "infrastructure": {"KafkaBrokerDown", "PostgreSQLDown", "ObjectStoreDown", "DiskSpaceLow", "HighMemoryUsage"},
    "query": {"QueryTimeoutRateHigh", "QueryExecutionSlow"},
    "consumer": {"ConsumerLagGrowing", "ConsumerRebalancingFrequently"},
    "producer": {"ProducerErrorRateHigh", "ProducerRetryExhausted"},
    "warnings": {"ConsumerLagHigh", "QueryP99High", "CompactionOverdue", "ThroughputLow"},
}  # fmt: skip
"""Those of OBS-2; other groups may be there beside them."""
BURN_RATES = ("APIAvailabilityBurningFast", "APIAvailabilityBurningSlowly", "QueryLatencyBurningFast",
              "QueryLatencyBurningSlowly")  # fmt: skip
LIMITS = {
    "ConsumerLagCritical": "> 10000",
    "SequenceGapsDetected": "> 10",
    "NoDataIngested": "> 300",
    "DuplicateRateHigh": "> 0.1",
    "CircuitBreakerFailureRateHigh": "> 0.5",
    "APIErrorRateHigh": "> 0.05",
    "APILatencyHigh": "> 5",
    "DiskSpaceLow": "< 0.1",
    "HighMemoryUsage": "> 0.9",
    "QueryTimeoutRateHigh": "> 0.05",
    "QueryExecutionSlow": "> 20",
    "ConsumerLagGrowing": "> 1000",
    "ConsumerRebalancingFrequently": "> 5",
    "ProducerErrorRateHigh": "> 0.01",
    "ConsumerLagHigh": "> 1000",
    "QueryP99High": "> 10",
    "CompactionOverdue": "> 93600",
    "ThroughputLow": "< 50",
    "APIAvailabilityBurningFast": "> 14.4",
    "APIAvailabilityBurningSlowly": "> 6",
    "QueryLatencyBurningFast": "> 14.4",
    "QueryLatencyBurningSlowly": "> 3",
    "FreshnessObjectiveMissed": "> 300",
    "DeliveryObjectiveMissed": "> 10",
}
"""The limit of each alert that has one other than zero; it is tested ten times as high and as low."""
SEVERITIES = {"critical", "high", "medium"}
DASHBOARDS = {"k2-platform-overview", "k2-kafka-metrics", "k2-iceberg-metrics", "k2-query-metrics", "k2-api-metrics",
              "k2-consumer-monitoring"}  # fmt: skip
TARGET_LABELS = {"job", "instance"}
OF_PROMETHEUS = {"up"}
RECORDS = 400


@pytest.mark.clause(
    name="alerts_are_there",
    claims=("OBS-2a",),
    checker="facts",
    title="The 21 alerts and the warning tier are in their groups, each with its seven labels and annotations",
    minimum_samples=80,
    remedy="see deploy/prometheus/rules",
)
def test_every_alert_is_there_with_all_it_must_say(clause: ClauseRun) -> None:
    rules = alert_rules.read_rule_texts()
    alerts = [rule for rule in rules if rule.is_alert]
    with clause.history() as history:
        record_fact(
            history, "alerts that are ruled", 21, lambda: sum(map(len, GROUPS.values())) - len(GROUPS["warnings"])
        )
        for group, names in GROUPS.items():
            record_fact(
                history, f"alerts of {group}", sorted(names), lambda group=group: sorted(names_in(alerts, group))
            )
        record_fact(history, "names", [], lambda: doubles([rule.name for rule in rules]))
        for alert in alerts:
            record_fact(history, f"{alert.name} says all it must", [], missing_in, alert)
            record_fact(history, f"{alert.name} has its limit", True, has_limit, alert)
        for group, interval in alert_rules.group_intervals().items():
            record_fact(history, f"interval of {group}", True, lambda interval=interval: interval in ("30s", "1m"))
        configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        record_fact(history, "scrape interval", "15s", lambda: configuration["global"]["scrape_interval"])
        expression = next(rule.fields["expr"] for rule in alerts if rule.name == "ConsumerLagCritical")
        record_fact(history, "ConsumerLagCritical", True, lambda: "k2_consumer_lag_messages" in expression)
    clause.note(f"{len(alerts)} alerts, {len(rules) - len(alerts)} recording rules")
    clause.judge()


@pytest.mark.timeout(600)
@pytest.mark.clause(
    name="alerts_tested_both_ways",
    claims=("OBS-3a",),
    checker="facts",
    title="Every alert has a test that breaks when it is made deaf (its limit ten times off), and one when made loud",
    minimum_samples=62,
    remedy="see deploy/prometheus/tests",
)
def test_every_alert_is_fired_by_one_test_and_kept_silent_by_another(clause: ClauseRun, tmp_path: Path) -> None:
    promtool = Promtool(tool(PROMTOOL))
    names = [rule.name for rule in alert_rules.read_rule_texts() if rule.is_alert]
    with clause.history() as history:
        as_they_are = alert_rules.changed_copy(tmp_path / "unchanged", lambda name, rule: None)
        record_fact(history, "tests of the rules as they are", [],
                    lambda: sorted(alert_rules.failing_alerts(promtool, as_they_are)))  # fmt: skip
        deaf = alert_rules.changed_copy(tmp_path / "deaf", lambda name, rule: desensitise(name, rule, is_deaf=True))
        loud = alert_rules.changed_copy(tmp_path / "loud", lambda name, rule: desensitise(name, rule, is_deaf=False))
        not_fired = alert_rules.failing_alerts(promtool, deaf)
        not_silent = alert_rules.failing_alerts(promtool, loud)
        for name in names:
            limit = f"limit {LIMITS[name]}" if name in LIMITS else "the alert"
            record_fact(history, f"{name}: {limit} made deaf breaks a test", True, lambda name=name: name in not_fired)
            record_fact(history, f"{name}: {limit} made loud breaks a test", True, lambda name=name: name in not_silent)
        renamed = alert_rules.changed_copy(tmp_path / "renamed", rename_metric)
        record_fact(history, "a renamed metric breaks a test of its alert", ["DuplicateRateHigh"],
                    lambda: sorted(alert_rules.failing_alerts(promtool, renamed, "pipeline.yml")))  # fmt: skip
    clause.judge()


@pytest.mark.clause(
    name="alert_metrics_are_exported",
    claims=("OBS-3b",),
    checker="facts",
    title="Every metric in every rule is exported by running processes, with the labels it is asked for by",
    minimum_samples=25,
    remedy="see docs/metrics.md",
)
def test_every_metric_in_every_rule_is_exported_by_running_processes(
    clause: ClauseRun, stack: Stack, tmp_path: Path
) -> None:
    with clause.history(seed=90) as history:
        url = metrics_url(stack.start_consumer("trades", environment=METRICS))
        ends = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=90, records=RECORDS))).acknowledged_ends()
        trades = {place: end for place, end in ends.items() if place[0].endswith("trades")}
        wait_until_drained(stack, history, trades)
        api_url = stack.start_api()
        http.get(f"{api_url}/v1/trades", {"symbol": "BTCUSDT"})
        http.get(f"{api_url}/health")
        with feeding(stack, tmp_path) as feed_url:
            http.get(f"{api_url}/metrics")
            expositions = [str(http.get(one).body) for one in (url, f"{api_url}/metrics", feed_url)]
        exported = set(alert_rules.exposed(expositions)) | OF_PROMETHEUS
        labels = alert_rules.sample_labels(expositions)
        rules = alert_rules.read_rule_texts()
        recorded = {rule.name for rule in rules if not rule.is_alert}
        asked_for = {metric for rule in rules for metric in alert_rules.metrics_of(str(rule.fields["expr"]))}
        for metric in sorted(asked_for - recorded):
            record_fact(history, f"{metric} is exported", True, lambda metric=metric: metric in exported)
        for metric, matched in sorted(asked_labels(rules).items()):
            unknown = sorted(matched - labels.get(metric, matched) - TARGET_LABELS)
            record_fact(history, f"labels {metric} does not have", [], lambda unknown=unknown: unknown)
        record_fact(history, "a metric nobody exports is seen", False, lambda: "k2_message_received_total" in exported)
        clause.note(f"{len(asked_for - recorded)} metrics asked for, {len(exported)} exported")
    clause.judge()


@pytest.mark.clause(
    name="objectives",
    claims=("OBS-7a",),
    checker="facts",
    title="Recording rules compute the objectives over their windows, and burn-rate alerts fire in tests",
    minimum_samples=10,
    remedy="see deploy/prometheus/rules/objectives.yml and budgets.yml",
)
def test_objectives_are_computed_over_their_windows(clause: ClauseRun, tmp_path: Path) -> None:
    promtool = Promtool(tool(PROMTOOL))
    rules = {rule.name: rule for rule in alert_rules.read_rule_texts()}
    with clause.history() as history:
        unchanged = alert_rules.changed_copy(tmp_path / "unchanged", lambda name, rule: None)
        for name in ("objectives.yml", "budgets.yml"):
            record_fact(history, f"tests of {name}", [], alert_rules.failing_expressions, promtool, unchanged, name)
        turned = alert_rules.changed_copy(tmp_path / "turned", halve)
        seen = alert_rules.failing_expressions(promtool, turned, "objectives.yml")
        for record, window in OBJECTIVES.items():
            record_fact(history, f"{record} looks back over", [window], windows_of, rules[record])
            record_fact(history, f"{record} computed wrongly is seen", True,
                        lambda record=record: any(record in one for one in seen))  # fmt: skip
        for name in BURN_RATES:
            record_fact(history, f"{name} looks at two windows", 2, lambda name=name: len(ratios_of(rules[name])))
    clause.judge()


OBJECTIVES = {
    "k2:api_availability:30d": "30d",
    "k2:query_seconds_p99:7d": "7d",
    "k2:slow_query_ratio:7d": "7d",
    "data_type:k2_consumer_delivery_seconds_p99:1h": "1h",
}


def names_in(alerts: list[RuleText], group: str) -> set[str]:
    """Names of a group's alerts."""
    return {alert.name for alert in alerts if alert.group == group}


def doubles(names: list[str]) -> list[str]:
    """Names that are there more than once."""
    return sorted({name for name in names if names.count(name) > 1})


def missing_in(alert: RuleText) -> list[str]:
    """What an alert does not say, or says of something that is not there."""
    labels, annotations = alert.fields.get("labels", {}), alert.fields.get("annotations", {})
    wrong = [name for name in ("severity", "component", "team") if not labels.get(name)]
    wrong += [name for name in ("summary", "description") if not annotations.get(name)]
    wrong += [] if labels.get("severity") in SEVERITIES else ["a severity that is known"]
    wrong += [] if annotations.get("dashboard") in DASHBOARDS else ["a dashboard that is there"]
    wrong += [] if (ROOT / annotations.get("runbook", "nowhere")).is_file() else ["a runbook that is there"]
    return wrong + ([] if "for" in alert.fields else ["for how long"])


def has_limit(alert: RuleText) -> bool:
    """Whether an alert's expression has the limit that is ruled."""
    limit = LIMITS.get(alert.name)
    return limit is None or re.search(rf"{re.escape(limit)}(?![\d.])", alert.fields["expr"]) is not None


def desensitise(name: str, rule: dict[str, Any], *, is_deaf: bool) -> None:
    """Put an alert's limit ten times off, or where it has none make it never fire, or always."""
    if "alert" not in rule:
        return
    limit = LIMITS.get(name)
    if limit is None:
        rule["expr"] = "vector(0) > 1" if is_deaf else "vector(1)"
        rule["for"] = rule["for"] if is_deaf else "0s"
        return
    harder = (limit[0] == ">") == is_deaf
    rule["expr"] = re.sub(
        rf"{re.escape(limit)}(?![\d.])", alert_rules.scaled(limit, 10 if harder else 0.1), rule["expr"]
    )


def rename_metric(name: str, rule: dict[str, Any]) -> None:
    """Have one alert ask for a metric that is called otherwise."""
    rule["expr"] = rule["expr"].replace("k2_duplicates_detected_total", "k2_duplicate_detected_total")


def asked_labels(rules: list[RuleText]) -> dict[str, set[str]]:
    """Labels that matchers name, by metric."""
    found: dict[str, set[str]] = {}
    for rule in rules:
        for metric, matchers in re.findall(r"([a-z_:][\w:]*)\{([^}]*)\}", rule.fields["expr"]):
            found.setdefault(metric, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    return found


@contextmanager
def feeding(stack: Stack, folder: Path) -> Iterator[str]:
    """A `k2 feed` that serves its metrics: their address."""
    arguments = ["k2.cli", "--data-dir", str(stack.directory), "feed", "--synthetic", "--rate", "50"]
    child = ChildProcess("feed", arguments, folder / "feed.log", {"K2_PRODUCER__METRICS_PORT": "0"})
    try:
        yield metrics_url(child)
    finally:
        child.stop()


def windows_of(rule: RuleText) -> list[str]:
    """Windows a rule looks back over."""
    return sorted(set(re.findall(r"\[(\w+)\]", rule.fields["expr"])))


def ratios_of(rule: RuleText) -> set[str]:
    """Recorded ratios an alert looks at."""
    return set(re.findall(r"k2:\w+_ratio:\w+", rule.fields["expr"]))


def halve(name: str, rule: dict[str, Any]) -> None:
    """Have the rules of the objectives compute half of what they must."""
    if name in OBJECTIVES:
        rule["expr"] = f"0.5 * ({rule['expr']})"

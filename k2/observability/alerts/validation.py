"""Judges alert rules against what K2 exports and what whoever is called at night needs to know.

Errors:
    unreadable              no rule file
    expression-unreadable   no PromQL, or a bracket is not closed
    expression-metric       a metric that neither K2 nor a named exporter exports, nor a rule records
    expression-label        a label the metric does not have
    expression-rate         a rate of what is not a counter
    expression-ratio        a division of rates that are not summed: many small ratios instead of one
    annotation, label       summary, description, runbook, dashboard; severity, component, team: one is missing or wrong
    runbook                 the runbook does not exist
    hold                    no `for:`, so that one sample wakes somebody
    interval                a group evaluated less often than every minute, or more often than every 30 s
    duplicate               a second alert of the same name

The rest of PromQL's grammar is not judged: `promtool check rules` does that.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from k2.observability.alerts.exporters import EXPORTED_LABELS, TARGET_LABELS
from k2.observability.alerts.rule_files import Rule, RuleFileError, read_rules
from k2.observability.alerts.severities import SEVERITIES
from k2.observability.metrics import CATALOGUE, Metric, MetricKind
from k2.observability.promql import COUNTER_FUNCTIONS, Expression, read_expression

DASHBOARDS = (
    "k2-platform-overview",
    "k2-kafka-metrics",
    "k2-iceberg-metrics",
    "k2-query-metrics",
    "k2-api-metrics",
    "k2-consumer-monitoring",
)
REQUIRED_LABELS = ("severity", "component", "team")
REQUIRED_ANNOTATIONS = ("summary", "description", "runbook", "dashboard")
_HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SHORTEST_INTERVAL_SECONDS, _LONGEST_INTERVAL_SECONDS = 30, 60


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a rule.

    Attributes:
        path: the file.
        line: where, from 1.
        rule: name of the alert, or of what is recorded; empty where the file itself is wrong.
        kind: one word of the list above.
        problem: what is wrong.
        remedy: what to do about it.
    """

    path: str
    line: int
    rule: str
    kind: str
    problem: str
    remedy: str


def validate(
    paths: Iterable[Path], project_root: Path | None, catalogue: Iterable[Metric] = CATALOGUE
) -> tuple[tuple[Rule, ...], tuple[Finding, ...]]:
    """Read rule files and judge them together.

    Args:
        paths: of the files.
        project_root: what runbooks are relative to; None if there is none here, and then they are not looked for.
        catalogue: the metrics K2 exports.

    Returns:
        the rules, and what is wrong with them in the order of the files.
    """
    rules: list[Rule] = []
    findings: list[Finding] = []
    for path in paths:
        try:
            rules += read_rules(path)
        except RuleFileError as error:
            remedy = "see Prometheus' documentation of recording and alerting rules"
            findings.append(Finding(str(error.path), error.line, "", "unreadable", error.problem, remedy))
    expressions = [_readable(rule) for rule in rules]
    findings += [found for found in expressions if isinstance(found, Finding)]
    known = _known_labels(zip(rules, expressions, strict=True), catalogue)
    counters = frozenset(_counters(catalogue))
    seen: set[str] = set()
    groups: set[tuple[Path, str]] = set()
    for rule, expression in zip(rules, expressions, strict=True):
        if isinstance(expression, Expression):
            findings += _judge_expression(rule, expression, known, counters)
        if (rule.path, rule.group) not in groups:
            groups.add((rule.path, rule.group))
            findings += _judge_interval(rule)
        if rule.alert:
            findings += _judge_alert(rule, project_root)
            if rule.alert in seen:
                remedy = "give it another name, or remove it"
                findings.append(_finding(rule, "duplicate", f"{rule.alert} is there a second time", remedy))
            seen.add(rule.alert)
    return tuple(rules), tuple(findings)


def exported_names(catalogue: Iterable[Metric] = CATALOGUE) -> Mapping[str, frozenset[str]]:
    """Every name under which K2 exports samples, with its labels."""
    names: dict[str, frozenset[str]] = {}
    for metric in catalogue:
        labels = frozenset(metric.labels)
        if metric.kind is MetricKind.HISTOGRAM:
            names |= {metric.name + part: labels for part in _HISTOGRAM_PARTS}
            names[f"{metric.name}_bucket"] = labels | {"le"}
        else:
            names[metric.name] = labels
    return names


def _readable(rule: Rule) -> Expression | Finding:
    try:
        return read_expression(rule.expression)
    except ValueError as error:
        remedy = "correct it; promtool check rules says more"
        return _finding(rule, "expression-unreadable", str(error), remedy, rule.expression_line)


def _known_labels(
    rules: Iterable[tuple[Rule, Expression | Finding]], catalogue: Iterable[Metric]
) -> dict[str, frozenset[str]]:
    known = {**EXPORTED_LABELS, **exported_names(catalogue)}
    for rule, expression in rules:
        if rule.record:
            known[rule.record] = frozenset(expression.grouped_by if isinstance(expression, Expression) else ())
    return known


def _counters(catalogue: Iterable[Metric]) -> Iterator[str]:
    for metric in catalogue:
        if metric.kind is MetricKind.COUNTER:
            yield metric.name
        elif metric.kind is MetricKind.HISTOGRAM:
            yield from (metric.name + part for part in _HISTOGRAM_PARTS)
    yield from (name for name in EXPORTED_LABELS if name.endswith("_total"))


def _judge_expression(
    rule: Rule, expression: Expression, known: Mapping[str, frozenset[str]], counters: frozenset[str]
) -> Iterator[Finding]:
    unknown = {selector.metric for selector in expression.selectors} - set(known)
    for metric in sorted(unknown):
        remedy = "docs/metrics.md lists the metrics K2 exports, k2/observability/alerts/exporters.py those of others"
        yield _finding(rule, "expression-metric", f"nobody exports {metric}", remedy, rule.expression_line)
    yield from _judge_labels(rule, expression, known)
    for selector in expression.selectors:
        if selector.function in COUNTER_FUNCTIONS and selector.metric in known and selector.metric not in counters:
            problem = f"{selector.function}() of {selector.metric}, which is no counter"
            yield _finding(rule, "expression-rate", problem, "use deriv() or delta()", rule.expression_line)
        if expression.divides and selector.function in COUNTER_FUNCTIONS and not selector.is_aggregated:
            problem = f"a ratio of {selector.function}({selector.metric}) that is not summed"
            yield _finding(rule, "expression-ratio", problem, "divide sum by sum", rule.expression_line)


def _judge_labels(rule: Rule, expression: Expression, known: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    metrics = [selector.metric for selector in expression.selectors]
    if any(metric not in known for metric in metrics):
        return
    for selector in expression.selectors:
        for label in sorted(set(selector.matchers) - known[selector.metric] - TARGET_LABELS):
            problem = f"{selector.metric} has no label {label}"
            yield _label_finding(rule, problem, known[selector.metric])
    shared = TARGET_LABELS.union(*(known[metric] for metric in metrics))
    for label in sorted(set(expression.grouped_by) - shared):
        yield _label_finding(rule, f"grouped by {label}, which no metric in it has", shared)


def _judge_interval(rule: Rule) -> Iterator[Finding]:
    seconds = duration_seconds(rule.interval)
    if not _SHORTEST_INTERVAL_SECONDS <= seconds <= _LONGEST_INTERVAL_SECONDS:
        problem = f"its group {rule.group} is evaluated every {rule.interval or '(not said)'}"
        yield _finding(rule, "interval", problem, "set the group's interval to between 30s and 1m")


def _judge_alert(rule: Rule, project_root: Path | None) -> Iterator[Finding]:
    for name in REQUIRED_LABELS:
        if not rule.labels.get(name):
            yield _finding(rule, "label", f"{rule.alert} has no label {name}", "add it")
    severity = rule.labels.get("severity")
    if severity and severity not in SEVERITIES:
        yield _finding(rule, "label", f"{rule.alert} has the severity {severity}", f"choose of {', '.join(SEVERITIES)}")
    for name in REQUIRED_ANNOTATIONS:
        if not rule.annotations.get(name, "").strip():
            yield _finding(rule, "annotation", f"{rule.alert} has no {name}", "add it")
    dashboard = rule.annotations.get("dashboard")
    if dashboard and dashboard not in DASHBOARDS:
        remedy = f"choose of {', '.join(DASHBOARDS)}"
        yield _finding(rule, "annotation", f"{rule.alert} names the dashboard {dashboard}", remedy)
    runbook = rule.annotations.get("runbook")
    if runbook and project_root is not None and not (project_root / runbook).is_file():
        yield _finding(rule, "runbook", f"{rule.alert} names {runbook}, which does not exist", "write it")
    if not rule.hold:
        remedy = "say for how long it must hold, 0m if one sample is enough"
        yield _finding(rule, "hold", f"{rule.alert} has no `for:`", remedy)


def duration_seconds(text: str) -> float:
    """Seconds of a duration as Prometheus writes it, "1h30m"; 0 for none."""
    return float(sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhd])(?!s)", text)))


def _label_finding(rule: Rule, problem: str, labels: Iterable[str]) -> Finding:
    remedy = f"there are {', '.join(sorted(labels)) or 'none'}, and job and instance"
    return _finding(rule, "expression-label", problem, remedy, rule.expression_line)


def _finding(rule: Rule, kind: str, problem: str, remedy: str, line: int | None = None) -> Finding:
    return Finding(str(rule.path), line or rule.line, rule.name, kind, problem, remedy)

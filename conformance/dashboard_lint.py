"""What is wrong with a Grafana dashboard, by the rules of Grafana's dashboard-linter and two of our own.

The linter's, by its names:

    template-datasource-rule            one data source, as a variable
    template-job-rule                   a variable job: label, data source, query, all values as .+
    template-instance-rule              the same for instance
    template-label-promql-rule          variables ask label_values(metric, label)
    template-on-time-change-reload-rule and ask again when the time range changes
    panel-datasource-rule               every panel and query uses that variable
    panel-title-description-rule        and says what it shows
    panel-units-rule                    in which unit
    panel-no-targets-rule               and asks something
    target-promql-rule                  in PromQL that promtool parses
    target-rate-interval-rule           over $__rate_interval
    target-job-rule, target-instance-rule   of the chosen jobs and instances
    target-counter-agg-rule             never a bare counter
    uneditable-dashboard                changed at its source alone

Ours:

    target-metric                       every metric is declared, recorded or Prometheus's own, and has the labels it
                                        is asked for
    target-legend                       every label of a legend is one the answer has

Not here: target-logql-rule and target-logql-auto-rule, for nothing asks Loki; the rules on required matchers and
variables, which for us are those on job and instance.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k2.observability.promql import Selector, read_expression

DATASOURCE = "${datasource}"
UNITS = frozenset(
    (
        *("none", "short", "percent", "percentunit", "bool", "s", "ms", "ns", "bytes", "decbytes", "Bps", "binBps"),
        *("cps", "ops", "reqps", "rps", "wps", "iops", "eps", "mps", "recps", "rowsps", "cpm", "opm", "reqpm"),
    )
)
"""Of Grafana's units those that are used; another is added when it is needed."""
FIXED_RANGES: Mapping[tuple[str, str], str] = {
    ("k2-kafka-metrics", "Records given up"): "a number within the shown time",
    ("k2-kafka-metrics", "Rebalances"): "the window of the alert",
    ("k2-consumer-monitoring", "Dead letters"): "a number within the shown time",
}
"""Panels whose range is not $__rate_interval on purpose, and why."""
_LABEL_VALUES = re.compile(r"^label_values\((?:(.+),\s*)?([a-zA-Z_]\w*)\)$", re.DOTALL)
_LEGEND_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_COUNTER_ENDINGS = ("_total", "_count", "_sum", "_bucket")
_VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}
_ON_TIME_CHANGE = 2
_FALLBACK = re.compile(r"\s+or\s+(?:on\s*\(\s*\)\s*)?vector\(0\)\s*$")
NOTHING_CHOSEN: Mapping[str, str] = {}

Known = Callable[[str], frozenset[str] | None]
"""The labels of a series, None if there is no such series."""
Syntax = Callable[[Sequence[str]], Sequence[str | None]]
"""What is wrong with each expression, None for one that parses."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake: which dashboard and panel ("" for the dashboard itself), which rule, what."""

    dashboard: str
    panel: str
    rule: str
    what: str

    def __str__(self) -> str:
        where = f"{self.dashboard}: {self.panel}" if self.panel else self.dashboard
        return f"{where}: {self.rule}: {self.what}"


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel."""

    dashboard: str
    panel: str
    expression: str
    legend: str
    is_instant: bool


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The panels that show something, those of collapsed rows included."""
    for panel in dashboard.get("panels", ()):
        if panel.get("type") == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def queries(dashboard: Mapping[str, Any]) -> Iterator[Query]:
    """Every query of every panel, as it is written."""
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            yield Query(
                str(dashboard.get("uid", "")),
                str(panel.get("title", "")),
                str(target.get("expr", "")),
                str(target.get("legendFormat", "")),
                bool(target.get("instant", False)),
            )


def filled(expression: str, dashboard: Mapping[str, Any], chosen: Mapping[str, str] = NOTHING_CHOSEN) -> str:
    """The expression as Prometheus gets it, with every variable that is not chosen at "All".

    Args:
        expression: as it is written.
        dashboard: it stands in.
        chosen: regular expressions by the variable's name.
    """
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    for variable in _variables(dashboard):
        name = variable["name"]
        value = chosen.get(name, variable.get("allValue", ".*"))
        expression = expression.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return expression


def without_fallback(expression: str) -> str:
    """The expression without the zero that takes the place of an empty answer at its end."""
    return _FALLBACK.sub("", expression)


def lint(dashboard: Mapping[str, Any], known: Known, syntax: Syntax) -> list[Finding]:
    """Every mistake in a dashboard.

    Args:
        dashboard: its JSON.
        known: the labels of each series there is.
        syntax: judges filled expressions.
    """
    uid = str(dashboard.get("uid", ""))
    found = [Finding(uid, "", rule, what) for rule, what in _dashboard_mistakes(dashboard, known)]
    for panel in panels(dashboard):
        title = str(panel.get("title", ""))
        found += [Finding(uid, title, rule, what) for rule, what in _panel_mistakes(panel)]
    asked = list(queries(dashboard))
    for query, problem in zip(asked, syntax([filled(query.expression, dashboard) for query in asked]), strict=True):
        if problem is not None:
            found.append(Finding(uid, query.panel, "target-promql-rule", problem))
            continue
        found += [Finding(uid, query.panel, rule, what) for rule, what in _query_mistakes(query, known)]
    return found


def _variables(dashboard: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(dashboard.get("templating", {}).get("list", ()))


def _dashboard_mistakes(dashboard: Mapping[str, Any], known: Known) -> Iterator[tuple[str, str]]:
    variables = _variables(dashboard)
    sources = [variable for variable in variables if variable.get("type") == "datasource"]
    if [source.get("name") for source in sources] != ["datasource"] or sources[0].get("query") != "prometheus":
        yield "template-datasource-rule", "there is not exactly one variable datasource of the type prometheus"
    for name in ("job", "instance"):
        rule = f"template-{name}-rule"
        variable = next((variable for variable in variables if variable.get("name") == name), None)
        if variable is None:
            yield rule, f"there is no variable {name}"
        elif wrong := [key for key, value in _demanded(name).items() if variable.get(key) != value]:
            yield rule, f"the variable {name} has another {', '.join(wrong)}"
    for variable in variables:
        if variable.get("type") == "query":
            yield from _variable_mistakes(variable, known)
    if dashboard.get("editable", True):
        yield "uneditable-dashboard", "it can be edited where it is shown, and the next start undoes that"


def _demanded(name: str) -> dict[str, Any]:
    return {"type": "query", "label": name.capitalize(), "multi": True, "includeAll": True, "allValue": ".+"}


def _variable_mistakes(variable: Mapping[str, Any], known: Known) -> Iterator[tuple[str, str]]:
    name = variable["name"]
    if variable.get("datasource", {}).get("uid") != DATASOURCE:
        yield "template-datasource-rule", f"the variable {name} does not ask {DATASOURCE}"
    if variable.get("refresh") != _ON_TIME_CHANGE:
        yield "template-on-time-change-reload-rule", f"the variable {name} keeps its values when the time changes"
    match = _LABEL_VALUES.match(str(variable.get("query", "")))
    if match is None:
        yield "template-label-promql-rule", f"the variable {name} does not ask label_values(metric, label)"
        return
    for selector in read_expression(match[1] or "").selectors:
        labels = known(selector.metric)
        if labels is None or not {*selector.labels, match[2]} <= labels:
            yield "template-label-promql-rule", f"the variable {name} asks {match[0]}, which nothing has"


def _panel_mistakes(panel: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    targets = panel.get("targets", ())
    for holder in (panel, *targets):
        if holder.get("datasource", {}).get("uid") != DATASOURCE:
            yield "panel-datasource-rule", f"it does not ask {DATASOURCE}"
            break
    if not panel.get("title") or not panel.get("description"):
        yield "panel-title-description-rule", "it has no title, or no description"
    unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
    if unit not in UNITS:
        yield "panel-units-rule", f"its unit is {unit!r}"
    if not targets:
        yield "panel-no-targets-rule", "it asks nothing"


def _query_mistakes(query: Query, known: Known) -> Iterator[tuple[str, str]]:
    expression = read_expression(query.expression)
    for selector in expression.selectors:
        yield from _selector_mistakes(query, selector, known)
    shown = expression.result_labels
    if shown is None:
        shown = frozenset().union(*(known(selector.metric) or frozenset() for selector in expression.selectors))
    for label in _LEGEND_LABEL.findall(query.legend):
        if label not in shown:
            yield "target-legend", f"the legend names {label}, which the answer does not have"


def _selector_mistakes(query: Query, selector: Selector, known: Known) -> Iterator[tuple[str, str]]:
    name = selector.metric
    labels = known(name)
    if labels is None:
        yield "target-metric", f"no metric is called {name}"
        return
    for label in sorted(selector.labels - labels):
        yield "target-metric", f"{name} has no label {label}"
    for label in ("job", "instance"):
        if label in labels and label not in selector.matchers:
            yield f"target-{label}-rule", f'{name} is asked without {label}=~"${label}"'
    if name.endswith(_COUNTER_ENDINGS) and not selector.range:
        yield "target-counter-agg-rule", f"{name} is a counter, asked without rate or increase"
    if selector.range not in ("", "[$__rate_interval]") and (query.dashboard, query.panel) not in FIXED_RANGES:
        yield "target-rate-interval-rule", f"{name}{selector.range} is not over $__rate_interval"

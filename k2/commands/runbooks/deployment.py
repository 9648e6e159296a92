"""What runbooks are held against: alerts, services, shell functions, metrics."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from k2.errors import UsageError
from k2.observability.alerts.exporters import EXPORTED_LABELS, TARGET_LABELS
from k2.observability.alerts.rule_files import Rule, read_rules, rule_paths
from k2.observability.alerts.validation import exported_names
from k2.observability.metrics import CATALOGUE
from k2.observability.promql import read_expression

RULES = Path("deploy") / "prometheus" / "rules"
COMPOSE_FILE = Path("deploy") / "compose.yaml"
ENVIRONMENT = "environment.sh"
_FUNCTION = re.compile(r"^([a-z_]+)\(\) \{", re.MULTILINE)
_VARIABLE = re.compile(r"^(?:export )?([A-Z][A-Z0-9_]*)=", re.MULTILINE)
_OURS = ("k2_", "iceberg_", "http_request_size_limit_")
_OF_ALERTS = frozenset(("alertname", "alertstate", "severity", "component", "team"))


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything pages may speak of.

    Attributes:
        alerts: rules by the alert's name.
        services: of deploy/compose.yaml.
        functions: of docs/runbooks/environment.sh.
        variables: that it sets.
        series: labels of each series that Prometheus has, by name.
    """

    alerts: Mapping[str, Rule]
    services: tuple[str, ...]
    functions: frozenset[str]
    variables: frozenset[str]
    series: Mapping[str, frozenset[str]]


def read_deployment(root: Path, runbooks: Path) -> Deployment:
    """Read what the pages of `runbooks` are held against.

    Raises:
        UsageError: a file it needs is missing, or is not what it should be.
    """
    rules = [rule for path in rule_paths(root / RULES) for rule in read_rules(path)]
    environment = _text(runbooks / ENVIRONMENT)
    return Deployment(
        alerts={rule.alert: rule for rule in rules if rule.alert},
        services=_services(root / COMPOSE_FILE),
        functions=frozenset(_FUNCTION.findall(environment)),
        variables=frozenset(_VARIABLE.findall(environment)),
        series=series_labels(rules),
    )


def series_labels(rules: Iterable[Rule]) -> dict[str, frozenset[str]]:
    """Labels of every series by name: K2's own, those of processes and targets, what rules record, and ALERTS.

    Raises:
        UsageError: a rule's expression cannot be read.
    """
    scraped = {**EXPORTED_LABELS, **exported_names(CATALOGUE)}
    known = {name: labels | TARGET_LABELS for name, labels in scraped.items()} | {"ALERTS": _OF_ALERTS}
    for rule in rules:
        if rule.record:
            known[rule.record] = _recorded_labels(rule, known)
    return known


def is_ours(name: str) -> bool:
    """Whether a series' name is one that K2 declares, or a rule records."""
    return name.startswith(_OURS) or ":" in name


def _recorded_labels(rule: Rule, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """What aggregations keep; without any, what the series have that it is made of."""
    try:
        expression = read_expression(rule.expression)
    except ValueError as error:
        raise UsageError(f"{rule.path}:{rule.expression_line}: {error}: see k2 alerts validate") from error
    if expression.result_labels is not None:
        return expression.result_labels
    return frozenset().union(*(known.get(selector.metric, frozenset()) for selector in expression.selectors))


def _services(path: Path) -> tuple[str, ...]:
    try:
        return tuple(yaml.safe_load(_text(path))["services"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(f"{path} names no services ({error!r:.80}): mend it") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): name the repository's root with --root") from error

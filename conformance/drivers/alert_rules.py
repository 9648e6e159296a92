"""Copies of the alert rules with mistakes planted in them, and what promtool makes of their unit tests."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.promtool import NoTool, Promtool, Tool, find_tool

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager"
ALERTMANAGER_FILE = Path("alertmanager.yml")
_STRING = re.compile(r'"[^"]*"')
_SELECTOR = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?![\w:]*\s*\()")
_LABEL_LIST = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
_MATCHERS = re.compile(r"\{[^}]*\}")
_DURATION = re.compile(r"\[[^\]]*\]|(?<![\w:])\d\w*")
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "on", "without", "ignoring", "group_left", "group_right"}


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule as its file has it, read with a plain YAML reader.

    Attributes:
        file: name of its file.
        group: name of its group.
        name: of the alert, or of what is recorded.
        is_alert: which of the two it is.
        fields: all of it.
    """

    file: str
    group: str
    name: str
    is_alert: bool
    fields: Mapping[str, Any]


def tool(name: str) -> Tool:
    """Find promtool or amtool; the clause is not exercised where there is none."""
    found = find_tool(name)
    if isinstance(found, NoTool):
        pytest.skip(found.reason)
    return found


def read_rule_texts(folder: Path = PROMETHEUS) -> list[RuleText]:
    """Every rule of a folder with `rules/` in it."""
    found = []
    for path in sorted((folder / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                name = rule.get("alert") or rule["record"]
                found.append(RuleText(path.name, group["name"], name, "alert" in rule, rule))
    return found


def group_intervals(folder: Path = PROMETHEUS) -> dict[str, str]:
    """How often each group is evaluated."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted((folder / "rules").glob("*.yml"))]
    return {group["name"]: group["interval"] for document in documents for group in document["groups"]}


def metrics_of(expression: str) -> set[str]:
    """Names of the metrics in an expression: what is left of it without texts, labels, ranges, functions and words."""
    text = _LABEL_LIST.sub(" ", _MATCHERS.sub(" ", _STRING.sub('""', expression)))
    return {name for name in _SELECTOR.findall(_DURATION.sub(" ", text)) if name not in _WORDS} - _aggregations(text)


def changed_copy(into: Path, change: Callable[[str, dict[str, Any]], None]) -> Path:
    """A copy of rules and tests in which each alert was handed to `change` by its name."""
    shutil.copytree(PROMETHEUS, into)
    for path in (into / "rules").glob("*.yml"):
        document = yaml.safe_load(path.read_text())
        for group in document["groups"]:
            for rule in group["rules"]:
                change(rule.get("alert") or rule["record"], rule)
        path.write_text(yaml.safe_dump(document, sort_keys=False))
    return into


def hurried_copy(into: Path) -> Path:
    """A copy whose alerts fire after 8 s, looked at every second; nothing else differs."""

    def hurry(name: str, rule: dict[str, Any]) -> None:
        if "alert" in rule:
            # Prometheus takes 5 s to find its Alertmanager after it has read its rules, and tells again after a minute.
            rule["for"] = "8s"

    changed_copy(into, hurry)
    for path in (into / "rules").glob("*.yml"):
        document = yaml.safe_load(path.read_text())
        for group in document["groups"]:
            group["interval"] = "1s"
            # Under its old name it would take over what is pending already.
            group["name"] += " (hurried)"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
    return into


def failing_alerts(promtool: Promtool, folder: Path, name: str = "*.yml") -> set[str]:
    """Alerts of which a unit test does not hold, in all files of tests or in one.

    Raises:
        ValueError: the tests did not run.
    """
    outcome = promtool.test_rules(test_files(folder, name), folder)
    if outcome.problems:
        raise ValueError(f"the unit tests did not run: {outcome.problems[0]}")
    return {alert for failure in outcome.failures for alert in failure.alerts}


def failing_expressions(promtool: Promtool, folder: Path, name: str) -> list[str]:
    """What a file of unit tests asked for and did not get."""
    return [failure.expression for failure in promtool.test_rules([Path("tests") / name], folder).failures]


def test_files(folder: Path, name: str) -> list[Path]:
    """Files of unit tests, relative to the folder."""
    return [path.relative_to(folder) for path in sorted((folder / "tests").glob(name))]


def scaled(limit: str, factor: float) -> str:
    """A comparison with another number: "> 10000" by ten is "> 100000"."""
    comparison, number = limit.split(" ", 1)
    return f"{comparison} {float(number) * factor:g}"


def exposed(expositions: Sequence[str]) -> Iterator[str]:
    """Names under which processes export samples, by their TYPE lines: a counter that never counted is there too."""
    for text in expositions:
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                yield from (
                    f"{name}{part}" for part in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
                )


def sample_labels(expositions: Sequence[str]) -> dict[str, set[str]]:
    """Labels of the samples processes export, by name; only of those that have any sample."""
    found: dict[str, set[str]] = {}
    for text in expositions:
        for line in text.splitlines():
            match = re.match(r"(\w+)(?:\{(.*)\})? \S+$", line)
            if match and not line.startswith("#"):
                found.setdefault(match[1], set()).update(re.findall(r'(\w+)="', match[2] or ""))
    return found


def _aggregations(text: str) -> set[str]:
    # `sum by (x) (...)`: the list was taken out, and nothing but an aggregation stands before a bracket then.
    return set(re.findall(r"([a-z_]+)\s+\(", text)) & {"sum", "min", "max", "avg", "count", "topk", "quantile"}

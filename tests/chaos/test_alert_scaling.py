"""The scaled alerts differ from production's in how long things last, and in nothing else."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaos.alerts.execution import rule_files
from chaos.alerts.matrix import longest_window_seconds, named_alerts
from chaos.alerts.scaling import TimeScale, duration_ms, longest_window_ms
from conformance.promtool import PROMTOOL, NoTool, Promtool, find_tool
from k2.observability.promql import Selector, read_expression

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
FACTOR = 30
SCALE = TimeScale(FACTOR)
NUMBERS_THAT_ARE_TIMES = {
    "IcebergWriteFailures": {("300", "10")},
    "NoDataIngested": {("300", "10")},
    "ProducerRetryExhausted": {("300", "10")},
    "ConsumerRebalancingFrequently": {("5", "0.166667"), ("3", "0.1")},
    "CompactionOverdue": {("93600", "3120")},
    "FreshnessObjectiveMissed": {("300", "10")},
}
"""The only numbers that change: time gone by, and counts over a window."""
DURATION = re.compile(r"\d+(ms|[smhdwy])(:\d+(ms|[smhdwy]))?")


def pairs_of_rules() -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each rule of production beside its scaled copy."""
    for path in RULES:
        production = yaml.safe_load(path.read_text())
        for group, copy in zip(production["groups"], SCALE.rules(production)["groups"], strict=True):
            yield from zip(group["rules"], copy["rules"], strict=True)


def name(rule: Mapping[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


PAIRS = list(pairs_of_rules())


def words(expression: str) -> list[str]:
    """An expression as words and signs; a range is one of them."""
    return re.findall(r"[\w.:]+|\S", expression)


def is_scaled(before: str, after: str) -> bool:
    """Whether each part of a duration is a thirtieth, to the millisecond."""
    return all(
        abs(duration_ms(one) / FACTOR - duration_ms(other)) <= 0.5
        for one, other in zip(before.split(":"), after.split(":"), strict=True)
    )


@pytest.mark.parametrize(("production", "scaled"), PAIRS, ids=[name(rule) for rule, _ in PAIRS])
def test_a_rule_changes_in_times_alone(production: Mapping[str, Any], scaled: Mapping[str, Any]) -> None:
    assert {**production, "expr": None, "for": None} == {**scaled, "expr": None, "for": None}
    assert ("for" in production) == ("for" in scaled)
    if "for" in production:
        assert is_scaled(production["for"], scaled["for"])
    changed = {
        (before, after)
        for before, after in zip(words(production["expr"]), words(scaled["expr"]), strict=True)
        if before != after
    }
    times = {(before, after) for before, after in changed if DURATION.fullmatch(before)}
    assert all(is_scaled(before, after) for before, after in times)
    assert changed - times == NUMBERS_THAT_ARE_TIMES.get(name(production), set())


@pytest.mark.parametrize(("production", "scaled"), PAIRS, ids=[name(rule) for rule, _ in PAIRS])
def test_a_rule_asks_for_the_same_metrics_over_scaled_windows(
    production: Mapping[str, Any], scaled: Mapping[str, Any]
) -> None:
    before, after = read_expression(production["expr"]), read_expression(scaled["expr"])
    assert (before.grouped_by, before.result_labels, before.divides) == (
        after.grouped_by, after.result_labels, after.divides,
    )  # fmt: skip
    assert [without_range(one) for one in before.selectors] == [without_range(one) for one in after.selectors]
    for one, other in zip(before.selectors, after.selectors, strict=True):
        assert (one.range == "") == (other.range == "")
        assert not one.range or is_scaled(one.range.strip("[]"), other.range.strip("[]"))


def without_range(selector: Selector) -> tuple[object, ...]:
    return selector.metric, selector.matchers, selector.labels, selector.function, selector.is_aggregated


def test_groups_keep_their_names_and_are_evaluated_so_much_more_often() -> None:
    for path in RULES:
        production = yaml.safe_load(path.read_text())
        scaled = SCALE.rules(production)
        assert set(production) == set(scaled)
        for group, copy in zip(production["groups"], scaled["groups"], strict=True):
            assert {**group, "interval": None, "rules": None} == {**copy, "interval": None, "rules": None}
            assert is_scaled(group["interval"], copy["interval"])


def test_all_rules_are_hurried_but_burn_rates_and_budgets() -> None:
    left_out = [path.name for path in RULES if path not in rule_files()]
    assert left_out == ["budgets.yml"]
    alerts = {rule["alert"] for path in rule_files() for group in yaml.safe_load(path.read_text())["groups"]
              for rule in group["rules"] if "alert" in rule}  # fmt: skip
    assert set(named_alerts()) < alerts


def test_all_scaled_rules_are_promql(tmp_path: Path) -> None:
    found = find_tool(PROMTOOL)
    if isinstance(found, NoTool):
        pytest.skip(found.reason)
    (tmp_path / "rules").mkdir()
    for path in RULES:
        text = yaml.safe_dump(SCALE.rules(yaml.safe_load(path.read_text())), sort_keys=False)
        (tmp_path / "rules" / path.name).write_text(text)
    written = [Path("rules") / path.name for path in RULES]
    assert [one.text for one in Promtool(found).check_rules(written, tmp_path)] == []


def test_prometheus_asks_and_evaluates_so_much_more_often_and_else_is_as_it_was() -> None:
    production = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    of_run = {"global": {"scrape_interval": "5s", "external_labels": {"run": "1"}}, "scrape_configs": ["kept"]}
    assert SCALE.prometheus(of_run, production) == {
        "global": {
            "scrape_interval": "500ms",
            "scrape_timeout": "500ms",
            "evaluation_interval": "1s",
            "external_labels": {"run": "1"},
        },
        "scrape_configs": ["kept"],
    }


def test_alertmanager_waits_so_much_shorter_and_tells_another_address_at_any_hour() -> None:
    production = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
    scaled = SCALE.alertmanager(production, "172.18.0.1:4711")
    assert [scaled["route"][wait] for wait in ("group_wait", "group_interval", "repeat_interval")] == [
        "1s", "10s", "1440s",
    ]  # fmt: skip
    pager, business_hours = scaled["route"]["routes"]
    assert [pager[wait] for wait in ("group_wait", "group_interval", "repeat_interval")] == ["333ms", "2s", "120s"]
    assert business_hours == production["route"]["routes"][1]
    urls = {one["name"]: hook["url"] for one in scaled["receivers"] for hook in one["webhook_configs"]}
    assert urls == {
        "pager": "http://172.18.0.1:4711/pager",
        "business-hours": "http://172.18.0.1:4711/business-hours",
    }
    assert [one["name"] for one in scaled["time_intervals"]] == ["business-hours"]
    unchanged = {"inhibit_rules", *(set(production) - {"route", "receivers", "time_intervals"})}
    assert {key: production[key] for key in unchanged} == {key: scaled[key] for key in unchanged}
    restored = text_without_waits(scaled).replace("172.18.0.1:4711", "alert-receiver:9095")
    assert restored == text_without_waits(production)


def text_without_waits(document: Mapping[str, Any]) -> str:
    """What must be equal, hours apart."""
    text = yaml.safe_dump({**document, "time_intervals": None}, sort_keys=False)
    return re.sub(r"(group_wait|group_interval|repeat_interval): \S+", r"\1:", text)


@pytest.mark.parametrize(
    ("expression", "scaled"),
    [
        ("rate(a_total[5m]) > 10", "rate(a_total[10s]) > 10"),
        ("increase(a_total[15m]) > 5", "increase(a_total[30s]) > 0.166667"),
        ("sum by (job) (increase(a_total[1h])) >= 30", "sum by (job) (increase(a_total[120s])) >= 1"),
        ("a > 60 and increase(a_total[1h]) > 60", "a > 60 and increase(a_total[120s]) > 2"),
        ("(time() - a < 300) or b > 300", "(time() - a < 10) or b > 300"),
        ('max_over_time((a and b{x="[5m] > 3"})[5m:15s])', 'max_over_time((a and b{x="[5m] > 3"})[10s:500ms])'),
        ("a[5m] offset 10m", "a[10s] offset 20s"),
        ("k2_query_seconds > 20", "k2_query_seconds > 20"),
        ("k2_table_silence_seconds > 300 unless on (x) y == 30", "k2_table_silence_seconds > 10 unless on (x) y == 30"),
    ],
)  # fmt: skip
def test_what_lasts_is_divided_and_what_has_a_size_is_not(expression: str, scaled: str) -> None:
    assert SCALE.expression(expression) == scaled


@pytest.mark.parametrize(("text", "scaled"), [("5m", "10s"), ("0m", "0s"), ("10s", "333ms"), ("1h30m", "180s")])
def test_durations_are_exact_to_the_millisecond(text: str, scaled: str) -> None:
    assert SCALE.duration(text) == scaled


def test_what_is_no_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="'5 minutes' is no duration"):
        SCALE.duration("5 minutes")


def test_the_longest_window_counts_with_its_offset() -> None:
    assert longest_window_ms("min_over_time(a[5m]) > 2 * min_over_time(a[5m] offset 10m)") == 900_000
    assert longest_window_ms("up == 0") == 0
    assert longest_window_seconds() == 900

"""Rules are taken apart and judged; each mistake is found at its place."""

from pathlib import Path

import pytest

from k2.errors import UsageError
from k2.observability.alerts.rule_files import RuleFileError, read_rules, rule_paths
from k2.observability.alerts.validation import duration_seconds, exported_names, validate

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
SOUND = """groups:
  - name: api
    interval: 30s
    rules:
      - record: k2:requests:rate5m
        expr: sum by (job) (rate(k2_http_requests_total[5m]))
      - alert: APIErrorRateHigh
        expr: |
          sum by (job) (rate(k2_http_requests_total{status=~"5.."}[5m]))
            / sum by (job) (rate(k2_http_requests_total[5m])) > 0.05
        for: 5m
        labels: {severity: critical, component: api, team: data-platform}
        annotations:
          summary: "{{ $value }}"
          description: many
          runbook: docs/runbooks/api-error-rate-high.md
          dashboard: k2-api-metrics
"""


def found(folder: Path, old: str, new: str) -> list[tuple[int, str]]:
    assert old in SOUND
    path = folder / "rules.yml"
    path.write_text(SOUND.replace(old, new, 1))
    return [(finding.line, finding.kind) for finding in validate([path], ROOT)[1]]


def test_our_rules_are_sound() -> None:
    rules, findings = validate(rule_paths(RULES), ROOT)
    assert findings == ()
    assert len([rule for rule in rules if rule.alert]) == 31


@pytest.mark.parametrize(
    ("old", "new", "kind", "line"),
    [
        ("k2_http_requests_total{", "k2_http_request_total{", "expression-metric", 8),
        ('{status=~"5.."}', '{code=~"5.."}', "expression-label", 8),
        ("sum by (job) (rate(k2_http_requests_total{", "sum by (host) (rate(k2_http_requests_total{",
         "expression-label", 8),
        ("rate(k2_http_requests_total{status", "rate(k2_api_abandoned_threads{job", "expression-rate", 8),
        ('sum by (job) (rate(k2_http_requests_total{status=~"5.."}[5m]))',
         'rate(k2_http_requests_total{status=~"5.."}[5m])', "expression-ratio", 8),
        ("(k2_http_requests_total[5m]))\n      - alert", "(k2_http_requests_total[5m])\n      - alert",
         "expression-unreadable", 6),
        ("        for: 5m\n", "", "hold", 7),
        ("severity: critical, ", "", "label", 7),
        ("severity: critical", "severity: loud", "label", 7),
        ("          summary: \"{{ $value }}\"\n", "", "annotation", 7),
        ("dashboard: k2-api-metrics", "dashboard: k2-http", "annotation", 7),
        ("api-error-rate-high.md", "api-errors.md", "runbook", 7),
        ("interval: 30s", "interval: 5m", "interval", 5),
        ("record: k2:requests:rate5m", "record: k2:requests:rate5m\n        for: [", "unreadable", 7),
    ],
)  # fmt: skip
def test_each_mistake_is_found_at_its_place(tmp_path: Path, old: str, new: str, kind: str, line: int) -> None:
    assert (line, kind) in found(tmp_path, old, new)
    assert len(found(tmp_path, old, new)) == 1


def test_a_second_alert_of_one_name_is_found(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text(SOUND)
    assert [finding.kind for finding in validate(rule_paths(tmp_path), ROOT)[1]] == ["duplicate"]


def test_runbooks_are_not_looked_for_where_there_is_no_project(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(SOUND.replace("api-error-rate-high.md", "nowhere.md"))
    assert validate([path], None)[1] == ()


def test_what_a_rule_records_may_be_used_with_the_labels_it_keeps(tmp_path: Path) -> None:
    expression = 'k2_http_requests_total{status=~"5.."}'
    assert found(tmp_path, f"rate({expression}[5m])", 'k2:requests:rate5m{job="api"}') == []
    assert found(tmp_path, f"rate({expression}[5m])", 'k2:requests:rate5m{status="500"}') == [(8, "expression-label")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be a mapping"),
        ("rules: []", "begins with"),
        ("groups: 3", "must be a list"),
        ("groups:\n  - name: a\n    rules:\n      - expr: x\n", "either"),
        ("groups:\n  - name: a\n    rules:\n      - alert: X\n", "has no `expr:`"),
        ("groups:\n  - name: a\n    rules:\n      - alert: X\n        expr: [1]\n", "text is expected"),
    ],
)
def test_a_file_that_is_no_rule_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(text)
    with pytest.raises(RuleFileError, match=problem):
        read_rules(path)


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no rule files"):
        rule_paths(tmp_path)


def test_histograms_export_their_parts() -> None:
    names = exported_names()
    assert names["k2_query_seconds_bucket"] == {"query", "le"}
    assert names["k2_query_seconds_count"] == {"query"}
    assert "k2_query_seconds" not in names


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m", 60), ("1h30m", 5_400), ("1d", 86_400), ("", 0)])
def test_durations_are_read_as_prometheus_writes_them(text: str, seconds: int) -> None:
    assert duration_seconds(text) == seconds

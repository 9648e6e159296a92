"""The lint of metrics: it knows this code, finds planted mistakes in it, and says where."""

import json
from pathlib import Path

import pytest

from k2.observability.metrics import CATALOGUE
from scripts import document_metrics
from scripts.metric_calls import CATALOGUE_FILE, declared_metrics, recordings
from scripts.validate_metrics_labels import ROOT, judge, main

DECLARED = declared_metrics(ROOT / CATALOGUE_FILE)
NAMES = {metric.name for metric in DECLARED}


def kinds(folder: Path, source: str) -> list[tuple[int, str]]:
    """Line and kind of what is found in a module; what its lack of other metrics leads to is left out."""
    (folder / "module.py").write_text(source)
    findings = judge(DECLARED, recordings([folder], ROOT, NAMES))
    return [(finding.line, finding.kind) for finding in findings if finding.kind != "never-recorded"]


def test_it_reads_the_catalogue_as_it_is() -> None:
    assert [(m.name, m.kind, m.labels) for m in DECLARED] == [(m.name, m.kind.value, m.labels) for m in CATALOGUE]


def test_this_code_is_clean_and_every_metric_is_recorded_with_labels_it_can_follow() -> None:
    found = recordings([Path("k2")], ROOT, NAMES)
    assert judge(DECLARED, found) == []
    assert {recording.metric for recording in found} == NAMES
    assert [recording for recording in found if recording.labels is None] == []


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ('metrics.increment("k2_retries_total", {"data_type": d, "reason": r})', []),
        ('metrics.increment("k2_retires_total", {"data_type": d, "reason": r})', ["undeclared"]),
        ('metrics.increment("k2_retries_total", {"datatype": d, "reason": r})', ["labels"]),
        ('metrics.increment("k2_retries_total", {"data_type": d})', ["labels"]),
        ('metrics.increment("k2_retries_total", {"data_type": d, "reason": r, "x": r})', ["labels"]),
        ('metrics.increment("k2_retries_total")', ["labels"]),
        ('metrics.increment("k2_retries_total", labels={"data_type": d})', ["labels"]),
        ('metrics.set("k2_retries_total", 1, {"data_type": d, "reason": r})', ["operation"]),
        ('metrics.observe("k2_connection_pool_size", 1)', ["operation"]),
        ('metrics.set("k2_connection_pool_size", 1)', []),
        ('metrics.increment("k2_retries_total", {"data_type": d, "reason": symbol})', ["unbounded"]),
        ('metrics.increment("k2_retries_total", labels_of(d))', ["unfollowed"]),
        ("url.set(query=d)", []),
        ('event.set("anything", 1)', []),
    ],
)
def test_each_mistake_is_found(tmp_path: Path, call: str, found: list[str]) -> None:
    source = f"def record(metrics, url, event, d, r, symbol, labels_of):\n    {call}\n"
    assert kinds(tmp_path, source) == [(2, kind) for kind in found]


@pytest.mark.parametrize(
    "body",
    [
        'labels = {"data_type": d}\n        self.metrics.increment("k2_retries_total", labels)',
        'labels = {"data_type": d}\n        self.metrics.increment("k2_retries_total", {**labels, "x": d})',
        'labels, other = {"data_type": d}, d\n        self.metrics.increment("k2_retries_total", labels | {"x": d})',
        'count = self.metrics.increment\n        count("k2_retries_total", {"data_type": d})',
        'self.metrics.increment(NAME, {"data_type": d})',
        'self.metrics.increment("k2_retries_total", self._labels(d))',
        'self.metrics.increment("k2_retries_total", self._kind)',
        'self.metrics.compute("k2_table_freshness_seconds", lambda: self._samples(d))',
        'self.metrics.compute("k2_table_freshness_seconds", self._samples)',
    ],
)
def test_labels_are_followed_to_where_they_are_made(tmp_path: Path, body: str) -> None:
    source = f"""NAME = "k2_retries_total"
class Recorder:
    def __init__(self, d):
        self._kind = {{"data_type": d}}
    def _labels(self, d):
        return {{"data_type": d}}
    def _samples(self, d):
        yield {{"data_type": d}}, 1.0
    def record(self, d):
        {body}
"""
    assert [kind for _, kind in kinds(tmp_path, source)] == ["labels"]


def test_a_metric_that_nothing_records_is_a_warning_at_its_declaration(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("")
    findings = judge(DECLARED, recordings([tmp_path], ROOT, NAMES))
    assert {finding.kind for finding in findings} == {"never-recorded"}
    assert not any(finding.is_error for finding in findings)
    assert {finding.line for finding in findings} == {metric.line for metric in DECLARED}


def test_errors_block_and_warnings_do_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = tmp_path / "module.py"
    module.write_text('metrics.set("k2_connection_pool_size", 1, {"size": "x"})\n')
    assert main([str(module)]) == 1
    lines = capsys.readouterr().out.splitlines()
    expected = "error: labels: k2_connection_pool_size is recorded with the labels size; it takes none"
    assert lines[0] == f"{module}:1: {expected}"
    module.write_text('metrics.set("k2_connection_pool_size", 1)\n')
    assert main([str(module), "--json"]) == 0
    *findings, counts = map(json.loads, capsys.readouterr().out.splitlines())
    assert counts["warnings"] == len(findings) == len(DECLARED) - 1


def test_a_file_that_is_no_python_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "module.py").write_text("metrics.set(")
    assert main([str(tmp_path)]) == 1
    assert "module.py" in capsys.readouterr().err


def test_the_page_of_metrics_is_current_and_has_every_metric() -> None:
    text = document_metrics.PAGE.read_text(encoding="utf-8")
    assert text == document_metrics.page(), "run python scripts/document_metrics.py"
    assert document_metrics.main(["--check"]) == 0
    for metric in CATALOGUE:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{metric.name}` |"))
        assert f"| {metric.kind.value}, {metric.unit} |" in row
        assert ".py) `" in row

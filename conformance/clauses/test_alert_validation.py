"""`k2 alerts validate` finds what is wrong with alert rules, and where.

Each planted mistake MUST be found at its file and line, and rules that are right MUST pass (OBS-5).
"""

import json
import shutil
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.alert_rules import PROMETHEUS, ROOT
from conformance.drivers.dlq_command import k2
from conformance.drivers.facts import record_fact
from conformance.stacks.base import Stack

MISTAKES = (
    ("pipeline.yml", "rate(k2_sequence_gaps_total", "rate(k2_gaps_total", "expr", "expression-metric"),
    ("circuit_breaker.yml", 'k2_circuit_breaker_calls_total{outcome="failure"}',
     'k2_circuit_breaker_calls_total{result="failure"}', "expr", "expression-label"),
    ("consumer.yml", "changes(process_start_time_seconds", "increase(process_start_time_seconds", "expr",
     "expression-rate"),
    ("query.yml", "sum by (job) (rate(k2_query_timeouts_total[5m])) / sum", "rate(k2_query_timeouts_total[5m]) / sum",
     "expr", "expression-ratio"),
    ("infrastructure.yml", "docs/runbooks/disk-space-low.md", "docs/runbooks/disk-low.md", "alert", "runbook"),
    ("api.yml", "          dashboard: k2-api-metrics\n", "", "alert", "annotation"),
    ("producer.yml", "severity: high, ", "", "alert", "label"),
    ("warnings.yml", "alert: ConsumerLagHigh", "alert: ConsumerLagCritical", "alert", "duplicate"),
    ("objectives.yml", "interval: 30s", "interval: 5m", "first", "interval"),
)  # fmt: skip
"""File, what stands there, what shall stand there, where it must be found, and what it is called."""


@pytest.mark.clause(
    name="alert_validation",
    claims=("OBS-5a",),
    checker="facts",
    title="k2 alerts validate finds nothing in the rules, and each planted mistake at its place",
    minimum_samples=9,
    remedy="see k2/observability/alerts/validation.py",
)
def test_validation_finds_each_planted_mistake_at_its_place(clause: ClauseRun, stack: Stack, tmp_path: Path) -> None:
    with clause.history() as history:
        sound = k2(stack, "alerts", "validate", str(PROMETHEUS / "rules"), "--json")
        record_fact(history, "our rules", [0, 0], lambda: [sound.exit_code, len(sound.stdout.splitlines()) - 1])
        folder = tmp_path / "rules"
        shutil.copytree(PROMETHEUS / "rules", folder)
        expected = [plant(folder / file, old, new, place) for file, old, new, place, _ in MISTAKES]
        answer = k2(stack, "alerts", "validate", str(folder), "--root", str(ROOT), "--json")
        *findings, counts = [json.loads(line) for line in answer.stdout.splitlines()]
        found = {(Path(one["path"]).name, one["line"], one["kind"]) for one in findings}
        record_fact(history, "exit code", 1, lambda: answer.exit_code)
        record_fact(history, "findings", len(MISTAKES), lambda: counts["findings"])
        for (file, _, new, _, kind), line in zip(MISTAKES, expected, strict=True):
            place = (file, line, kind)
            record_fact(history, f"{kind} in {file}: {new}", True, lambda place=place: place in found)
    clause.judge()


def plant(path: Path, old: str, new: str, place: str) -> int:
    """Put a mistake into a file; the line it must be found at: its expression's, its alert's, or of the first rule.

    Raises:
        ValueError: what is to be replaced is not there.
    """
    text = path.read_text()
    if old not in text:
        raise ValueError(f"{path.name} has no {old}")
    path.write_text(text.replace(old, new, 1))
    lines = text.splitlines()
    if place == "first":
        return next(number for number, line in enumerate(lines, 1) if line.startswith("      - "))
    marker = "expr:" if place == "expr" else "- alert:"
    at = text[: text.index(old)].count("\n") + 1
    return next(number for number in range(at, 0, -1) if marker in lines[number - 1])

"""The lint of metrics finds what is planted into the platform's own code, before anything runs.

Recording a metric by a wrong name, with a label missing, surplus or misspelt, or by an operation its kind does not have
MUST be found with file and line and MUST block; code that is right MUST pass; and the whole of it MUST take less than
2 s (OBS-1). The time is that of the processor, so that it says nothing of the neighbours.
"""

import json
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.alert_rules import ROOT
from conformance.drivers.facts import record_fact

LIMIT_SECONDS = 2.0
SCRIPT = ROOT / "scripts" / "validate_metrics_labels.py"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake to plant: in a module, what stands there, what shall stand there, and what that is called."""

    module: str
    old: str
    new: str
    kind: str


MISTAKES = (
    Mistake("ingestion/producer_account.py", '"k2_producer_errors_total"', '"k2_producer_error_total"', "undeclared"),
    Mistake("ingestion/producer_account.py", '{**self._labels, "reason": reason}', "self._labels", "labels"),
    Mistake("ingestion/consumer.py", '"reason": retry.reason}', '"cause": retry.reason}', "labels"),
    Mistake("ingestion/consumer.py", 'count("k2_messages_received_total", kind,',
            'count("k2_messages_received_total", {"datatype": "trades"},', "labels"),
    Mistake("ingestion/consumer.py", '{**kind, "exchange": exchange}',
            '{**kind, "exchange": exchange, "symbol": exchange}', "labels"),
    Mistake("storage/transaction_log.py", '{"table": self._table, "error": type(error).__name__}',
            '{"table_name": self._table, "error": type(error).__name__}', "labels"),
    Mistake("storage/transaction_log.py", '.observe("k2_iceberg_transaction_seconds", duration_ms / 1e3, ',
            '.increment("k2_iceberg_transaction_seconds", ', "operation"),
    Mistake("query/pool.py", '.set("k2_connection_pool_size", pool_size)',
            '.set("k2_connection_pool_size", pool_size, {"pool": "x"})', "labels"),
    Mistake("api/freshness.py", '{"data_type": data_type, "exchange": entry.exchange}, measure',
            '{"data_type": data_type}, measure', "labels"),
)  # fmt: skip


@pytest.mark.clause(
    name="metrics_lint",
    claims=("OBS-1b",),
    checker="facts",
    title="Planted mistakes in recording metrics are found at their line, and the lint takes less than 2 s",
    minimum_samples=len(MISTAKES) + 3,
    remedy="see scripts/validate_metrics_labels.py and scripts/metric_calls.py",
)
def test_planted_mistakes_in_recording_metrics_are_found(clause: ClauseRun, tmp_path: Path) -> None:
    with clause.history() as history:
        before = processor_seconds()
        exit_code, findings, counts = lint(ROOT / "k2")
        spent_seconds = processor_seconds() - before
        record_fact(history, "errors in the platform's code", [0, []], lambda: [exit_code, findings])
        record_fact(history, "it read the whole catalogue", True, lambda: counts["metrics"] >= 45)
        record_fact(history, f"less than {LIMIT_SECONDS:g} s", True, lambda: spent_seconds < LIMIT_SECONDS)
        clause.note(f"{counts['metrics']} metrics, {counts['recordings']} recordings in {spent_seconds:.2f} s")
        for number, mistake in enumerate(MISTAKES):
            module, line = plant(mistake, tmp_path / str(number))
            name = f"{mistake.module}: {mistake.new}"
            record_fact(history, name, [1, [[line, mistake.kind]]], found_errors, module)
    clause.judge()


def plant(mistake: Mistake, folder: Path) -> tuple[Path, int]:
    """Copy a module with the mistake in it: the copy, and the line it is found at.

    Raises:
        ValueError: what is to be replaced is not there.
    """
    folder.mkdir()
    copy = Path(shutil.copy(ROOT / "k2" / mistake.module, folder))
    text = copy.read_text()
    if mistake.old not in text:
        raise ValueError(f"{mistake.module} has no {mistake.old}")
    copy.write_text(text.replace(mistake.old, mistake.new, 1))
    return copy, recording_line(text, mistake)


def recording_line(text: str, mistake: Mistake) -> int:
    """The line of the call that records with what is planted, which is where a reader must look."""
    at = text[: text.index(mistake.old)].count("\n") + 1
    lines = text.splitlines()
    if "compute(" in text and "measure" in mistake.old:
        return next(number for number, line in enumerate(lines, 1) if "metrics.compute(" in line)
    if any(word in lines[at - 1] for word in ("increment(", "observe(", ".set(", "count(")):
        return at
    return next(number for number, line in enumerate(lines[at:], at + 1) if "increment(" in line)


def found_errors(module: Path) -> list[Any]:
    """Exit code of the lint, and line and kind of the first error it finds."""
    exit_code, findings, _ = lint(module)
    return [exit_code, [[finding["line"], finding["kind"]] for finding in findings][:1]]


def lint(path: Path) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    """Run it: exit code, errors, and what it counted."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", str(path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    *findings, counts = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, [finding for finding in findings if finding["is_error"]], counts


def processor_seconds() -> float:
    """What the children that have ended took of the processor."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

"""Check every recording of a metric against the catalogue: its name, its labels, the operation of its kind.

    python scripts/validate_metrics_labels.py [--json] [FOLDER ...]      k2 if none is named

Reads the code and runs none of it, so it answers before a commit. Where labels are built at run time it follows the
names it can: literals, {**labels, ...}, names bound in the same function, class or module. What it cannot follow it
leaves to Metrics, which refuses wrong labels at the call.

Errors (exit status 1): undeclared, labels, operation.
Warnings: never-recorded (declared, and nothing records it), unbounded (a label whose value looks as if there were no
end of them: a symbol, an id, a text of an error), unfollowed.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from scripts.metric_calls import CATALOGUE_FILE, DeclaredMetric, Recording, declared_metrics, recordings  # noqa: E402

KIND_OF_OPERATION = {
    "increment": "counter",
    "count": "counter",
    "set": "gauge",
    "compute": "gauge",
    "observe": "histogram",
}
UNBOUNDED = ("symbol", "_id", "uuid", "message", "offset", "trace", "path", "url", "str(error)", "query_text")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend, or to look at.

    Attributes:
        path: file, relative to the project.
        line: from 1.
        kind: undeclared, labels, operation, never-recorded, unbounded or unfollowed.
        is_error: whether it must be mended.
        problem: what is wrong.
        remedy: what to do.
    """

    path: str
    line: int
    kind: str
    is_error: bool
    problem: str
    remedy: str


def judge(declared: Sequence[DeclaredMetric], found: Sequence[Recording]) -> list[Finding]:
    """Every finding, in the order of files and lines; declared metrics that nothing records come last."""
    by_name = {metric.name: metric for metric in declared}
    findings = [finding for recording in found for finding in _judge_one(recording, by_name)]
    recorded = {recording.metric for recording in found}
    for metric in declared:
        if metric.name not in recorded:
            problem = f"{metric.name} is declared and never recorded"
            remedy = "record it, or take it out of the catalogue"
            findings.append(Finding(CATALOGUE_FILE, metric.line, "never-recorded", False, problem, remedy))
    return findings


def _judge_one(recording: Recording, by_name: dict[str, DeclaredMetric]) -> Iterator[Finding]:
    def finding(kind: str, problem: str, remedy: str, *, is_error: bool = True) -> Finding:
        return Finding(recording.path, recording.line, kind, is_error, problem, remedy)

    metric = by_name.get(recording.metric)
    if metric is None:
        remedy = f"declare it in {CATALOGUE_FILE}, or mend its name"
        yield finding("undeclared", f"{recording.metric} is not declared", remedy)
        return
    kind = KIND_OF_OPERATION[recording.operation]
    if kind != metric.kind:
        remedy = f"a {metric.kind} is recorded by {_operation_of(metric.kind)}()"
        yield finding("operation", f"{recording.operation}() of {metric.name}, which is a {metric.kind}", remedy)
    if recording.labels is None:
        if recording.operation != "compute":
            remedy = "give its labels as a literal, or bind them in the same function"
            problem = f"the labels of {metric.name} cannot be followed from here"
            yield finding("unfollowed", problem, remedy, is_error=False)
    elif set(recording.labels) != set(metric.labels):
        problem = f"{metric.name} is recorded with the labels {_listed(recording.labels)}"
        yield finding("labels", problem, f"it takes {_listed(metric.labels)}")
    for label, value in recording.values.items():
        if any(part in value.lower() for part in UNBOUNDED):
            problem = f"{metric.name}: the values of {label} ({value}) may have no end"
            remedy = "each makes a series of its own, kept for good: use a class of it"
            yield finding("unbounded", problem, remedy, is_error=False)


def _operation_of(kind: str) -> str:
    return next(operation for operation, its_kind in KIND_OF_OPERATION.items() if its_kind == kind)


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(sorted(labels)) or "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", default=["k2"], help="what is searched; default k2")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object a line")
    options = parser.parse_args(arguments)
    declared = declared_metrics(ROOT / CATALOGUE_FILE)
    try:
        found = recordings([Path(folder) for folder in options.folders], ROOT, {metric.name for metric in declared})
    except (OSError, SyntaxError) as error:
        print(f"validate_metrics_labels: {error}", file=sys.stderr)
        return 1
    findings = judge(declared, found)
    for finding in findings:
        if options.as_json:
            print(json.dumps(asdict(finding)))
        else:
            level = "error" if finding.is_error else "warning"
            print(f"{finding.path}:{finding.line}: {level}: {finding.kind}: {finding.problem}; {finding.remedy}")
    errors = sum(finding.is_error for finding in findings)
    counts = {
        "metrics": len(declared),
        "recordings": len(found),
        "errors": errors,
        "warnings": len(findings) - errors,
        "cpu_seconds": round(time.process_time(), 3),
    }
    if options.as_json:
        print(json.dumps(counts))
    else:
        print(
            f"{counts['metrics']} metrics, {counts['recordings']} recordings: {errors} errors, "
            f"{counts['warnings']} warnings in {counts['cpu_seconds']:.2f} s"
        )
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())

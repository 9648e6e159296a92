"""Run directories made to order: each piece is what a flawless harness writes, unless a test changes it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from reports.readiness.assessment import Assessment, assess
from reports.readiness.registry import Registry
from reports.readiness.rubric import Rubric
from reports.readiness.ruler import Ruler, RulerFiles, load_ruler
from reports.readiness.waivers import Waiver

ROOT = Path(__file__).resolve().parents[2]
RULER: Ruler = replace(load_ruler(RulerFiles(ROOT)), waivers=())
REGISTRY: Registry = RULER.registry
RUBRIC: Rubric = RULER.rubric
TODAY = date(2026, 11, 21)
CLAIM_IDS = tuple(claim.id for claim in REGISTRY.claims())

Line = dict[str, Any]
# Stands for a history that fits the verdict, until the run is written.
FITTING = "a fitting history"


def run_record(**changes: Any) -> Line:
    """A line of run.json; a change to None leaves the key out."""
    record = {
        "format": 1,
        "run_id": "20261121T094500Z-1a2b3c",
        "started_at": "2026-11-21T09:45:00Z",
        "ended_at": "2026-11-21T09:51:12Z",
        "profile": "full",
        "stack": "embedded",
        "git_commit": "8a51c0de8a51c0de8a51c0de8a51c0de8a51c0de",
        "git_dirty": False,
        "versions": {"duckdb": "2.0.1", "librdkafka": "2.16.0", "pyiceberg": "0.12.0"},
        "host": {
            "cores": 2,
            "memory_bytes": 25_276_502_016,
            "load_average": [0.42, 0.37, 0.2],
            "python": "3.11.7",
            "kernel": "6.12.0",
        },
        "command": "make readiness",
        "exit_status": 0,
        **changes,
    }
    return {name: value for name, value in record.items() if value is not None}


def verdict(clause: str, /, *claims: str, **changes: Any) -> Line:
    """A line of verdicts.jsonl: a pass on 1,000 samples, judged by the checker "delivery", with a history of it."""
    return {
        "clause": clause,
        "title": f"The clause {clause}",
        "claims": list(claims),
        "verdict": "pass",
        "reason": "",
        "remedy": "",
        "samples": 1_000,
        "minimum_samples": 1,
        "stack": "embedded",
        "seconds": 1.5,
        "checker": "delivery",
        "history": FITTING,
        "history_sha256": None,
        "findings": [],
        "retries": 0,
        **changes,
    }


def checker(name: str = "delivery", **changes: Any) -> Line:
    """A line of checkers.jsonl: everything planted was caught."""
    return {"checker": name, "planted": 7, "caught": 7, "missed": [], "clean_runs": 3, "false_alarms": 0, **changes}


def mutant(clause: str, **changes: Any) -> Line:
    """A line of mutants.jsonl: killed."""
    return {
        "mutant": "offsets_trusted_from_kafka",
        "clause": clause,
        "verdict": "killed",
        "reason": "noticed",
        **changes,
    }


def everything_proven(stack: str = "external") -> list[Line]:
    """One passing clause for every claim of the registry."""
    return [verdict(f"clause_of_{claim}", claim, stack=stack) for claim in CLAIM_IDS]


def write_run(
    directory: Path,
    verdicts: Iterable[Mapping[str, Any]] = (),
    *,
    checkers: Iterable[Mapping[str, Any]] | None = None,
    mutants: Iterable[Mapping[str, Any]] = (),
    run: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run directory, with the histories its verdicts rest on; returns it. Its stack is that of its verdicts."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [with_history(directory, line) for line in verdicts]
    stack = next((line["stack"] for line in written if line.get("stack")), "embedded")
    (directory / "run.json").write_text(json.dumps(run_record(stack=stack) if run is None else run))
    lines = {
        "verdicts.jsonl": written,
        "checkers.jsonl": [checker()] if checkers is None else checkers,
        "mutants.jsonl": mutants,
    }
    for name, values in lines.items():
        (directory / name).write_text("".join(f"{json.dumps(value)}\n" for value in values))
    return directory


def with_history(run: Path, line: Mapping[str, Any]) -> Line:
    """The line with a history that fits it, where it asks for one."""
    if line.get("history") != FITTING:
        return dict(line)
    return {**line, **write_history(run, str(line.get("clause") or "nameless").replace("/", "-"), line)}


def write_history(run: Path, name: str, line: Mapping[str, Any]) -> dict[str, str]:
    """Write a history of one file; returns the two fields that point at it."""
    directory = run / "histories" / name
    directory.mkdir(parents=True, exist_ok=True)
    header = {key: line.get(key) for key in ("clause", "claims", "checker", "stack")}
    content = json.dumps({"type": "header", **header}) + "\n" + '{"type":"end","operations":0}\n'
    (directory / "history.jsonl").write_text(content)
    file_hash = hashlib.sha256(content.encode()).hexdigest()
    return {
        "history": f"histories/{name}",
        "history_sha256": hashlib.sha256(f"{file_hash}  history.jsonl\n".encode()).hexdigest(),
    }


def assessed(*directories: Path, waivers: tuple[Waiver, ...] = ()) -> Assessment:
    """Runs judged by this checkout's ruler, on the day they are of."""
    return assess(directories, replace(RULER, waivers=waivers), TODAY)

"""Run directories made to order: each piece is what a flawless harness writes, unless a test changes it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reports.readiness.registry import Registry, load_registry
from reports.readiness.rubric import Rubric, load_rubric

ROOT = Path(__file__).resolve().parents[2]
REGISTRY: Registry = load_registry(ROOT / "conformance" / "requirements.toml")
RUBRIC: Rubric = load_rubric(ROOT / "reports" / "readiness" / "rubric.toml", REGISTRY)
CLAIM_IDS = tuple(claim.id for claim in REGISTRY.claims())

Line = dict[str, Any]


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
    """A line of verdicts.jsonl: a pass on 1,000 samples, judged by the checker "delivery"."""
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
        "history": None,
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
    """Write a run directory; returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_text(json.dumps(run_record() if run is None else run))
    lines = {
        "verdicts.jsonl": verdicts,
        "checkers.jsonl": [checker()] if checkers is None else checkers,
        "mutants.jsonl": mutants,
    }
    for name, values in lines.items():
        (directory / name).write_text("".join(f"{json.dumps(value)}\n" for value in values))
    return directory


def write_history(run: Path, name: str, content: str = '{"operation":"produce"}\n') -> dict[str, str]:
    """Write a history of one file; returns the two fields that point at it."""
    directory = run / "histories" / name
    directory.mkdir(parents=True)
    (directory / "history.jsonl").write_text(content)
    file_hash = hashlib.sha256(content.encode()).hexdigest()
    return {
        "history": f"histories/{name}",
        "history_sha256": hashlib.sha256(f"{file_hash}  history.jsonl\n".encode()).hexdigest(),
    }

"""Run directories made up to be judged: one clause, with a real history that the checker of facts has judged."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from conformance.history import Header, HistoryWriter, history_sha256
from conformance.judge import judge
from conformance.planted.run import SUITES, run_suite

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CLAIM = "HAR-6c"
_RUN = {
    "format": 1, "run_id": "crafted", "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:00Z",
    "profile": "smoke", "stack": "embedded", "git_commit": "", "git_dirty": False, "versions": {}, "command": "",
    "host": {"cores": 2, "memory_bytes": 1, "load_average": [0, 0, 0], "python": "3", "kernel": ""}, "exit_status": 0,
}  # fmt: skip


def write_run(directory: Path, verdict: str | None = "pass", **run: Any) -> Path:
    """A run with one clause that ended so, or with none; `run` changes run.json. Returns the directory."""
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps({**_RUN, **run}))
    (directory / "checkers.jsonl").write_text(json.dumps(_kills_of_facts()) + "\n")
    (directory / "mutants.jsonl").touch()
    lines = "" if verdict is None else json.dumps(_verdict_line(directory, verdict)) + "\n"
    (directory / "verdicts.jsonl").write_text(lines)
    return directory


def copy_ruler(place: Path) -> Path:
    """The command line and the ruler of this checkout, in a place where they can be changed; returns it."""
    shutil.copytree(PROJECT_ROOT / "reports", place / "reports", ignore=shutil.ignore_patterns("runs", "__pycache__"))
    (place / "conformance").mkdir()
    shutil.copy(PROJECT_ROOT / "conformance" / "requirements.toml", place / "conformance")
    shutil.copytree(PROJECT_ROOT / "conformance" / "checkers", place / "conformance" / "checkers")
    return place


def edit_verdict(directory: Path, **changes: Any) -> None:
    """Change the one verdict of a run, and nothing else."""
    path = directory / "verdicts.jsonl"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}) + "\n")


def reports(command: str, *arguments: str | Path, root: Path = PROJECT_ROOT) -> int:
    """Exit status of `python -m reports COMMAND ...`, run below a checkout."""
    return asked(command, *arguments, root=root).returncode


def asked(command: str, *arguments: str | Path, root: Path = PROJECT_ROOT) -> "subprocess.CompletedProcess[str]":
    """`python -m reports COMMAND ...`, with what it printed."""
    line: Sequence[str] = [sys.executable, "-m", "reports", command, *map(str, arguments)]
    return subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)


@cache
def _kills_of_facts() -> dict[str, Any]:
    return next(run_suite(suite).as_json() for suite in SUITES if suite.checker == "facts")


def _verdict_line(directory: Path, verdict: str) -> dict[str, Any]:
    path = directory / "histories" / "crafted"
    # Two facts are asked for where one is recorded: that is unknown.
    needed = 2 if verdict == "unknown" else 1
    header = Header("crafted", (CLAIM,), "facts", 0, "embedded", 0, {"minimum_samples": needed})
    with HistoryWriter(path, header) as writer:
        seen = {"name": "x", "expected": 1, "observed": 2 if verdict == "fail" else 1}
        writer.operation("harness", "fact", "ok", attributes=seen)
    judged = judge(path)
    assert judged.outcome == verdict
    return {
        "clause": "crafted", "title": "crafted", "claims": [CLAIM], "remedy": "", "minimum_samples": needed,
        "stack": "embedded", "seconds": 0.1, "checker": "facts", "history": "histories/crafted",
        "history_sha256": history_sha256(path), "retries": 0, **judged.as_json(),
    }  # fmt: skip

"""The harness holds itself to its own standard.

Stored histories MUST be judged again to the same verdict without a stack (HAR-6a); every checker MUST catch its
planted defects and stay silent on clean histories (HAR-6b); what cannot be decided MUST be unknown, never a pass
(HAR-6c); clauses MUST exist for sequence, delivery, body limits and time limits (HAR-2a); a run MUST give a card in
every format and a gate that tells failed, unknown and broken apart (HAR-5a). It runs last, on the evidence of the
clauses before it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance import planted
from conformance.checkers.registry import CHECKERS
from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.history import Header, HistoryWriter
from conformance.judge import judge
from conformance.run import PROJECT_ROOT

pytestmark = pytest.mark.alone

NEEDED_CHECKERS = {"sequence", "delivery", "request_limits", "time_limits"}
RUN_DOCUMENT = {
    "format": 1, "run_id": "crafted", "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:00Z",
    "profile": "smoke", "stack": "embedded", "git_commit": "", "git_dirty": False, "versions": {}, "command": "",
    "host": {"cores": 2, "memory_bytes": 1, "load_average": [0, 0, 0], "python": "3", "kernel": ""}, "exit_status": 0,
}  # fmt: skip


@pytest.mark.clause(
    name="harness/histories_judged_again",
    claims=("HAR-6a",),
    checker="facts",
    title="Every stored history of this run is judged again, offline, to the verdict it got",
    remedy="python -m conformance judge reports/runs/latest shows what changed",
)
def test_every_stored_history_is_judged_again_to_the_same_verdict(
    clause: ClauseRun, request: pytest.FixtureRequest
) -> None:
    run_directory = request.config.getoption("--k2-run-dir")
    kept = {line["history"]: line["verdict"] for line in verdict_lines(request) if line["history"]}
    if not kept:
        pytest.skip("no clause before it left a history")
    with clause.history() as history:
        for path, verdict in kept.items():
            record_fact(history, path, verdict, outcome_of, run_directory / path)
    clause.judge()


@pytest.mark.clause(
    name="harness/clauses_exist",
    claims=("HAR-2a",),
    checker="facts",
    title="Clauses on sequences, delivery, body limits and time limits were run",
    remedy="see conformance/clauses",
)
def test_clauses_on_sequences_delivery_and_limits_were_run(clause: ClauseRun, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--k2-only") or request.config.getoption("keyword"):
        pytest.skip("only some clauses were selected")
    with clause.history() as history:
        exercised = {line["checker"] for line in verdict_lines(request)}
        record_fact(history, "kinds of clause", sorted(NEEDED_CHECKERS), lambda: sorted(NEEDED_CHECKERS & exercised))
    clause.judge()


@pytest.mark.clause(
    name="harness/planted_defects",
    claims=("HAR-6b",),
    checker="facts",
    title="Every checker catches all its planted defects and raises no alarm on clean histories",
    minimum_samples=40,
    remedy="the finding names the defect; see conformance/planted",
)
def test_every_checker_catches_its_planted_defects(clause: ClauseRun) -> None:
    with clause.history() as history:
        results = planted.run_all()
        for result in results:
            record_fact(history, f"{result.checker}: missed", [], list, result.missed, samples=result.planted)
            record_fact(
                history, f"{result.checker}: false alarms", 0, int, result.false_alarms, samples=result.clean_runs
            )
        record_fact(history, "checkers examined", sorted(CHECKERS), lambda: sorted(r.checker for r in results))
    clause.judge()


@pytest.mark.clause(
    name="harness/unknown_is_a_verdict",
    claims=("HAR-6c",),
    checker="facts",
    title="A history that broke off, is damaged, too small or without its fault is unknown, never passed",
    minimum_samples=4,
    remedy="see conformance/checkers/verdict.py",
)
def test_what_cannot_be_decided_is_unknown(clause: ClauseRun, tmp_path: Path) -> None:
    with clause.history() as history:
        for name, make in (
            ("broken off", broken_off),
            ("damaged", damaged),
            ("too few samples", too_few),
            ("no such checker", no_such_checker),
        ):
            path = tmp_path / name.replace(" ", "-")
            make(path)
            record_fact(history, name, "unknown", outcome_of, path)
    clause.judge()


@pytest.mark.clause(
    name="harness/card_and_gate",
    claims=("HAR-5a",),
    checker="facts",
    title="A run gives HTML, JSON and Markdown cards, and the gate tells passed, failed, unknown and broken apart",
    minimum_samples=8,
    remedy="see reports/readiness/gate.py",
)
def test_a_run_gives_a_card_and_the_gate_tells_outcomes_apart(clause: ClauseRun, tmp_path: Path) -> None:
    cases = {"pass": 0, "fail": 1, "unknown": 2}
    with clause.history() as history:
        for verdict, status in cases.items():
            run_directory = crafted_run(tmp_path / verdict, verdict)
            record_fact(history, f"gate on a run that is {verdict}", status, reports, "gate", run_directory)
            record_fact(history, f"card of a run that is {verdict}", 0, reports, "card", run_directory)
            for file in ("index.html", "card.json", "card.md"):
                record_fact(
                    history,
                    f"{file} of a run that is {verdict}",
                    True,
                    is_not_empty,
                    run_directory / file,
                )
        empty = crafted_run(tmp_path / "empty", None)
        record_fact(history, "gate on a run without clauses", 2, reports, "gate", empty)
        broken = crafted_run(tmp_path / "broken", "pass")
        (broken / "verdicts.jsonl").write_text("{not json\n")
        record_fact(history, "gate on malformed evidence", 3, reports, "gate", broken)
    clause.judge()


def verdict_lines(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The verdicts of the clauses that ran before."""
    run_directory: Path | None = request.config.getoption("--k2-run-dir")
    if run_directory is None or not (run_directory / "verdicts.jsonl").exists():
        return []
    return [json.loads(line) for line in (run_directory / "verdicts.jsonl").read_text().splitlines()]


def broken_off(path: Path) -> None:
    """A history without its end line."""
    writer = HistoryWriter(path, header())
    writer.operation("harness", "fact", "ok", attributes={"name": "x", "expected": 1, "observed": 1})
    try:
        with writer:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return


def damaged(path: Path) -> None:
    """A history with a line cut in the middle."""
    too_few(path)
    file = path / "history.jsonl"
    file.write_bytes(file.read_bytes()[:-20])


def too_few(path: Path) -> None:
    """One sample where two are needed."""
    with HistoryWriter(path, header(minimum_samples=2)) as writer:
        writer.operation("harness", "fact", "ok", attributes={"name": "x", "expected": 1, "observed": 1})


def no_such_checker(path: Path) -> None:
    """A checker that does not exist."""
    with HistoryWriter(path, header(checker="nobody")):
        return


def outcome_of(path: Path) -> str:
    """What judging a history comes to."""
    return judge(path).outcome.value


def is_not_empty(path: Path) -> bool:
    """Whether a file holds more than a title."""
    return path.stat().st_size > 100


def header(checker: str = "facts", minimum_samples: int = 1) -> Header:
    """A header for a crafted history."""
    return Header("crafted", ("HAR-6c",), checker, 0, "embedded", 0, {"minimum_samples": minimum_samples})


def crafted_run(directory: Path, verdict: str | None) -> Path:
    """A run directory with one verdict, or none."""
    directory.mkdir()
    (directory / "run.json").write_text(json.dumps(RUN_DOCUMENT))
    for name in ("verdicts.jsonl", "checkers.jsonl", "mutants.jsonl"):
        (directory / name).touch()
    (directory / "checkers.jsonl").write_text(
        '{"checker":"facts","planted":1,"caught":1,"missed":[],"clean_runs":3,"false_alarms":0}\n'
    )
    if verdict is not None:
        line = {
            "clause": "crafted", "title": "crafted", "claims": ["HAR-6c"], "verdict": verdict, "reason": "crafted",
            "remedy": "", "samples": 5, "minimum_samples": 1, "stack": "embedded", "seconds": 0.1, "checker": "facts",
            "history": None, "history_sha256": None, "findings": [], "retries": 0,
        }  # fmt: skip
        (directory / "verdicts.jsonl").write_text(json.dumps(line) + "\n")
    return directory


def reports(command: str, directory: Path) -> int:
    """Exit status of `python -m reports`; the gate asks for no minimum score."""
    arguments = ["--min", "0"] if command == "gate" else []
    return subprocess.run(
        [sys.executable, "-m", "reports", command, str(directory), *arguments],
        cwd=PROJECT_ROOT,
        capture_output=True,
        check=False,
    ).returncode

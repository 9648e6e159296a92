"""The harness holds itself to its own standard.

Stored histories MUST be judged again to the same verdict without a stack (HAR-6a); every checker MUST catch its
planted defects and stay silent on clean histories (HAR-6b); what cannot be decided MUST be unknown, never a pass
(HAR-6c); clauses MUST exist for sequence, delivery, body limits and time limits (HAR-2a). It runs last, on the
evidence of the clauses before it.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from conformance import planted
from conformance.checkers.registry import CHECKERS
from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.history import Header, HistoryWriter
from conformance.judge import judge

pytestmark = pytest.mark.alone

NEEDED_CHECKERS = {"sequence", "delivery", "request_limits", "time_limits"}


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


def header(checker: str = "facts", minimum_samples: int = 1) -> Header:
    """A header for a crafted history."""
    return Header("crafted", ("HAR-6c",), checker, 0, "embedded", 0, {"minimum_samples": minimum_samples})

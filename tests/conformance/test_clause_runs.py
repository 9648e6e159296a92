"""Clauses as they are run: the line of evidence of one that passes, fails, breaks and skips, and their selection."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.clauses.conftest import time_left

ROOT = Path(__file__).resolve().parents[2]
CLAUSES = """
import pytest
from conformance.drivers.facts import record_fact

def declared(name, claim):
    return pytest.mark.clause(name=name, claims=(claim,), checker="facts", title=name, remedy="look here")

def decide(clause, seen):
    with clause.history() as history:
        record_fact(history, "answer", 42, lambda: seen)
    clause.judge()

@declared("holds", "CON-3b")
def test_holds(clause):
    clause.note("measured: 42")
    decide(clause, 42)

@declared("broken/promise", "CON-3a")
@pytest.mark.alone
def test_fails(clause):
    decide(clause, 41)

@declared("crash", "API-1a")
def test_crashes(clause):
    raise RuntimeError("the harness fell")

@pytest.fixture
def nothing_to_run_on():
    raise OSError("no disk")

@declared("setup", "API-1b")
def test_setup_crashes(nothing_to_run_on, clause):
    pass

@declared("skipped", "API-2a")
def test_skips(clause):
    pytest.skip("no captures")

@declared("cases", "REC-1a")
@pytest.mark.parametrize("seen", [42, 7])
def test_cases(clause, seen):
    decide(clause, seen)
"""


EXERCISED = ("holds", "broken/promise", "crash", "setup", "cases/42", "cases/7")
ALL_CLAUSES = (*EXERCISED, "skipped")


def run(folder: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    """The lines of evidence by clause."""
    (folder / "test_crafted.py").write_text(CLAUSES)
    run_directory = folder / "run"
    run_directory.mkdir()
    plugins = ("-p", "no:cacheprovider", "-p", "conformance.clauses.conftest")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "test_crafted.py", *plugins, f"--k2-run-dir={run_directory}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    path = run_directory / "verdicts.jsonl"
    assert path.exists(), answer.stdout + answer.stderr
    listed = [json.loads(line)["clause"] for line in (run_directory / "clauses.jsonl").read_text().splitlines()]
    assert sorted(listed) == sorted(ALL_CLAUSES)
    (folder / "output").write_text(answer.stdout)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["clause"] for line in lines}) == len(lines)
    return {line["clause"]: line for line in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clauses")


@pytest.fixture(scope="module")
def lines(folder: Path) -> dict[str, dict[str, Any]]:
    return run(folder)


def test_every_clause_that_was_exercised_has_one_line(lines: dict[str, dict[str, Any]]) -> None:
    assert {name: line["verdict"] for name, line in lines.items()} == {
        "holds": "pass",
        "broken/promise": "fail",
        "crash": "unknown",
        "setup": "unknown",
        "cases/42": "pass",
        "cases/7": "fail",
    }


def test_a_decided_clause_points_to_its_history(lines: dict[str, dict[str, Any]], folder: Path) -> None:
    line = lines["broken/promise"]
    assert line["history"] == "histories/broken-promise"
    assert (folder / "run" / line["history"] / "history.jsonl").exists()
    assert len(line["history_sha256"]) == 64
    assert line["findings"][0]["kind"] == "differs"
    assert (line["remedy"], lines["holds"]["remedy"]) == ("look here", "")


def test_a_clause_that_broke_is_an_error_of_the_harness(lines: dict[str, dict[str, Any]]) -> None:
    assert lines["crash"]["reason"] == "harness error: RuntimeError: the harness fell"
    assert lines["setup"]["reason"] == "harness error: OSError: no disk"
    assert lines["crash"]["history"] is None


@pytest.mark.parametrize(
    ("only", "names"), [("hol", {"holds"}), ("CON-3a", {"broken/promise"}), ("CON-3", {"holds", "broken/promise"})]
)
def test_clauses_are_selected_by_name_claim_and_requirement(tmp_path: Path, only: str, names: set[str]) -> None:
    assert set(run(tmp_path, f"--k2-only={only}")) == names


def test_workers_side_by_side_leave_the_same_evidence(tmp_path: Path, lines: dict[str, dict[str, Any]]) -> None:
    side_by_side = run(tmp_path, "-n", "2")
    assert {name: line["verdict"] for name, line in side_by_side.items()} == {
        name: line["verdict"] for name, line in lines.items()
    }
    assert "[ 7/7]" in (tmp_path / "output").read_text()


def test_a_measured_figure_is_shown_with_the_verdict(tmp_path: Path) -> None:
    run(tmp_path, "--k2-only=holds", "-n", "1")
    assert "        measured: 42\n" in (tmp_path / "output").read_text()


@pytest.mark.parametrize(
    ("which", "names"), [("alone", {"broken/promise"}), ("together", {*EXERCISED} - {"broken/promise"})]
)
def test_a_pass_runs_its_own_clauses(tmp_path: Path, which: str, names: set[str]) -> None:
    assert set(run(tmp_path, f"--k2-pass={which}")) == names


def test_the_time_left_is_told_once_enough_is_done() -> None:
    assert time_left(4, 100, 40.0) == ""
    assert time_left(20, 100, 40.0) == ", about 160 s left"
    assert time_left(100, 100, 40.0) == ", about 0 s left"

"""What a run directory says, and what makes it untrustworthy."""

import json
from pathlib import Path
from typing import Any

import pytest

from reports.readiness.evidence import Evidence, read_evidence
from reports.readiness.history_hash import history_sha256
from tests.reports.crafted_run import REGISTRY, checker, mutant, run_record, verdict, write_history, write_run


def read(directory: Path) -> Evidence:
    return read_evidence(directory, REGISTRY)


def test_a_flawless_run_has_no_problem(tmp_path: Path) -> None:
    run = write_run(tmp_path, [verdict("kill", "CON-3b")], mutants=[mutant("kill")])
    history = write_history(run, "kill")
    write_run(tmp_path, [verdict("kill", "CON-3b", **history)], mutants=[mutant("kill")])
    evidence = read(run)
    assert evidence.problems == ()
    assert [clause.clause for clause in evidence.clauses] == ["kill"]
    assert evidence.intact == {"histories/kill"}


@pytest.mark.parametrize("name", ["run.json", "verdicts.jsonl", "checkers.jsonl", "mutants.jsonl"])
def test_a_missing_file_is_a_problem(tmp_path: Path, name: str) -> None:
    (write_run(tmp_path) / name).unlink()
    assert read(tmp_path).problems == (f"{name} cannot be read: No such file or directory",)


@pytest.mark.parametrize("name", ["verdicts.jsonl", "checkers.jsonl", "mutants.jsonl"])
def test_a_line_cut_off_is_a_problem_with_its_number(tmp_path: Path, name: str) -> None:
    path = write_run(tmp_path, [verdict("kill", "CON-3b")], mutants=[mutant("kill")]) / name
    path.write_bytes(path.read_bytes() + b'{"clause": "ki')
    (problem,) = read(tmp_path).problems
    assert problem.startswith(f"{name} line 2: ")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"verdict": "skipped"}, "verdict: Input should be 'pass', 'fail' or 'unknown'"),
        ({"samples": "1000"}, "samples: Input should be a valid integer"),
        ({"samples": -1}, "samples: Input should be greater than or equal to 0"),
        ({"claims": []}, "claims: Tuple should have at least 1 item"),
        ({"stack": "laptop"}, "stack: Input should be 'embedded', 'containers' or 'external'"),
        ({"retries": 0.5}, "retries: Input should be a valid integer"),
        ({"seconds": float("nan")}, "seconds: Input should be a finite number"),
        ({"clause": ""}, "clause: String should have at least 1 character"),
    ],
)
def test_a_malformed_verdict_is_a_problem(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    (problem,) = read(write_run(tmp_path, [verdict("kill", "CON-3b", **change)])).problems
    assert complaint in problem


@pytest.mark.parametrize("name", ["clause", "claims", "verdict", "samples", "minimum_samples", "stack", "checker"])
def test_a_verdict_without_what_decides_it_is_a_problem(tmp_path: Path, name: str) -> None:
    line = verdict("kill", "CON-3b")
    del line[name]
    (problem,) = read(write_run(tmp_path, [line])).problems
    assert problem == f"verdicts.jsonl line 1: {name}: Field required"


def test_a_claim_that_is_not_registered_is_a_problem(tmp_path: Path) -> None:
    (problem,) = read(write_run(tmp_path, [verdict("kill", "CON-3z")])).problems
    assert problem == "verdicts.jsonl: kill cites CON-3z, which the registry does not have"


def test_a_requirement_is_not_a_claim(tmp_path: Path) -> None:
    assert "cites CON-3, which" in read(write_run(tmp_path, [verdict("kill", "CON-3")])).problems[0]


def test_a_claim_cited_twice_by_one_clause_is_a_problem(tmp_path: Path) -> None:
    assert read(write_run(tmp_path, [verdict("kill", "CON-3b", "CON-3b")])).problems == (
        "verdicts.jsonl: kill cites CON-3b twice",
    )


def test_a_checker_reported_twice_is_a_problem(tmp_path: Path) -> None:
    assert read(write_run(tmp_path, checkers=[checker(), checker(caught=0)])).problems == (
        "checkers.jsonl: the checker delivery is there twice",
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ended_at": None}, "the run was cut off"),
        ({"ended_at": "2026-11-21T09:44:59Z"}, "ended_at is before started_at"),
        ({"format": 2}, "format: Input should be 1"),
        ({"started_at": "yesterday"}, "started_at: Input should be a valid datetime"),
        ({"exit_status": 3}, "ended with status 3 although no line says why"),
    ],
)
def test_a_run_that_cannot_be_trusted_is_a_problem(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    (problem,) = read(write_run(tmp_path, [verdict("kill", "CON-3b")], run=run_record(**change))).problems
    assert complaint in problem


@pytest.mark.parametrize(
    "explanation",
    [
        {"verdicts": [verdict("kill", "CON-3b", verdict="fail")]},
        {"verdicts": [verdict("kill", "CON-3b", verdict="unknown")]},
        {"mutants": [mutant("kill", verdict="survived")]},
        {"checkers": [checker(caught=6)]},
    ],
)
def test_a_status_that_a_line_explains_is_no_problem(tmp_path: Path, explanation: dict[str, Any]) -> None:
    assert read(write_run(tmp_path, run=run_record(exit_status=1), **explanation)).problems == ()


def test_a_history_changed_after_the_verdict_is_a_problem(tmp_path: Path) -> None:
    history = write_history(tmp_path, "kill")
    write_run(tmp_path, [verdict("kill", "CON-3b", **history)])
    (tmp_path / "histories" / "kill" / "history.jsonl").write_text("{}\n")
    (problem,) = read(tmp_path).problems
    assert problem.startswith("histories/kill: its sha256 is ")


def test_a_history_that_was_not_kept_is_not_called_intact(tmp_path: Path) -> None:
    evidence = read(write_run(tmp_path, [verdict("kill", "CON-3b", history="histories/kill", history_sha256="0" * 64)]))
    assert (evidence.problems, evidence.intact) == ((), frozenset())


def test_the_hash_of_a_history_covers_names_and_contents_of_all_its_files(tmp_path: Path) -> None:
    write_history(tmp_path, "kill")
    directory = tmp_path / "histories" / "kill"
    hashes = {history_sha256(directory)}
    (directory / "rows.arrow").write_bytes(b"rows")
    hashes.add(history_sha256(directory))
    (directory / "rows.arrow").rename(directory / "answers.arrow")
    hashes.add(history_sha256(directory))
    assert len(hashes - {None}) == 3


def test_keys_a_newer_harness_adds_are_ignored(tmp_path: Path) -> None:
    run = write_run(tmp_path, [{**verdict("kill", "CON-3b"), "weather": "fair"}], run={**run_record(), "mood": "good"})
    assert read(run).problems == ()


def test_blank_lines_are_no_verdicts(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (run / "verdicts.jsonl").write_text("\n" + json.dumps(verdict("kill", "CON-3b")) + "\n\n")
    assert len(read(run).clauses) == 1

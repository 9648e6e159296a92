"""What a run directory says, and what makes it untrustworthy."""

import json
from pathlib import Path
from typing import Any

import pytest

from reports.readiness.evidence import Evidence
from reports.readiness.histories import figures_beside, history_sha256
from reports.readiness.reading import read_evidence
from tests.reports.crafted_run import (
    REGISTRY,
    checker,
    mutant,
    run_record,
    verdict,
    with_history,
    write_history,
    write_run,
)


def read(directory: Path) -> Evidence:
    return read_evidence([directory], REGISTRY)


def test_a_flawless_run_has_no_problem_and_no_gap(tmp_path: Path) -> None:
    evidence = read(write_run(tmp_path, [verdict("kill", "CON-3b")], mutants=[mutant("kill")]))
    assert evidence.problems == ()
    assert [(exhibit.line.clause, exhibit.gap) for exhibit in evidence.exhibits] == [("kill", "")]


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
        ({"retries": 0.5}, "retries: Input should be a valid integer"),
        ({"seconds": float("nan")}, "seconds: Input should be a finite number"),
        ({"clause": ""}, "clause: String should have at least 1 character"),
    ],
)
def test_a_malformed_verdict_is_a_problem(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    (problem,) = read(write_run(tmp_path, [verdict("kill", "CON-3b", **change)])).problems
    assert complaint in problem


def test_a_stack_there_is_none_of_is_a_problem(tmp_path: Path) -> None:
    problems = read(write_run(tmp_path, [verdict("kill", "CON-3b", stack="mocked")])).problems
    assert any("stack: Input should be 'embedded', 'containers' or 'external'" in problem for problem in problems)


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
    write_run(tmp_path, [verdict("kill", "CON-3b")])
    (tmp_path / "histories" / "kill" / "history.jsonl").write_text("{}\n")
    (problem,) = read(tmp_path).problems
    assert problem.startswith("histories/kill: its sha256 is ")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"clause": "stop"}, 'it is of the clause "kill", its verdict says "stop"'),
        ({"claims": ["CON-3b", "CON-6a"]}, 'it is of the claims ["CON-3b"], its verdict says ["CON-3b", "CON-6a"]'),
        ({"checker": "facts"}, 'it is of the checker "delivery", its verdict says "facts"'),
    ],
)
def test_a_history_of_something_else_is_a_problem(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    line = with_history(tmp_path, verdict("kill", "CON-3b"))
    (problem,) = read(write_run(tmp_path, [{**line, **change}])).problems
    assert problem == f"histories/kill: {complaint}"


def test_a_verdict_of_another_stack_than_its_run_is_a_problem(tmp_path: Path) -> None:
    lines = [verdict("kill", "CON-3b", stack="containers")]
    (problem,) = read(write_run(tmp_path, lines, run=run_record(stack="embedded"))).problems
    assert problem == "verdicts.jsonl: kill is of the containers stack, the run had embedded"


def test_a_history_outside_the_run_is_a_problem(tmp_path: Path) -> None:
    elsewhere = write_history(tmp_path / "elsewhere", "kill", verdict("kill", "CON-3b"))
    line = verdict("kill", "CON-3b", **{**elsewhere, "history": "../elsewhere/histories/kill"})
    (problem,) = read(write_run(tmp_path / "run", [line])).problems
    assert "lies outside the run" in problem


def test_a_run_made_with_another_ruler_is_a_problem(tmp_path: Path) -> None:
    write_run(tmp_path, [verdict("kill", "CON-3b")], run=run_record(ruler="a" * 64))
    assert read_evidence([tmp_path], REGISTRY, "a" * 64).problems == ()
    (problem,) = read_evidence([tmp_path], REGISTRY, "b" * 64).problems
    assert problem == "run.json: the run was measured with the ruler aaaaaaaaaaaa, this is bbbbbbbbbbbb: run again"


@pytest.mark.parametrize(
    ("change", "gap"),
    [
        ({"history": "histories/kill", "history_sha256": "0" * 64}, "its history is not there"),
        ({"history": None}, "it names no history with a hash"),
    ],
)
def test_a_verdict_without_its_history_has_a_gap(tmp_path: Path, change: dict[str, Any], gap: str) -> None:
    evidence = read(write_run(tmp_path, [verdict("kill", "CON-3b", **change)]))
    assert (evidence.problems, [exhibit.gap for exhibit in evidence.exhibits]) == ((), [gap])


def test_pictures_and_timeline_beside_a_history_are_found(tmp_path: Path) -> None:
    directory = tmp_path / "histories" / "kill"
    directory.mkdir(parents=True)
    (directory / "history.jsonl").write_text("{}\n")
    assert figures_beside(directory) == ()
    for name in ("timeline.svg", "rates.svg", "timeline.json", "rows.arrow"):
        (directory / name).write_text("<svg/>")
    assert figures_beside(directory) == ("rates.svg", "timeline.svg", "timeline.json")


def test_the_hash_of_a_history_covers_names_and_contents_of_all_its_files(tmp_path: Path) -> None:
    write_history(tmp_path, "kill", {})
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
    assert len(read(run).exhibits) == 1

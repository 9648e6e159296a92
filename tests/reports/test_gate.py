"""Every exit code of the gate, reached by a run directory through the real command."""

import json
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest

from reports.readiness.gate import Decision, GateVerdict
from tests.reports.crafted_run import (
    RUBRIC,
    assessed,
    checker,
    everything_proven,
    mutant,
    run_record,
    verdict,
    write_run,
)
from tests.reports.reports_command import command

PASSING = verdict("kill", "CON-3b")
FAILING = verdict("stop", "CON-3a", verdict="fail", reason="the batch in hand was dropped")
EXTERNAL_FAILING = {**FAILING, "stack": "external"}
UNKNOWN = verdict("query", "QRY-2a", verdict="unknown", reason="no query was slow enough")
CRASHED = verdict("query", "QRY-2a", verdict="unknown", reason="harness error: the port was taken")


def decided(directory: Path, *verdicts: dict[str, Any], **files: Any) -> GateVerdict:
    return assessed(write_run(directory, verdicts, **files)).gate()


def make_passed(directory: Path) -> None:
    write_run(directory, everything_proven())


def make_failed(directory: Path) -> None:
    write_run(directory, [*everything_proven(), EXTERNAL_FAILING])


def make_insufficient(directory: Path) -> None:
    write_run(directory, [PASSING])


def make_broken(directory: Path) -> None:
    write_run(directory, everything_proven(), run=run_record(ended_at=None))


@pytest.mark.parametrize(
    ("make", "status", "headline"),
    [
        (make_passed, 0, "K2 readiness gate: PASS (exit 0)"),
        (make_failed, 1, "K2 readiness gate: SYSTEM FAILED (exit 1)"),
        (make_insufficient, 2, "K2 readiness gate: NOT ENOUGH EVIDENCE (exit 2)"),
        (make_broken, 3, "K2 readiness gate: HARNESS BROKE (exit 3)"),
    ],
)
def test_the_command_exits_with_the_decision_and_prints_it(
    tmp_path: Path, make: Callable[[Path], None], status: int, headline: str
) -> None:
    make(tmp_path)
    result = command("gate", tmp_path)
    assert (result.returncode, result.stderr) == (status, "")
    assert result.stdout.splitlines()[0] == headline


def test_a_missing_run_exits_3_in_one_line(tmp_path: Path) -> None:
    result = command("gate", tmp_path / "none")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith("reports: there is no run directory")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("gate", "--minimum", "3"), "No such option: --minimum"),
        (("gate", "--min", "101"), "Invalid value for '--min'"),
        (("gate", "--min", "many"), "Invalid value for '--min'"),
        (("explain", "CON-3", "CON-4"), "unexpected extra argument"),
        (("judge",), "No such command 'judge'"),
        (("explain", "CON-33"), "there is no requirement or claim CON-33; did you mean CON-3"),
        (("card", "nowhere"), "there is no run directory nowhere"),
    ],
)
def test_a_usage_error_exits_64_in_one_line(arguments: tuple[str, ...], complaint: str) -> None:
    result = command(*arguments)
    assert (result.returncode, result.stdout) == (64, "")
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_json_says_the_same_for_machines(tmp_path: Path) -> None:
    write_run(tmp_path, [PASSING, UNKNOWN])
    result = command("gate", tmp_path, "--min", "2.5", "--json")
    answer = json.loads(result.stdout)
    assert result.returncode == answer["exit_code"] == 2
    assert (answer["decision"], answer["score"], answer["minimum"]) == ("not enough evidence", 2.0, 2.5)
    assert answer["run_id"] == "20261121T094500Z-1a2b3c"
    assert answer["reasons"] == [
        "QRY-2a unknown: query: no query was slow enough",
        "2.0 points of the 2.5 the gate asks for",
    ]


def test_json_of_a_missing_run_is_json_too(tmp_path: Path) -> None:
    result = command("gate", tmp_path / "none", "--json")
    assert (result.returncode, json.loads(result.stdout)["decision"]) == (3, "harness broke")


def test_a_lower_minimum_lets_a_smaller_run_pass(tmp_path: Path) -> None:
    write_run(tmp_path, [PASSING])
    assert command("gate", tmp_path, "--min", "2").returncode == 0


@pytest.mark.parametrize(
    ("verdicts", "files", "decision", "reason"),
    [
        ([], {}, Decision.INSUFFICIENT_EVIDENCE, "nothing was executed"),
        ([PASSING, FAILING], {}, Decision.SYSTEM_FAILED, "CON-3a failed: stop: the batch in hand was dropped"),
        ([FAILING, CRASHED], {}, Decision.SYSTEM_FAILED, "query: harness error: the port was taken"),
        ([PASSING, CRASHED], {}, Decision.HARNESS_BROKE, "query: harness error: the port was taken"),
        ([FAILING], {"run": run_record(ended_at=None)}, Decision.HARNESS_BROKE, "the run was cut off"),
        ([PASSING, UNKNOWN], {}, Decision.INSUFFICIENT_EVIDENCE, "QRY-2a unknown"),
        (everything_proven(), {"checkers": []}, Decision.INSUFFICIENT_EVIDENCE, "has not shown that it can fail"),
        (everything_proven(), {"checkers": [checker(caught=6)]}, Decision.INSUFFICIENT_EVIDENCE, "missed 1 of 7"),
        (
            everything_proven(),
            {"mutants": [mutant("clause_of_CON-3b", verdict="survived")]},
            Decision.INSUFFICIENT_EVIDENCE,
            "the mutant offsets_trusted_from_kafka survived",
        ),
        (
            everything_proven(),
            {"mutants": [mutant("elsewhere", verdict="unknown", reason="the patch does not apply")]},
            Decision.INSUFFICIENT_EVIDENCE,
            "is unknown: the patch does not apply",
        ),
        (everything_proven(), {}, Decision.PASSED, "100.0 points are enough for 82"),
    ],
)
def test_each_doubt_leads_to_its_decision(
    tmp_path: Path, verdicts: list[dict[str, Any]], files: dict[str, Any], decision: Decision, reason: str
) -> None:
    verdict_of_gate = decided(tmp_path, *verdicts, **files)
    assert verdict_of_gate.decision is decision
    assert any(reason in sentence for sentence in verdict_of_gate.reasons)


def test_the_score_that_is_shown_as_enough_is_enough(tmp_path: Path) -> None:
    p0 = {identifier for identifier, criterion in RUBRIC.criteria.items() if criterion.stage == "P0"}
    lines = [line for line in everything_proven() if line["claims"][0].rstrip(ascii_lowercase) in p0]
    assert decided(tmp_path / "whole", *lines).decision is Decision.PASSED
    assert decided(tmp_path / "all_but_one", *lines[1:]).decision is Decision.INSUFFICIENT_EVIDENCE


def test_one_finding_is_told_once_for_all_claims_it_touches(tmp_path: Path) -> None:
    failing = verdict("kill", "CON-3b", "CON-1a", verdict="fail", reason="3 records lost")
    assert decided(tmp_path, failing).reasons[0] == "CON-1a, CON-3b failed: kill: 3 records lost"


def test_many_findings_are_shortened_and_counted(tmp_path: Path) -> None:
    failing = [verdict(f"clause_{i}", f"API-3{letter}", verdict="fail") for i, letter in enumerate("abcdef")]
    failing.append(verdict("clause_6", "API-2a", verdict="fail"))
    reasons = decided(tmp_path, *failing).reasons
    assert "and 2 more of this kind, see the card" in reasons


def test_a_broken_run_is_told_to_be_repaired_first(tmp_path: Path) -> None:
    assert decided(tmp_path, run=run_record(format=2)).next_steps == (
        "Repair what wrote the run directory, then run again",
    )

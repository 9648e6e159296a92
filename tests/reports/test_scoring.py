"""How evidence becomes the state of a claim, and how claims become points."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from reports.readiness.reading import read_evidence
from reports.readiness.scoring import ClaimResult, Score, State, round_down, score
from tests.reports.crafted_run import (
    CLAIM_IDS,
    REGISTRY,
    RUBRIC,
    checker,
    everything_proven,
    mutant,
    run_record,
    verdict,
    write_run,
)


def scored(directory: Path, *verdicts: dict[str, Any], **files: Any) -> Score:
    evidence = read_evidence([write_run(directory, verdicts, **files)], REGISTRY)
    assert not evidence.problems
    return score(REGISTRY, RUBRIC, evidence)


def claim(result: Score, identifier: str) -> ClaimResult:
    return next(claim for claim in result.claims() if claim.claim.id == identifier)


def points(result: Score, identifier: str) -> Fraction:
    return next(criterion.points for criterion in result.criteria if criterion.requirement.id == identifier)


def test_nothing_executed_scores_nothing(tmp_path: Path) -> None:
    result = scored(tmp_path)
    assert result.points == 0
    assert {claim.state for claim in result.claims()} == {State.NOT_EXERCISED}


def test_everything_proven_scores_exactly_100(tmp_path: Path) -> None:
    assert scored(tmp_path, *everything_proven()).points == 100


def test_a_criterion_earns_the_proven_share_of_its_weight(tmp_path: Path) -> None:
    result = scored(tmp_path, verdict("kill", "CON-3b"))
    assert claim(result, "CON-3b").state is State.PROVEN
    assert points(result, "CON-3") == result.points == Fraction(6) / 3


def test_a_failed_claim_takes_all_points_of_its_criterion(tmp_path: Path) -> None:
    result = scored(
        tmp_path,
        verdict("stop", "CON-3a"),
        verdict("kill", "CON-3b", verdict="fail", reason="3 records lost"),
        verdict("table", "CON-6b"),
    )
    assert points(result, "CON-3") == 0
    assert points(result, "CON-6") == Fraction(8) / 9
    assert "3 records lost" in claim(result, "CON-3b").reason


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        (("pass", "unknown", "fail"), State.FAILED),
        (("pass", "fail"), State.FAILED),
        (("unknown", "pass"), State.UNKNOWN),
        (("pass", "pass"), State.PROVEN),
    ],
)
def test_the_worst_verdict_wins(tmp_path: Path, verdicts: tuple[str, ...], state: State) -> None:
    lines = [verdict(f"kill/case_{i}", "CON-3b", verdict=word) for i, word in enumerate(verdicts)]
    assert claim(scored(tmp_path, *lines), "CON-3b").state is state


def test_a_pass_after_a_retry_earns_half(tmp_path: Path) -> None:
    result = scored(tmp_path, verdict("kill", "CON-3b", retries=2))
    assert claim(result, "CON-3b").state is State.PROVEN
    assert points(result, "CON-3") == Fraction(6) / 3 / 2


@pytest.mark.parametrize("stack", ["containers", "external"])
def test_real_servers_prove_what_needs_containers(tmp_path: Path, stack: str) -> None:
    assert claim(scored(tmp_path, verdict("leader", "PRO-1b", stack=stack)), "PRO-1b").state is State.PROVEN


def test_the_embedded_stack_does_not_prove_what_needs_containers(tmp_path: Path) -> None:
    result = claim(scored(tmp_path, verdict("leader", "PRO-1b")), "PRO-1b")
    assert result.state is State.NOT_EXERCISED
    assert "needs containers" in result.reason


def test_the_embedded_stack_refutes_what_needs_containers(tmp_path: Path) -> None:
    result = scored(tmp_path, verdict("leader", "PRO-1b", verdict="fail"))
    assert claim(result, "PRO-1b").state is State.FAILED


def test_what_needs_containers_says_so_when_no_clause_ran(tmp_path: Path) -> None:
    result = claim(scored(tmp_path, verdict("kill", "CON-3b")), "PRO-1b")
    assert (result.state, result.reason) == (
        State.NOT_EXERCISED,
        "needs containers, this run had the embedded stack",
    )


def test_a_containers_run_does_not_blame_the_stack(tmp_path: Path) -> None:
    lines = verdict("kill", "CON-3b", stack="containers")
    result = scored(tmp_path, lines, run=run_record(stack="containers"))
    assert claim(result, "PRO-1b").reason == "no clause that ran cites it"


@pytest.mark.parametrize(
    ("checkers", "reason"),
    [
        ([], "has not shown that it can fail"),
        ([checker("another")], "has not shown that it can fail"),
        ([checker(planted=0, caught=0)], "has not shown that it can fail"),
        ([checker(caught=6, missed=["a swapped price"])], "missed 1 of 7 planted defects"),
        ([checker(caught=7, missed=["a swapped price"])], "missed 1 of 7 planted defects"),
        ([checker(caught=5)], "missed 2 of 7 planted defects"),
    ],
)
def test_a_checker_that_cannot_fail_proves_nothing(tmp_path: Path, checkers: list[dict[str, Any]], reason: str) -> None:
    result = scored(tmp_path, verdict("kill", "CON-3b"), checkers=checkers)
    assert claim(result, "CON-3b").state is State.UNKNOWN
    assert reason in claim(result, "CON-3b").reason
    assert result.points == 0


def test_a_clause_without_a_checker_proves_nothing(tmp_path: Path) -> None:
    assert claim(scored(tmp_path, verdict("kill", "CON-3b", checker=None)), "CON-3b").state is State.UNKNOWN


def test_an_unproven_checker_still_refutes(tmp_path: Path) -> None:
    result = scored(tmp_path, verdict("kill", "CON-3b", verdict="fail"), checkers=[])
    assert claim(result, "CON-3b").state is State.FAILED


@pytest.mark.parametrize(("samples", "state"), [(99, State.UNKNOWN), (100, State.PROVEN)])
def test_a_pass_needs_the_samples_the_rubric_asks_for(tmp_path: Path, samples: int, state: State) -> None:
    assert claim(scored(tmp_path, verdict("replay", "CON-6a", samples=samples)), "CON-6a").state is state


@pytest.mark.parametrize(("samples", "state"), [(4, State.UNKNOWN), (5, State.PROVEN)])
def test_a_pass_needs_the_samples_its_clause_asks_for(tmp_path: Path, samples: int, state: State) -> None:
    lines = verdict("kill", "CON-3b", samples=samples, minimum_samples=5)
    assert claim(scored(tmp_path, lines), "CON-3b").state is state


def test_a_pass_on_no_sample_proves_nothing(tmp_path: Path) -> None:
    lines = verdict("kill", "CON-3b", samples=0, minimum_samples=0)
    assert claim(scored(tmp_path, lines), "CON-3b").state is State.UNKNOWN


@pytest.mark.parametrize("clause", ["kill", "kill/after_write"])
def test_a_surviving_mutant_makes_the_claims_of_its_clause_unknown(tmp_path: Path, clause: str) -> None:
    lines = [verdict(clause, "CON-3b", "CON-1a"), verdict("killer", "CON-6b")]
    result = scored(tmp_path, *lines, mutants=[mutant("kill", verdict="survived")])
    assert [claim(result, name).state for name in ("CON-3b", "CON-1a")] == [State.UNKNOWN, State.UNKNOWN]
    assert "the mutant offsets_trusted_from_kafka survived" in claim(result, "CON-3b").reason
    assert claim(result, "CON-6b").state is State.PROVEN


@pytest.mark.parametrize("word", ["killed", "unknown"])
def test_only_a_surviving_mutant_touches_claims(tmp_path: Path, word: str) -> None:
    result = scored(tmp_path, verdict("kill", "CON-3b"), mutants=[mutant("kill", verdict=word)])
    assert claim(result, "CON-3b").state is State.PROVEN


def test_a_failed_claim_stays_failed_beside_a_surviving_mutant(tmp_path: Path) -> None:
    lines = verdict("kill", "CON-3b", verdict="fail")
    result = scored(tmp_path, lines, mutants=[mutant("kill", verdict="survived")])
    assert claim(result, "CON-3b").state is State.FAILED


def test_a_listed_clause_that_did_not_run_was_not_selected(tmp_path: Path) -> None:
    run = write_run(tmp_path, [verdict("kill", "CON-3b")])
    (run / "clauses.jsonl").write_text('{"clause":"kill","claims":["CON-3b"]}\n{"clause":"stop","claims":["CON-3a"]}\n')
    result = score(REGISTRY, RUBRIC, read_evidence([run], REGISTRY))
    assert claim(result, "CON-3a").reason == "its clause was not selected"
    assert claim(result, "CON-3c").reason == "no clause cites it"


def test_one_clause_may_prove_several_claims(tmp_path: Path) -> None:
    result = scored(tmp_path, verdict("journey", "CON-3b", "CON-6b", "REC-4a"))
    assert [c.claim.id for c in result.claims() if c.state is State.PROVEN] == ["REC-4a", "CON-3b", "CON-6b"]


@pytest.mark.parametrize(
    ("exact", "places", "shown"),
    [
        (Fraction(8199, 100), 1, "81.9"),
        (Fraction(2, 3), 2, "0.66"),
        (Fraction(100), 1, "100.0"),
        (Fraction(0), 1, "0.0"),
    ],
)
def test_points_are_never_rounded_up(exact: Fraction, places: int, shown: str) -> None:
    assert str(round_down(exact, places)) == shown


def test_thirds_add_up_without_drift(tmp_path: Path) -> None:
    thirds = [f"CON-3{letter}" for letter in "abc"]
    assert points(scored(tmp_path, *(verdict(f"of_{c}", c) for c in thirds)), "CON-3") == 6
    assert set(thirds) <= set(CLAIM_IDS)


def test_without_a_clause_a_claim_says_whether_it_would_also_need_another_stack(tmp_path: Path) -> None:
    run = write_run(tmp_path, [verdict("kill", "CON-3b")])
    (run / "clauses.jsonl").write_text('{"clause":"kill","claims":["CON-3b"]}\n')
    result = score(REGISTRY, RUBRIC, read_evidence([run], REGISTRY))
    assert claim(result, "CON-3a").reason == "no clause cites it"
    assert claim(result, "PRO-1b").reason == "no clause cites it yet, and it needs containers"


def test_a_clause_that_was_skipped_says_why(tmp_path: Path) -> None:
    run = write_run(tmp_path, [verdict("kill", "CON-3b")])
    line = '{"clause":"stop","claims":["CON-3a"],"reason":"no such server here"}\n'
    (run / "clauses.jsonl").write_text('{"clause":"stop","claims":["CON-3a"]}\n')
    (run / "skipped.jsonl").write_text(line)
    result = claim(score(REGISTRY, RUBRIC, read_evidence([run], REGISTRY)), "CON-3a")
    assert (result.state, result.reason) == (State.NOT_EXERCISED, "skipped: stop: no such server here")

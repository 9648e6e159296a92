"""Three verdicts: a broken system, broken evidence, and neither."""

from collections.abc import Callable

import pytest

from conformance.checkers.verdict import (
    MAX_EXAMPLES,
    Finding,
    Outcome,
    Verdict,
    combine,
    conclude,
    doubt,
    run_checker,
    unknown,
    worst,
)
from conformance.history import Header, History, HistoryError

PASSED = Verdict(Outcome.PASS, "all is well", 5)
FAILED = Verdict(Outcome.FAIL, "lost: one is gone (1)", 5, (Finding("lost", "one is gone"),))
DOUBTED = unknown("missing_stage", "nobody looked", 5)


def history(complete: bool = True, **parameters: object) -> History:
    return History(Header("clause", (), "checker", 1, "embedded", 0, parameters), complete=complete)


def always(verdict: Verdict) -> Callable[[History], Verdict]:
    return lambda _: verdict


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([Outcome.PASS, Outcome.UNKNOWN, Outcome.FAIL], Outcome.FAIL),
        ([Outcome.PASS, Outcome.UNKNOWN], Outcome.UNKNOWN),
        ([Outcome.PASS, Outcome.PASS], Outcome.PASS),
        ([], Outcome.PASS),
    ],
)
def test_the_worst_outcome_wins(outcomes: list[Outcome], expected: Outcome) -> None:
    assert worst(outcomes) is expected


def test_a_combination_has_all_findings_and_the_reasons_of_the_worst() -> None:
    combined = combine([PASSED, DOUBTED, FAILED])
    assert combined.outcome is Outcome.FAIL
    assert combined.reason == FAILED.reason
    assert combined.samples == 15
    assert {finding.kind for finding in combined.findings} == {"missing_stage", "lost"}


def test_a_combination_of_nothing_is_unknown() -> None:
    assert combine([]).outcome is Outcome.UNKNOWN


def test_a_failure_outweighs_a_doubt_and_is_told_first() -> None:
    verdict = conclude(3, [doubt("undecided", "perhaps"), Finding("lost", "gone", 2)], "fine")
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason.startswith("lost: gone (2)")
    assert [finding.kind for finding in verdict.findings] == ["lost", "undecided"]


def test_a_doubt_alone_is_unknown_and_no_finding_is_a_pass() -> None:
    assert conclude(3, [doubt("undecided", "perhaps")], "fine").outcome is Outcome.UNKNOWN
    assert conclude(3, [], "fine") == Verdict(Outcome.PASS, "fine", 3)


def test_a_reason_names_three_findings_and_counts_the_rest() -> None:
    verdict = conclude(1, [Finding(f"kind_{number}", "x") for number in range(5)], "fine")
    assert verdict.reason.endswith("and 2 more findings")
    assert verdict.reason.count("kind_") == 3


def test_a_finding_keeps_few_examples_and_the_whole_count() -> None:
    finding = Finding("lost", "gone", 1_000, tuple(str(number) for number in range(1_000)))
    assert len(finding.examples) == MAX_EXAMPLES
    assert finding.count == 1_000
    assert finding.example == "0"
    assert Finding("lost", "gone").example == ""


def test_an_incomplete_history_is_unknown_whatever_the_checker_says() -> None:
    verdict = run_checker(always(PASSED), history(complete=False))
    assert (verdict.outcome, verdict.findings[0].kind) == (Outcome.UNKNOWN, "incomplete_history")


def test_a_crashing_checker_is_unknown_and_says_what_crashed() -> None:
    def crash(_: History) -> Verdict:
        raise ZeroDivisionError("no samples")

    verdict = run_checker(crash, history())
    assert (verdict.outcome, verdict.findings[0].kind) == (Outcome.UNKNOWN, "checker_crashed")
    assert "ZeroDivisionError: no samples" in verdict.reason


def test_a_history_that_does_not_fit_its_checker_is_unknown() -> None:
    def refuse(_: History) -> Verdict:
        raise HistoryError("stage 'fed' lacks the columns ['session']")

    verdict = run_checker(refuse, history())
    assert (verdict.outcome, verdict.findings[0].kind) == (Outcome.UNKNOWN, "unusable_history")


@pytest.mark.parametrize(("minimum", "expected"), [(5, Outcome.PASS), (6, Outcome.UNKNOWN)])
def test_a_pass_with_too_few_samples_is_unknown(minimum: int, expected: Outcome) -> None:
    assert run_checker(always(PASSED), history(minimum_samples=minimum)).outcome is expected


def test_one_sample_is_needed_where_nothing_else_is_said() -> None:
    nothing = Verdict(Outcome.PASS, "nothing was wrong", 0)
    assert run_checker(always(nothing), history()).findings[0].kind == "too_few_samples"


def test_a_failure_with_few_samples_is_a_failure() -> None:
    assert run_checker(always(FAILED), history(minimum_samples=1_000)) == FAILED


def test_a_minimum_that_is_no_number_is_unknown() -> None:
    assert run_checker(always(PASSED), history(minimum_samples="many")).outcome is Outcome.UNKNOWN


def test_a_verdict_is_kept_as_json_with_its_findings() -> None:
    assert FAILED.as_json() == {
        "verdict": "fail",
        "reason": "lost: one is gone (1)",
        "samples": 5,
        "findings": [{"kind": "lost", "detail": "one is gone", "count": 1, "examples": []}],
    }

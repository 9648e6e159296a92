"""The checker of silent feeds at its own boundaries: it judges by the bounds that leave the system the most time."""

from typing import Any

import pytest

from conformance.checkers import freshness
from conformance.checkers.verdict import Outcome, Verdict, run_checker
from conformance.history import Header, History, Operation, OperationOutcome

LIMIT, DELAY = 2.0, 1.0
PLAN = {"limit_seconds": LIMIT, "delay_seconds": DELAY, "control_seconds": 1.0, "required_faults": []}


def look(began: float, rows: int, reported: bool | None = False, *, took: float = 0.01, **gauges: Any) -> Operation:
    began_ns, ended_ns = int(began * 1e9), int((began + took) * 1e9)
    attributes = {"rows": rows, "reported": reported, **gauges}
    return Operation("harness", "look", OperationOutcome.OK, began_ns, ended_ns, began_ns, attributes)


def judged(*looks: Operation, **parameters: Any) -> Verdict:
    header = Header("freshness", (), "freshness", 1, "embedded", 0, {**PLAN, **parameters})
    return run_checker(freshness.check, History(header, looks))


def failures(*looks: Operation) -> set[str]:
    """Kinds of findings against the system; what is missing in so short a history is left aside."""
    return {finding.kind for finding in judged(*looks).findings if finding.outcome is Outcome.FAIL}


# Rows come at 1 s, and no more.
START = (look(0.0, 1), look(0.99, 1), look(1.0, 2))


@pytest.mark.parametrize(
    ("silent_seconds", "reported", "expected"),
    [
        (1.4, True, {"false_alarm"}),
        (1.6, True, set()),
        (2.5, False, set()),
        (2.9, False, set()),
        (3.1, False, {"unnoticed"}),
        (3.1, True, set()),
    ],
)
def test_a_report_is_due_after_limit_and_delay_and_never_well_before_the_limit(
    silent_seconds: float, reported: bool, expected: set[str]
) -> None:
    at = 1.0 + silent_seconds
    assert failures(*START, look(at, 2, reported), look(at + 0.01, 2, reported)) == expected


def test_a_report_that_came_after_all_is_late() -> None:
    assert failures(*START, look(4.5, 2), look(5.0, 2, True), look(5.5, 2, True)) == {"noticed_late"}


def test_rows_that_came_while_a_look_was_slow_excuse_it() -> None:
    # The table was read before they came and the API asked after.
    assert failures(*START, look(3.0, 2, took=2.5), look(5.6, 3), look(5.7, 4)) == set()


def test_a_report_may_outlive_its_silence_by_the_delay() -> None:
    silence = (*START, look(4.0, 2, True))
    assert failures(*silence, look(5.0, 3, True), look(5.5, 4, True), look(5.8, 5)) == set()
    assert failures(*silence, look(5.0, 3, True), look(6.2, 4, True), look(6.3, 5)) == {"not_cleared"}


def test_nothing_is_silent_before_the_first_rows() -> None:
    assert failures(look(0.0, 0), look(50.0, 0), look(50.1, 7), look(50.2, 8)) == set()
    assert failures(look(0.0, 0), look(50.0, 0, True), look(50.1, 7), look(50.2, 8)) == {"false_alarm"}


@pytest.mark.parametrize("name", ["silence_seconds", "age_seconds", "consumer_age_seconds"])
@pytest.mark.parametrize(("grown", "expected"), [(1.0, set()), (0.9, {"frozen_gauge"}), (1.1, {"frozen_gauge"})])
def test_a_number_grows_as_the_clock_does(name: str, grown: float, expected: set[str]) -> None:
    before: dict[str, Any] = {name: 0.3}
    after: dict[str, Any] = {name: 0.3 + grown}
    looks = (look(1.3, 2, **before), look(2.3, 2, **after), look(2.4, 2))
    assert failures(*START, *looks) - {"wrong_silence"} == expected


def test_a_number_may_fall_when_rows_come() -> None:
    assert failures(*START, look(1.8, 2, silence_seconds=0.8), look(2.0, 3, silence_seconds=0.1), look(2.1, 4)) == set()


@pytest.mark.parametrize(
    ("exported", "expected"),
    [(0.75, set()), (0.9, set()), (1.25, set()), (0.6, {"wrong_silence"}), (1.5, {"wrong_silence"})],
)
def test_the_exported_silence_is_the_true_one_within_the_time_of_a_commit(exported: float, expected: set[str]) -> None:
    assert failures(*START, look(1.8, 2, silence_seconds=exported), look(1.9, 2)) == expected


def test_a_fault_of_the_plan_that_is_not_there_is_unknown() -> None:
    verdict = judged(*START, look(1.2, 3), required_faults=["feed_killed"])
    assert verdict.outcome is Outcome.UNKNOWN
    assert "fault_missing" in {finding.kind for finding in verdict.findings}


def test_a_plan_without_a_limit_is_unknown() -> None:
    header = Header("freshness", (), "freshness", 1, "embedded", 0, {})
    verdict = run_checker(freshness.check, History(header, START))
    assert (verdict.outcome, verdict.findings[0].kind) == (Outcome.UNKNOWN, "checker_crashed")

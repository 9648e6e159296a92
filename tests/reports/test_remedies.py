"""What the card proposes to do next, and what each proposal would bring."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from reports.readiness.remedies import Remedy
from tests.reports.crafted_run import assessed, checker, everything_proven, mutant, verdict, write_run


def proposed(directory: Path, *verdicts: dict[str, Any], **files: Any) -> tuple[Remedy, ...]:
    return assessed(write_run(directory, verdicts, **files)).remedies


def test_nothing_is_proposed_when_everything_is_proven(tmp_path: Path) -> None:
    assert proposed(tmp_path, *everything_proven()) == ()


def test_an_empty_run_is_run_first(tmp_path: Path) -> None:
    first, second, *_ = proposed(tmp_path)
    assert first.headline == "Run the suite: make readiness"
    assert second.headline == "Run on the containers stack: make readiness STACK=containers"


def test_a_failure_comes_first_with_its_own_remedy_and_what_fixing_it_brings(tmp_path: Path) -> None:
    passing = [line for line in everything_proven() if line["claims"] != ["OBS-1a"]]
    failing = verdict("labels", "OBS-1a", verdict="fail", reason="accepted", remedy="Compare with the declaration.")
    first = proposed(tmp_path, *passing, failing)[0]
    assert first == Remedy("Fix what labels found", "Compare with the declaration.", Fraction(1, 2), ("OBS-1a",))


def test_cases_of_one_clause_make_one_remedy(tmp_path: Path) -> None:
    failing = [
        verdict(f"kill/{case}", claim, verdict="fail", reason=case)
        for case, claim in (("poll", "CON-3b"), ("write", "CON-1a"))
    ]
    first, second, *_ = proposed(tmp_path, *failing)
    assert first.claims == ("CON-1a", "CON-3b")
    assert second.headline != first.headline


def test_a_crashed_clause_is_the_harness_to_repair(tmp_path: Path) -> None:
    reason = "harness error: the port was taken"
    first = proposed(tmp_path, verdict("query", "QRY-2a", verdict="unknown", reason=reason, remedy="see the engine"))[0]
    assert (first.headline, first.detail) == ("Repair the harness under query", f"query: {reason}")


def test_other_causes_follow_by_the_points_they_bring(tmp_path: Path) -> None:
    lines = [verdict("kill", "CON-3b", checker="weak"), verdict("stop", "CON-3a", retries=1)]
    found = proposed(tmp_path, *lines, checkers=[checker("weak", caught=1), checker()])
    gains = [remedy.points for remedy in found]
    assert gains == sorted(gains, reverse=True)
    headlines = {remedy.headline: remedy.points for remedy in found}
    assert headlines["Show that the checker weak catches its planted defects"] == 2
    assert headlines["Find out why stop needed a retry"] == 1


def test_a_surviving_mutant_is_a_clause_to_sharpen(tmp_path: Path) -> None:
    found = proposed(tmp_path, verdict("kill", "CON-3b"), mutants=[mutant("kill", verdict="survived")])
    assert "Sharpen the clause that let the mutant offsets_trusted_from_kafka live" in {r.headline for r in found}

"""What is changed, forged or missing is found by judging and adding up again; the real checkers run in a clause."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reports.readiness.errors import ToolError
from reports.readiness.harness_judge import HarnessJudge
from reports.readiness.verification import Verification, verify
from reports.readiness.writing import write_card
from tests.reports.crafted_run import ROOT, assessed, checker, run_record, verdict, write_run


@dataclass
class Checkers:
    """Checkers that find what they are told to find."""

    lines: tuple[str, ...] = ()
    catches: dict[str, tuple[int, int]] = field(default_factory=lambda: {"delivery": (7, 7)})

    def changed(self, run: Path) -> Sequence[str]:
        return self.lines

    def kills(self, checkers: Collection[str]) -> Mapping[str, tuple[int, int]]:
        return {name: caught for name, caught in self.catches.items() if name in checkers}


def verified(run: Path, **found: Any) -> Verification:
    return verify(assessed(run), run / "card.json", Checkers(**found))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with its card."""
    directory = write_run(tmp_path, [verdict("kill", "CON-3b"), verdict("stop", "CON-3a", verdict="fail")])
    write_card(assessed(directory), directory)
    return directory


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_an_honest_run_with_its_card_is_verified(run: Path) -> None:
    assert verified(run) == Verification((), (), 2)
    assert verified(run).exit_code == 0


def test_a_run_without_a_card_is_verified_by_its_histories(run: Path) -> None:
    (run / "card.json").unlink()
    assert verified(run).exit_code == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"score": 100.0}, "card.json: score is 100.0, the evidence gives 0.0"),
        ({"stage_reached": "beyond"}, "card.json: stage_reached is 'beyond', the evidence gives None"),
        ({"score": "full marks"}, "card.json: it is no card of this format: score"),
    ],
)
def test_a_forged_card_is_found(run: Path, change: dict[str, Any], complaint: str) -> None:
    edit(run / "card.json", **change)
    found = verified(run)
    assert found.exit_code == 3
    assert found.forged[0].startswith(complaint)


def test_a_claim_forged_deep_in_a_card_is_found_at_its_place(run: Path) -> None:
    card = json.loads((run / "card.json").read_text())
    position = next(number for number, criterion in enumerate(card["criteria"]) if criterion["id"] == "CON-3")
    card["criteria"][position]["claims"][0]["state"] = "proven"
    (run / "card.json").write_text(json.dumps(card))
    assert verified(run).forged == (
        f"card.json: criteria[{position}].claims[0].state is 'proven', the evidence gives 'failed'",
    )


def test_a_card_of_another_ruler_is_told_apart_from_a_forged_one(run: Path) -> None:
    card = json.loads((run / "card.json").read_text())
    card["ruler"] |= {"sha256": "0" * 64, "version": "1-000000000000"}
    (run / "card.json").write_text(json.dumps(card))
    (complaint,) = verified(run).forged
    assert complaint.startswith("card.json: it was made with the ruler 1-000000000000, this is ")


def test_a_verdict_that_its_history_does_not_lead_to_is_found(run: Path) -> None:
    found = verified(run, lines=("stop: verdict was pass, is fail",))
    assert (found.exit_code, found.forged) == (3, (f"{run.name}: stop: verdict was pass, is fail",))


def test_a_history_edited_after_the_verdict_is_found(run: Path) -> None:
    (run / "card.json").unlink()
    with (run / "histories" / "stop" / "history.jsonl").open("a") as file:
        file.write("\n")
    found = verified(run)
    assert found.exit_code == 3
    assert "it was changed after the verdict" in found.forged[0]


def test_a_checker_that_catches_less_than_the_run_says_is_found(run: Path) -> None:
    found = verified(run, catches={"delivery": (7, 5)})
    assert found.forged == ("checkers.jsonl: delivery is said to catch 7 of 7 planted defects, it catches 5 of 7",)


def test_a_history_that_is_missing_is_missing_evidence(tmp_path: Path) -> None:
    lines = [verdict("kill", "CON-3b", history="histories/kill", history_sha256="0" * 64), verdict("stop", "CON-3a")]
    found = verified(write_run(tmp_path, lines), lines=("kill: history was named, is missing",))
    assert (found.exit_code, found.missing, found.checked) == (2, ("kill: its history is not there",), 1)


def test_a_run_that_executed_nothing_proves_nothing(tmp_path: Path) -> None:
    found = verified(write_run(tmp_path))
    assert (found.exit_code, found.missing) == (2, ("nothing was executed",))


def test_a_crash_without_a_history_is_not_called_missing(tmp_path: Path) -> None:
    crash = verdict("kill", "CON-3b", verdict="unknown", reason="harness error: no port", history=None)
    assert verified(write_run(tmp_path, [crash, verdict("stop", "CON-3a")])).missing == ()


def test_a_broken_run_is_not_verified(tmp_path: Path) -> None:
    found = verified(write_run(tmp_path, [verdict("kill", "CON-3b")], run=run_record(ended_at=None)))
    assert found.exit_code == 3


def test_checkers_that_no_clause_used_are_not_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path, [verdict("kill", "CON-3b")], checkers=[checker(), checker("retired")])
    assert verified(run).exit_code == 0


def test_the_harness_tells_what_its_own_checkers_catch() -> None:
    planted, caught = HarnessJudge(ROOT).kills(["facts", "retired"])["facts"]
    assert planted == caught > 0


def test_a_harness_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="No module named 'conformance'"):
        HarnessJudge(tmp_path).kills(["facts"])

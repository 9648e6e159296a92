"""What a run came to, by its verdicts."""

import json
from pathlib import Path
from typing import Any

import pytest

from chaos.outcome import read_outcome


def verdict(name: str, verdict: str, reason: str = "", **findings: int) -> dict[str, Any]:
    return {
        "clause": f"chaos/{name}",
        "verdict": verdict,
        "reason": reason,
        "findings": [{"kind": kind, "count": count} for kind, count in findings.items()],
        "measures": {"acknowledged": 1_000},
    }


def outcome(directory: Path, *lines: dict[str, Any]) -> Any:
    (directory / "verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_outcome(directory)


def test_totals_are_those_of_all_scenarios(tmp_path: Path) -> None:
    found = outcome(tmp_path, verdict("a", "pass"), verdict("b", "fail", lost=3, duplicated=2), verdict("c", "unknown"))
    assert found.summary == (
        "3 scenarios: 1 passed, 1 failed, 1 inconclusive\n3000 records acknowledged, 3 lost, 2 duplicated in the table"
    )


def test_a_scenario_of_several_runs_is_reported_with_their_number(tmp_path: Path) -> None:
    runs = [verdict(f"a/run_{number}", "pass" if number != 2 else "unknown") for number in (1, 2, 3)]
    (found,) = outcome(tmp_path, *runs).scenarios
    assert str(found) == "a: passed 2 of 3 runs, 1 inconclusive"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([verdict("a", "pass")], 0),
        ([verdict("a", "pass"), verdict("b", "fail"), verdict("c", "unknown", "harness error: x")], 1),
        ([verdict("a", "pass"), verdict("b", "unknown", "it did not bite")], 2),
        ([verdict("a", "unknown", "harness error: OSError"), verdict("b", "unknown")], 3),
        ([], 2),
    ],
)
def test_the_exit_code_is_that_of_the_worst(lines: list[dict[str, Any]], code: int, tmp_path: Path) -> None:
    assert outcome(tmp_path, *lines).exit_code == code

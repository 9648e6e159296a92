"""What a run came to, by its verdicts.jsonl: how often each scenario passed, the totals of records, an exit code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

PASSED, FAILED, UNKNOWN, HARNESS_BROKE = 0, 1, 2, 3
_HARNESS_ERROR = "harness error: "
_PREFIX = "chaos/"


@dataclass(frozen=True, slots=True)
class ScenarioOutcome:
    """How a scenario came out of all its runs.

    Attributes:
        name: of the scenario.
        runs: how often it was run.
        passed, failed, inconclusive: runs by their verdict.
    """

    name: str
    runs: int
    passed: int
    failed: int
    inconclusive: int

    def __str__(self) -> str:
        others = [
            f"{count} {what}" for count, what in ((self.failed, "failed"), (self.inconclusive, "inconclusive")) if count
        ]
        return f"{self.name}: passed {self.passed} of {self.runs} runs" + "".join(f", {one}" for one in others)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a whole run came to.

    Attributes:
        scenarios: those that were exercised.
        acknowledged: records of all scenarios.
        lost, duplicated: of these.
        exit_code: 0 all passed, 1 one failed, 2 one is unknown or none was exercised, 3 the harness broke.
    """

    scenarios: tuple[ScenarioOutcome, ...]
    acknowledged: int
    lost: int
    duplicated: int
    exit_code: int

    @property
    def summary(self) -> str:
        """Two lines for people."""
        passed = sum(one.passed == one.runs for one in self.scenarios)
        failed = sum(one.failed > 0 for one in self.scenarios)
        open_ones = sum(one.inconclusive > 0 and not one.failed for one in self.scenarios)
        return (
            f"{len(self.scenarios)} scenarios: {passed} passed, {failed} failed, {open_ones} inconclusive\n"
            f"{self.acknowledged} records acknowledged, {self.lost} lost, {self.duplicated} duplicated in the table"
        )


def read_outcome(run_directory: Path) -> RunOutcome:
    """The outcome of a run by its verdicts."""
    lines = [orjson.loads(line) for line in (run_directory / "verdicts.jsonl").read_bytes().splitlines()]
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        by_name.setdefault(line["clause"].partition("/run_")[0].removeprefix(_PREFIX), []).append(line)
    return RunOutcome(
        scenarios=tuple(_of_scenario(name, found) for name, found in by_name.items()),
        acknowledged=sum(int(line.get("measures", {}).get("acknowledged", 0)) for line in lines),
        lost=_found(lines, "lost"),
        duplicated=_found(lines, "duplicated"),
        exit_code=_exit_code(lines),
    )


def _of_scenario(name: str, lines: Sequence[Mapping[str, Any]]) -> ScenarioOutcome:
    verdicts = [line["verdict"] for line in lines]
    return ScenarioOutcome(name, len(verdicts), *(verdicts.count(verdict) for verdict in ("pass", "fail", "unknown")))


def _found(lines: Sequence[Mapping[str, Any]], kind: str) -> int:
    # A row that is there twice is found by its identity and by its coordinates.
    counts = ([int(one["count"]) for one in line["findings"] if one["kind"] == kind] for line in lines)
    return sum(max(found, default=0) for found in counts)


def _exit_code(lines: Sequence[Mapping[str, Any]]) -> int:
    verdicts = {line["verdict"] for line in lines}
    if "fail" in verdicts:
        return FAILED
    if any(line["verdict"] == "unknown" and line["reason"].startswith(_HARNESS_ERROR) for line in lines):
        return HARNESS_BROKE
    return UNKNOWN if "unknown" in verdicts or not verdicts else PASSED

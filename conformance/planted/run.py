"""Runs every checker on its clean histories and on each of its planted defects."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from conformance.checkers.registry import CHECKERS
from conformance.checkers.verdict import Checker, Outcome, Verdict, run_checker
from conformance.planted import (
    alert_matrix,
    audit,
    chaos,
    checkpoint,
    consumer_metrics,
    contract,
    dead_letters,
    delivery,
    facts,
    fates,
    freshness,
    hostile_requests,
    letter_files,
    load,
    overload,
    planted_faults,
    provenance,
    recovery,
    replay,
    request_limits,
    sandbox,
    sequence,
    slow_clients,
    time_limits,
)
from conformance.planted.suite import Defect, Suite

SUITES: tuple[Suite, ...] = (
    provenance.SUITE,
    delivery.SUITE,
    sequence.SUITE,
    request_limits.SUITE,
    time_limits.SUITE,
    dead_letters.SUITE,
    audit.SUITE,
    chaos.SUITE,
    alert_matrix.SUITE,
    facts.SUITE,
    fates.SUITE,
    freshness.SUITE,
    checkpoint.SUITE,
    letter_files.SUITE,
    replay.SUITE,
    consumer_metrics.SUITE,
    hostile_requests.SUITE,
    contract.SUITE,
    slow_clients.SUITE,
    planted_faults.SUITE,
    sandbox.SUITE,
    overload.SUITE,
    recovery.SUITE,
    load.SUITE,
)
CLEAN_SEEDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class CheckerResult:
    """How one checker did.

    Attributes:
        checker: its name.
        planted: number of defects.
        missed: names of the defects it did not catch.
        clean_runs: number of faultless histories.
        false_alarms: faultless histories that did not pass.
    """

    checker: str
    planted: int
    missed: tuple[str, ...]
    clean_runs: int
    false_alarms: int

    @property
    def caught(self) -> int:
        """Number of defects it caught."""
        return self.planted - len(self.missed)

    def as_json(self) -> dict[str, Any]:
        """Its line of checkers.jsonl."""
        return {
            "checker": self.checker,
            "planted": self.planted,
            "caught": self.caught,
            "missed": list(self.missed),
            "clean_runs": self.clean_runs,
            "false_alarms": self.false_alarms,
        }


def catches(defect: Defect, verdict: Verdict) -> bool:
    """Whether the verdict has the outcome and the kind of finding that the defect declares."""
    kinds = {finding.kind for finding in verdict.findings if finding.outcome is defect.outcome}
    return verdict.outcome is defect.outcome and defect.kind in kinds


def run_suite(suite: Suite, seeds: Sequence[int] = CLEAN_SEEDS, checker: Checker | None = None) -> CheckerResult:
    """Try one checker (the registered one, if none is given); each defect is planted in the first clean history."""
    judge = CHECKERS[suite.checker] if checker is None else checker
    clean = [suite.clean(seed) for seed in seeds]
    alarms = sum(run_checker(judge, history).outcome is not Outcome.PASS for history in clean)
    missed = tuple(
        defect.name for defect in suite.defects if not catches(defect, run_checker(judge, defect.plant(clean[0])))
    )
    return CheckerResult(suite.checker, len(suite.defects), missed, len(clean), alarms)


def run_all(suites: Iterable[Suite] = SUITES, seeds: Sequence[int] = CLEAN_SEEDS) -> list[CheckerResult]:
    """Try every checker."""
    return [run_suite(suite, seeds) for suite in suites]


def write_checkers(path: Path) -> list[CheckerResult]:
    """Try every checker and write one line for each, as checkers.jsonl of a run directory."""
    results = run_all()
    path.write_bytes(b"".join(orjson.dumps(result.as_json(), option=orjson.OPT_APPEND_NEWLINE) for result in results))
    return results

"""The harness's own checkers, asked by subprocess: reports import nothing of what they report on."""

import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.readiness.errors import ToolError

LONGEST_SECONDS = 1800
_CHANGED = "changed"
_HARNESS_BROKE = 3
_KILLS = """
import json, sys
from conformance.planted import run
results = [run.run_suite(suite) for suite in run.SUITES if suite.checker in sys.argv[1:]]
print(json.dumps({result.checker: [result.planted, result.caught] for result in results}))
"""


@dataclass(frozen=True, slots=True)
class HarnessJudge:
    """`python -m conformance judge`, and the planted defects, in a checkout."""

    root: Path

    def changed(self, run: Path) -> Sequence[str]:
        """One line for each verdict of the run that its history no longer leads to.

        Raises:
            ToolError: the harness could not judge.
        """
        if not (run / "histories").is_dir():
            return ()
        result = self._run("-m", "conformance", "judge", str(run.absolute()))
        changed = [
            line.removeprefix(_CHANGED).strip() for line in result.stdout.splitlines() if line.startswith(_CHANGED)
        ]
        if result.returncode not in (0, 1, 2) and not changed:
            told = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
            if result.returncode == _HARNESS_BROKE:
                return (told,)
            raise ToolError(f"python -m conformance judge {run} ended with {result.returncode}: {told}")
        return changed

    def kills(self, checkers: Collection[str]) -> Mapping[str, tuple[int, int]]:
        """Checker -> planted defects, and how many of them it catches; those that are not there any more are left out.

        Raises:
            ToolError: the planted defects could not be run.
        """
        result = self._run("-c", _KILLS, *checkers)
        if result.returncode != 0:
            told = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ToolError(f"the checkers could not be checked: {told}")
        return {checker: (planted, caught) for checker, (planted, caught) in json.loads(result.stdout).items()}

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, *arguments]
        try:
            return subprocess.run(
                command, cwd=self.root, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"the checkers did not end within {LONGEST_SECONDS} s") from error

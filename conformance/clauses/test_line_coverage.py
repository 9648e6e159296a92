"""How much of the platform the repository's own tests run.

They MUST run more than 90 % of k2's lines and branches, 95 % of the sequence tracker's and 93 % of the connection
pool's (HAR-2). What numba compiles cannot be watched, so the tracker's tests run once more with its loops as Python.

With PROFILE=full only: it is the whole of the unit tests, watched.
"""

import json
import operator
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact

pytestmark = [pytest.mark.alone, pytest.mark.full_profile, pytest.mark.timeout(3_600)]
ROOT = Path(__file__).resolve().parents[2]
LEAST_PERCENT = {"k2/*": 90.0, "k2/ingestion/sequence_*.py": 95.0, "k2/query/pool.py": 93.0}
LEAST_LINES = 5_000
_PYTEST = (
    sys.executable,
    "-m",
    "pytest",
    "--quiet",
    "-p",
    "no:cacheprovider",
    "-n",
    "auto",
    "--cov=k2",
    "--cov-report=",
)
_NO_SERVERS = ("tests", "--ignore=tests/containers", "--ignore=tests/repository")


@pytest.mark.clause(
    name="line_coverage",
    claims=("HAR-2c",),
    checker="facts",
    title="The repository's tests run more of k2, its tracker and its pool than the stated shares",
    minimum_samples=LEAST_LINES,
    remedy="`make coverage` lists the lines that no test runs",
)
def test_the_stated_shares_of_the_platform_are_tested(clause: ClauseRun, tmp_path: Path) -> None:
    counts = watched_counts(tmp_path)
    with clause.history() as history:
        for pattern, least in LEAST_PERCENT.items():
            run, known = share(counts, pattern)
            percent = 100 * run / max(known, 1)
            clause.note(f"{pattern}: {run:,} of {known:,} lines and branches, {percent:.1f} %")
            record_fact(history, f"{pattern} above {least:g} %", True, operator.gt, percent, least, samples=known)
    clause.judge()


def watched_counts(folder: Path) -> dict[str, tuple[int, int]]:
    """Lines and branches that ran, and all of them, of each file, after all unit tests have passed.

    Raises:
        CalledProcessError: a test failed.
    """
    environment = {**os.environ, "COVERAGE_FILE": str(folder / "data")}
    run = [
        (_NO_SERVERS, environment),
        (("tests/ingestion", "-k", "sequence"), {**environment, "NUMBA_DISABLE_JIT": "1"}),
    ]
    for number, (chosen, variables) in enumerate(run):
        appended = ("--cov-append",) if number else ()
        subprocess.run([*_PYTEST, *appended, *chosen], cwd=ROOT, env=variables, check=True, capture_output=True)
    report = folder / "coverage.json"
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", str(report)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    files = json.loads(report.read_text())["files"]
    return {path: _run_and_known(one["summary"]) for path, one in files.items()}


def share(counts: dict[str, tuple[int, int]], pattern: str) -> tuple[int, int]:
    """What ran and what there is, of the files whose path is like the pattern."""
    chosen = [both for path, both in counts.items() if fnmatch(path, pattern)]
    return sum(run for run, _ in chosen), sum(known for _, known in chosen)


def _run_and_known(summary: dict[str, int]) -> tuple[int, int]:
    return (
        summary["covered_lines"] + summary["covered_branches"],
        summary["num_statements"] + summary["num_branches"],
    )

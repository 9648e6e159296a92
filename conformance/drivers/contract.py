"""Runs Schemathesis over the OpenAPI document of a running API and gives what it found, operation by operation."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOOKS = "conformance.drivers.contract_hooks"
PHASES = ("examples", "coverage", "fuzzing")
_PROJECT_ROOT = Path(__file__).resolve().parents[2]
# It ends with 1 where a check failed, which its report tells in full.
_ENDINGS = (0, 1)


def run_schemathesis(
    api_url: str, cursor: str, report: Path, *, examples: int, seed: int, timeout_seconds: float
) -> Iterator[dict[str, Any]]:
    """What became of each operation in each phase: operation, phase, cases, statuses, checks, failures.

    Args:
        api_url: the running API.
        cursor: one that the API has given.
        report: file for Schemathesis's own report.
        examples: made up for each operation, at most.
        seed: of what is made up.
        timeout_seconds: for the whole run.

    Raises:
        RuntimeError: it did not run to its end.
    """
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{api_url}/openapi.json"),
        *("--checks", "all", "--phases", ",".join(PHASES), "--workers", "2", "--continue-on-failure", "--no-shrink"),
        *("--max-examples", str(examples), "--seed", str(seed), "--report-ndjson-path", str(report)),
        *("--output-sanitize", "false", "--request-timeout", "30"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "K2_CONTRACT_CURSOR": cursor}
    ended = subprocess.run(
        command,
        cwd=_PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if ended.returncode not in _ENDINGS or not report.exists():
        raise RuntimeError(f"schemathesis ended with {ended.returncode}: {(ended.stderr or ended.stdout)[-300:]}")
    for line in report.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        finished = event.get("ScenarioFinished")
        if finished is not None and finished["recorder"].get("cases"):
            yield _outcome(finished)


def _outcome(finished: dict[str, Any]) -> dict[str, Any]:
    recorder = finished["recorder"]
    statuses = Counter(
        str(one["response"]["status_code"] if one.get("response") else None)
        for one in recorder["interactions"].values()
    )
    checks = [(case, check) for case, done in recorder["checks"].items() for check in done]
    failures = [
        f"{check['name']}: {json.dumps(recorder['cases'][case]['value'])[:300]}"
        for case, check in checks
        if check["status"] != "success"
    ]
    return {
        "operation": recorder["label"],
        "phase": finished["phase"],
        "cases": len(recorder["interactions"]),
        "statuses": dict(statuses),
        "checks": sorted({check["name"] for _, check in checks}),
        "failures": failures,
    }

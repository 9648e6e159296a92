"""The commands of every runbook are typed on a deployment and end as the page says, and one that does not is found.

`k2 runbooks validate --full` MUST run every command block of every runbook on the running deployment, but those that
say why no test can run them, and MUST fail where one does not end as its page says (OPS-2b).
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.recoveries import Step, block_of
from conformance.drivers.silence import wait_until
from conformance.drivers.table_view import open_table
from conformance.stacks.containers.deployed import RUNBOOKS, Deployed, docker
from conformance.stacks.containers.paths import PROJECT_ROOT
from k2.feeds.capture_writer import write_capture
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

pytestmark = [pytest.mark.alone, pytest.mark.full_profile, pytest.mark.timeout(1_500)]
LEAST_BLOCKS = 75
UNTESTED = 1
"""Blocks that say why no test can run them."""
SYMBOL = "BTCUSDT"
PATIENCE_SECONDS = 120.0
SNAPSHOTS = 5
BROKEN = ("api-down", 'curl --silent --fail --max-time 5 "$API/health"', 'curl --silent --fail "$API/healthy"')
"""A page, a command of it, and a command that reads as well and fails."""


@pytest.mark.clause(
    name="runbooks/executed",
    claims=("OPS-2b",),
    checker="facts",
    title="Every command block of every runbook ends on a deployment as its page says, and a broken one is found",
    minimum_samples=LEAST_BLOCKS,
    remedy="runbooks.md of the run's folder has the output of each block that is wrong",
)
def test_every_command_of_every_runbook_is_executed(deployment: Deployed, clause: ClauseRun, tmp_path: Path) -> None:
    with clause.history() as history:
        given = what_readers_set(deployment, tmp_path)
        report = clause.run_directory / "runbooks.md"
        status, blocks, counts = run_full(deployment, given, PROJECT_ROOT, "--report", str(report))
        run = [one for one in blocks if one["exit_code"] is not None]
        wrong = [f"{one['path']}:{one['line']}: {one['reason']}" for one in blocks if one["result"] == "failed"]
        record_fact(history, "blocks that are wrong", [], lambda: wrong, samples=len(run))
        record_fact(history, "blocks that lack a variable", 0, lambda: counts["not given"])
        record_fact(history, "blocks that say why they are not run", UNTESTED, lambda: counts["untested"])
        record_fact(history, "enough blocks were run", True, lambda: len(run) >= LEAST_BLOCKS)
        record_fact(history, "exit code", 0, lambda: status)
        record_fact(history, "there is a report", True, report.is_file)

        page, before, after = BROKEN
        root = plant(tmp_path / "broken", page, before, after)
        record_fact(history, "mistakes by the look of the broken page", 0, lambda: looked_at(root, page))
        status, blocks, _ = run_full(deployment, given, root, "--test", page)
        record_fact(history, "exit code with a broken command", 1, lambda: status)
        broken = [one["path"] for one in blocks if one["result"] == "failed"]
        record_fact(history, "where it is found", [str(root / RUNBOOKS / f"{page}.md")], lambda: broken)
    clause.judge()


def what_readers_set(deployment: Deployed, folder: Path) -> dict[str, str]:
    """A value for each variable that a page has its reader set, of what the deployment holds."""
    deployment.shell("compose start feed")
    storage = deployment.stack.settings.storage
    wait_until(
        lambda: len(open_table(storage, TRADE.table).metadata.snapshots) > SNAPSHOTS,
        PATIENCE_SECONDS,
        "the deployment takes nothing in",
    )
    capture = folder / "capture.gz"
    write_capture(SyntheticExchange(SyntheticSettings(seed=81, records=50)), capture)
    _, backup = block_of(Step("disaster-recovery", "k2 backup"))
    # The snapshots of the backup are still there when a page has restored it.
    chosen = open_table(storage, TRADE.table).metadata.snapshots[-SNAPSHOTS]
    deployment.shell(backup.text)
    image = docker("inspect", "--format", "{{.Config.Image}}", deployment.container("api")).strip()
    return {
        "SYMBOL": SYMBOL,
        "START": "2025-01-01T00:00:00Z",
        "END": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "CAPTURE": str(capture),
        "TAG": image.rpartition(":")[2],
        "TIME": datetime.fromtimestamp(chosen.timestamp_ms / 1000, UTC).isoformat(),
        "SNAPSHOT": str(chosen.snapshot_id),
    }


def run_full(
    deployment: Deployed, given: Mapping[str, str], root: Path, *options: str
) -> tuple[int, list[dict[str, Any]], dict[str, int]]:
    """`k2 runbooks validate --full`: exit code, what became of each block, and counts."""
    command = ["runbooks", "validate", "--root", str(root), "--full", "--json", *options]
    done = k2(command, {**deployment.environment, **given})
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    blocks = [line for line in lines if "result" in line]
    return done.returncode, blocks, next((line for line in lines if "untested" in line), {})


def looked_at(root: Path, page: str) -> int:
    """Exit code of `k2 runbooks validate` that runs nothing."""
    return k2(["runbooks", "validate", "--root", str(root), "--test", page]).returncode


def k2(arguments: list[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command of k2."""
    command = [sys.executable, "-m", "k2.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=PROJECT_ROOT)


def plant(root: Path, page: str, before: str, after: str) -> Path:
    """A copy of what the command reads, with a command of a page replaced.

    Raises:
        ValueError: the page has no such command, so nothing would be planted.
    """
    shutil.copytree(PROJECT_ROOT / "docs", root / "docs")
    shutil.copytree(PROJECT_ROOT / "deploy", root / "deploy")
    path = root / RUNBOOKS / f"{page}.md"
    text = path.read_text()
    if before not in text:
        raise ValueError(f"{path} has no {before!r}")
    path.write_text(text.replace(before, after))
    return root

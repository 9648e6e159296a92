"""A demo's data is thrown away on purpose only, wholly, and nothing else with it.

`k2 reset` MUST refuse what is not marked as a demo, or leads to other servers than when it was marked; a dry run, a
refusal and an answer other than yes MUST change nothing; forced, it MUST remove exactly what the dry run announced
(OPS-4a). On a deployment each KEEP option MUST keep exactly its component (OPS-4b).
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.demo_reset import announced, is_sample_there, log_starts, rows
from conformance.drivers.dlq_command import Answer, k2
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.table_view import open_table
from conformance.stacks.base import Stack
from conformance.stacks.containers.demo import COMPONENTS, reset
from conformance.stacks.containers.deployed import Deployed
from k2.assembly.demo import MARK, mark_demo
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import QUOTE, TRADE

RECORDS = 400
REFUSED, NOT_CONFIRMED = 78, 1
SETTLED_SECONDS = 20.0
"""Longer than Prometheus takes to look at each process once."""


@pytest.mark.clause(
    name="demo_reset",
    claims=("OPS-4a",),
    checker="facts",
    title="A dry run and a refusal change nothing, and force removes exactly what was announced",
    minimum_samples=15,
    remedy="see k2/assembly/resetting.py and k2/assembly/demo.py",
)
def test_a_reset_removes_what_it_announced_and_nothing_else(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=71) as history:
        consumers = [stack.start_consumer(one) for one in ("trades", "quotes")]
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=71, records=RECORDS)))
        wait_until_drained(stack, history, fed.acknowledged_ends())
        for consumer in consumers:
            consumer.stop()
        held, state = rows(stack), snapshot_of(stack)
        beside = stack.directory / "notes.txt"
        beside.write_text("not K2's")

        def refused(name: str, expected: int, *arguments: str, **how: Any) -> None:
            answer = how.pop("run", k2)(stack, "reset", "--keep-kafka", *arguments, **how)
            record_fact(history, f"exit code: {name}", expected, lambda: answer.exit_code)
            record_fact(history, f"nothing changed: {name}", state, snapshot_of, stack)

        refused("not marked", REFUSED, "--force")
        mark_demo(stack.directory, stack.settings)
        elsewhere = {"K2_STORAGE__CATALOG_NAME": "another"}
        refused("marked for other servers", REFUSED, "--force", environment=elsewhere)
        refused("a dry run", 0, "--dry-run")
        refused("nobody answers", NOT_CONFIRMED, run=answering(""))
        refused("the answer is no", NOT_CONFIRMED, run=answering("n\n"))

        plan = announced(k2(stack, "reset", "--keep-kafka", "--dry-run", "--json").stdout)
        audit = str(stack.settings.storage.audit_log)
        expected = sorted([("files", audit), *(("table", one.table) for one in (TRADE, QUOTE))])
        record_fact(history, "announced", [list(one) for one in expected], lambda: [list(one) for one in plan])
        done = k2(stack, "reset", "--keep-kafka", "--force", "--json")
        record_fact(history, "removed", [list(one) for one in plan], lambda: [
            list(one) for one in announced(done.stdout)
        ])  # fmt: skip
        record_fact(history, "rows before", RECORDS, lambda: sum(held.values()))
        record_fact(history, "rows afterwards", {}, rows, stack)
        record_fact(history, "audit log afterwards", False, stack.settings.storage.audit_log.exists)
        record_fact(history, "what stays", [True, True], lambda: [
            beside.exists(), (stack.directory / MARK).exists()
        ])  # fmt: skip
        record_fact(history, "nothing is left to remove", "", lambda: k2(
            stack, "reset", "--keep-kafka", "--dry-run", "--json"
        ).stdout)  # fmt: skip
    clause.judge()


def snapshot_of(stack: Stack) -> list[Any]:
    """Everything that a reset could touch: rows, and the audit log's size."""
    log = stack.settings.storage.audit_log
    return [rows(stack), log.stat().st_size if log.exists() else None]


def answering(text: str) -> Callable[..., Answer]:
    """Runs `k2` with somebody who types this, or nobody."""

    def run(stack: Stack, *arguments: str) -> Answer:
        command = [sys.executable, "-m", "k2.cli", "--data-dir", str(stack.directory), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.mark.alone
@pytest.mark.full_profile
@pytest.mark.timeout(900)
@pytest.mark.clause(
    name="demo_reset/components",
    claims=("OPS-4b",),
    checker="facts",
    title="Each KEEP option of make demo-reset keeps exactly its component, and a dry run lists what then goes",
    minimum_samples=5 * len(COMPONENTS),
    remedy="see conformance/stacks/containers/demo.py; compose.log is in the run's folder `deployed`",
)
def test_each_keep_option_keeps_exactly_its_component(deployment: Deployed, clause: ClauseRun) -> None:
    with clause.history(seed=72) as history:
        deployment.shell("compose start feed")
        for keep in COMPONENTS:
            time.sleep(SETTLED_SECONDS)
            moment = time.time() - 1
            before = look(deployment, moment)
            planned = run_reset(deployment, keep, dry_run=True)
            record_fact(history, f"KEEP {keep}: after a dry run", before, look, deployment, moment)
            done = run_reset(deployment, keep, dry_run=False)
            record_fact(history, f"KEEP {keep}: removed what was announced", planned, lambda done=done: done)
            after = look(deployment, moment)
            for component in COMPONENTS:
                kept = after[component] == before[component]
                name = f"KEEP {keep}: {component} is as it was"
                record_fact(history, name, component == keep, lambda kept=kept: kept)
    clause.judge()


def look(deployment: Deployed, moment: float) -> dict[str, Any]:
    """Of each component what is as long as its data stays: where topics begin, the table's id, an old sample."""
    deployment.shell("healthy prometheus")
    return {
        "kafka": log_starts(deployment.stack),
        "iceberg": str(open_table(deployment.stack.settings.storage, TRADE.table).metadata.table_uuid),
        "metrics": is_sample_there(deployment, "up", moment),
    }


def run_reset(deployment: Deployed, keep: str, *, dry_run: bool) -> list[str]:
    """Reset, and the names of what it says goes."""
    found = reset(
        deployment.environment,
        lambda text: None,
        lambda: True,
        keep=[keep],
        dry_run=dry_run,
        directory=deployment.directory,
        project=deployment.project,
    )
    return [f"{item.component} {item.kind} {item.name}" for item in found]

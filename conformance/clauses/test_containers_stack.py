"""The stack of real servers serves a platform without a word of complaint, and a crash leaves nothing behind.

Without faults every record MUST reach the API and no server may write an error line that nobody expects. What a runner
that was killed leaves behind MUST be gone after the next start, and what belongs to a living one MUST be there still
(HAR-1).
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.silence import wait_until
from conformance.history import HistoryWriter
from conformance.run import PROJECT_ROOT
from conformance.stacks.base import PowerMissingError, Stack
from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.ownership import RUN_LABEL
from conformance.stacks.containers.services import ContainerServices, remove_orphans
from conformance.stacks.containers.stack import ContainerStack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

RECORDS = 1_000
PATIENCE_SECONDS = 120.0
CAUGHT_AT = 4
"""Containers, networks and volumes that a runner has made when it is killed."""


@pytest.mark.clause(
    name="containers_stack",
    claims=("HAR-1b",),
    checker="facts",
    title="Real servers serve without an unexpected error line, and the next start clears up after a killed runner",
    minimum_samples=8,
    remedy="see conformance/stacks/containers/ownership.py, and expected_errors.toml for lines that are harmless",
)
def test_real_servers_serve_and_leave_nothing_behind(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    if not isinstance(stack, ContainerStack):
        raise PowerMissingError("this stack has no servers in containers")
    services, begun = stack.services, time.time()
    with clause.history(seed=21) as history:
        records = SyntheticExchange(SyntheticSettings(seed=21, records=RECORDS, trade_share=1.0, duplicate_rate=0.0))
        stack.start_consumer("trades")
        fed = feed_records(stack, records)
        wait_until_drained(stack, history, fed.acknowledged_ends())
        url = stack.start_api()
        record_fact(history, "trades the API answers", RECORDS, http.count_rows, f"{url}/v1/trades", samples=RECORDS)
        record_fact(history, "unexpected error lines", [], lambda: [str(e) for e in services.unexpected_errors(begun)])
        record_crash(history, services, tmp_path / "crashed")
    clause.judge()


def record_crash(history: HistoryWriter, services: ContainerServices, directory: Path) -> None:
    """Facts about a runner that is killed half-way, beside one that lives."""
    engine = services.client
    ours = pieces(engine, services.run_id)
    others = runs(engine)
    runner = subprocess.Popen(
        [sys.executable, "-m", "conformance.stacks.containers", "serve", str(directory)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: bool(runs(engine) - others), PATIENCE_SECONDS, "the runner started nothing")
        (run_id,) = runs(engine) - others
        wait_until(lambda: pieces(engine, run_id) >= CAUGHT_AT, PATIENCE_SECONDS, "the runner started too little")
        record_fact(history, "removed while it lives", [], remove_orphans, engine, silent)
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    record_fact(history, "it left something behind", True, lambda: pieces(engine, run_id) >= CAUGHT_AT)
    record_fact(history, "removed once it was killed", [run_id], remove_orphans, engine, silent)
    record_fact(history, "left of it", 0, pieces, engine, run_id)
    record_fact(history, "left of the living one", ours, pieces, engine, services.run_id)


def runs(engine: EngineClient) -> set[str]:
    """Runs of which something is there."""
    return {labels[RUN_LABEL] for labels in engine.labels(RUN_LABEL)}


def pieces(engine: EngineClient, run_id: str) -> int:
    """Containers, networks and volumes of a run."""
    return len(engine.labels(f"{RUN_LABEL}={run_id}"))


def silent(text: str) -> None:
    """Nobody reads what is said."""

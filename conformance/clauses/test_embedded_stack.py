"""The embedded stack starts, serves, and leaves nothing behind.

A stack MUST be serving within a minute of being started, MUST end every process it started when it is stopped, and
MUST end them also when whoever runs it is killed with SIGKILL (HAR-1).
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.run import PROJECT_ROOT
from conformance.stacks.embedded import EmbeddedStack

END_TIMEOUT_SECONDS = 20.0
START_TIMEOUT_SECONDS = 60.0
RUNNER = """
import sys, time
from pathlib import Path
from conformance.stacks.embedded import EmbeddedStack
stack = EmbeddedStack(Path(sys.argv[1]))
stack.start()
stack.start_consumer("trades")
print(stack.start_api(), flush=True)
time.sleep(600)
"""


@pytest.mark.clause(
    name="embedded_stack",
    claims=("HAR-1a",),
    checker="facts",
    title="The embedded stack serves, and no process of it is left after a stop or after its runner was killed",
    minimum_samples=5,
    remedy="see k2/embedded/processes.py",
)
def test_the_embedded_stack_leaves_nothing_behind(clause: ClauseRun, tmp_path: Path) -> None:
    with clause.history() as history:
        with EmbeddedStack(tmp_path / "stopped") as stack:
            consumer = stack.start_consumer("trades")
            api_url = stack.start_api()
            record_fact(history, "health while it runs", 200, health, api_url)
            processes = processes_of(tmp_path / "stopped")
            record_fact(history, "it is made of processes", True, lambda: consumer.pid in {p.pid for p in processes})
        record_fact(history, "processes left after a stop", 0, left, tmp_path / "stopped")

        directory = tmp_path / "killed"
        runner = subprocess.Popen(
            [sys.executable, "-c", RUNNER, str(directory)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
        )
        assert runner.stdout is not None
        with runner.stdout:
            record_fact(history, "health before the runner is killed", 200, health, runner.stdout.readline().strip())
            os.kill(runner.pid, signal.SIGKILL)
            runner.wait()
        record_fact(history, "processes left after the runner was killed", 0, left, directory)
    clause.judge()


def health(api_url: str) -> int:
    """Status of /health, once it answers at all."""
    give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
    while (status := http.get(f"{api_url}/health").status) != 200 and time.monotonic() < give_up_at:
        time.sleep(0.1)
    return status


def processes_of(directory: Path) -> list[psutil.Process]:
    """Processes that were started for a stack in this directory, told by their command line or their open log."""
    found = []
    for process in psutil.process_iter():
        try:
            mentions = str(directory) in " ".join(process.cmdline())
            if mentions or any(str(directory) in file.path for file in process.open_files()):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.pid != os.getpid()]


def left(directory: Path) -> int:
    """Processes that are still there after they had time to end."""
    give_up_at = time.monotonic() + END_TIMEOUT_SECONDS
    while (remaining := processes_of(directory)) and time.monotonic() < give_up_at:
        time.sleep(0.1)
    return len(remaining)

"""The supervisor starts again what failed, waits longer each time, and leaves alone what a person must look at."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from conformance.stacks.supervisor import NEEDS_A_PERSON, RestartPolicy, Supervisor
from k2.embedded.processes import ChildProcess

PATIENCE_SECONDS = 30.0
QUICK = RestartPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.04, settled_seconds=60.0)


class Worker:
    """Starts processes that end as told; after the last of these, ones that run until they are stopped."""

    def __init__(self, folder: Path, exit_codes: Sequence[int]) -> None:
        self._folder = folder
        self._exit_codes = list(exit_codes)
        self.children: list[ChildProcess] = []
        self.started_at: list[float] = []
        (folder / "worker.py").write_text(
            "import os, signal, sys, time\n"
            "code = sys.argv[1]\n"
            "if code == 'run':\n    time.sleep(600)\n"
            "if int(code) < 0:\n    os.kill(os.getpid(), -int(code))\n"
            "sys.exit(int(code))\n"
        )

    def start(self) -> ChildProcess:
        code = str(self._exit_codes.pop(0)) if self._exit_codes else "run"
        environment = {"PYTHONPATH": str(self._folder)}
        child = ChildProcess("worker", ["worker", code], self._folder / "worker.log", environment)
        self.children.append(child)
        self.started_at.append(time.monotonic())
        return child


def wait_until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_a_process_that_runs_is_left_alone_and_stopped_at_the_end(tmp_path: Path) -> None:
    worker = Worker(tmp_path, [])
    with Supervisor(worker.start, QUICK) as supervisor:
        wait_until(lambda: bool(worker.children))
        assert supervisor.is_watching()
    assert not supervisor.is_watching()
    assert supervisor.ends == ()
    assert len(worker.children) == 1
    assert not psutil.pid_exists(worker.children[0].pid)


def test_a_process_that_fails_is_started_again_after_growing_waits(tmp_path: Path) -> None:
    policy = RestartPolicy(first_wait_seconds=0.05, longest_wait_seconds=0.15, settled_seconds=60.0)
    worker = Worker(tmp_path, [75, 1, -9, 69])
    with Supervisor(worker.start, policy, random.Random(1)) as supervisor:
        wait_until(lambda: len(worker.children) == 5)
    assert [end.exit_code for end in supervisor.ends] == [75, 1, -9, 69]
    assert [end.failures for end in supervisor.ends] == [1, 2, 3, 4]
    waits = [end.wait_seconds or 0.0 for end in supervisor.ends]
    assert 0.05 <= waits[0] <= 0.075
    assert 0.1 <= waits[1] <= 0.15
    assert waits[2:] == [0.15, 0.15]
    between = [later - earlier for earlier, later in zip(worker.started_at, worker.started_at[1:], strict=False)]
    assert all(gap >= wait for gap, wait in zip(between, waits, strict=True))


@pytest.mark.parametrize("exit_code", [0, *sorted(NEEDS_A_PERSON)])
def test_a_process_that_is_done_or_needs_a_person_stays_down(tmp_path: Path, exit_code: int) -> None:
    worker = Worker(tmp_path, [75, exit_code])
    with Supervisor(worker.start, QUICK) as supervisor:
        wait_until(lambda: not supervisor.is_watching())
    assert [(end.exit_code, end.wait_seconds is None) for end in supervisor.ends] == [(75, False), (exit_code, True)]
    assert len(worker.children) == 2


def test_a_process_that_ran_well_for_a_while_begins_with_the_first_wait(tmp_path: Path) -> None:
    policy = RestartPolicy(first_wait_seconds=0.01, longest_wait_seconds=1.0, settled_seconds=0.0)
    worker = Worker(tmp_path, [75, 75, 75])
    with Supervisor(worker.start, policy) as supervisor:
        wait_until(lambda: len(worker.children) == 4)
    assert [end.failures for end in supervisor.ends] == [1, 1, 1]
    assert all(0.01 <= (end.wait_seconds or 0.0) <= 0.015 for end in supervisor.ends)


def test_stopping_does_not_wait_for_the_back_off(tmp_path: Path) -> None:
    policy = RestartPolicy(first_wait_seconds=600.0, longest_wait_seconds=600.0)
    worker = Worker(tmp_path, [75])
    with Supervisor(worker.start, policy) as supervisor:
        wait_until(lambda: len(supervisor.ends) == 1)
        started = time.monotonic()
    assert time.monotonic() - started < PATIENCE_SECONDS
    assert len(worker.children) == 1


def test_what_starting_raises_is_raised_by_stopping() -> None:
    def start() -> ChildProcess:
        raise OSError("no such program")

    with pytest.raises(OSError, match="no such program"), Supervisor(start, QUICK) as supervisor:
        wait_until(lambda: not supervisor.is_watching())

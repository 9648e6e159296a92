"""Commands of the host leave their output in a file, and end in an orderly way when they are interrupted."""

import os
import signal
from pathlib import Path

import pytest

from conformance.stacks.containers.host_commands import HostCommandError, last_lines, run_logged


def test_output_is_appended_under_the_command_that_wrote_it(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "apt.log"
    run_logged(("echo", "one"), log, os.environ)
    run_logged(("sh", "-c", "echo two >&2"), log, os.environ)
    assert log.read_text() == "$ echo one\none\n$ sh -c echo two >&2\ntwo\n"


def test_a_failure_carries_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(HostCommandError, match="sh failed with exit status 7") as caught:
        run_logged(("sh", "-c", "seq 40; exit 7"), tmp_path / "log", os.environ)
    assert caught.value.tail.splitlines() == [str(number) for number in range(26, 41)]


def test_ctrl_c_is_passed_on_once_and_the_command_is_waited_for(tmp_path: Path) -> None:
    script = "trap 'echo tidied; exit 3' INT; echo begun; while :; do sleep 0.05; done"
    log = tmp_path / "log"

    def interrupt(*_: object) -> None:
        if "begun" in last_lines(log):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_logged(("sh", "-c", script), log, os.environ)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert last_lines(log, 1) == "tidied"


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "missing") == ""

"""Child processes: their first line, their log, their end, and the end of their parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from k2.embedded.processes import ChildProcess
from k2.errors import UnavailableError

TALKS = "import sys, time, os; print(os.environ['WORD'], flush=True); sys.stderr.write('logged\\n'); sys.stdin.read()"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
FAILS = "raise SystemExit('no such thing')"


def child(tmp_path: Path, code: str, **environment: str) -> ChildProcess:
    (tmp_path / "child_module.py").write_text(code)
    return ChildProcess(
        "part", ["child_module"], tmp_path / "logs" / "part.log", {"PYTHONPATH": str(tmp_path), **environment}
    )


def test_it_says_its_first_line_logs_and_ends_when_asked(tmp_path: Path) -> None:
    process = child(tmp_path, TALKS, WORD="ready")
    assert process.next_line() == "ready"
    assert process.returncode() is None
    assert os.getsid(process.pid) == process.pid
    assert process.stop() in (0, -signal.SIGTERM)
    assert not psutil.pid_exists(process.pid)


def test_one_that_does_not_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="part did not start: no such thing"):
        child(tmp_path, FAILS).next_line()


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = child(tmp_path, DEAF)
    process.next_line()
    assert process.stop(timeout_seconds=0.3) == -signal.SIGKILL


def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "child_module.py").write_text(TALKS)
    parent_code = (
        "import pathlib, time; from k2.embedded.processes import ChildProcess; "
        f"c = ChildProcess('part', ['child_module'], pathlib.Path({str(tmp_path)!r}) / 'log', {{'WORD': 'x'}}); "
        "c.next_line(); print(c.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}"},
    )
    assert parent.stdout is not None
    process = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    psutil.wait_procs([process], timeout=5)
    assert not process.is_running()

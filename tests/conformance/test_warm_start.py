"""Warm processes: real ones, with their own module, environment, pipes, log, exit status and end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conformance.stacks.warm_start import process_starter, start_warm
from k2.embedded.processes import ChildProcess, start_interpreter

ECHO = (
    "import os, sys; print(os.environ['WORD'], sys.argv[1:], __name__, 'pyiceberg' in sys.modules, flush=True); "
    "sys.stderr.write('logged\\n'); print(sys.stdin.readline().strip(), flush=True); sys.exit(75)"
)
SLEEPS = "import time; print('asleep', flush=True); time.sleep(60)"


def child(folder: Path, code: str, *arguments: str) -> ChildProcess:
    """A warm process that runs this code as a module."""
    package = folder / "scripted"
    package.mkdir(exist_ok=True)
    (package / "__main__.py").write_text(code)
    return ChildProcess("part", ["scripted", *arguments], folder / "part.log", {"WORD": "ready"}, start_warm)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_it_runs_its_module_with_arguments_environment_pipes_and_log(folder: Path) -> None:
    process = child(folder, ECHO, "--port", "7")
    assert process.next_line() == "ready ['--port', '7'] __main__ True"
    assert os.getsid(process.pid) == process.pid
    process.send_line("over")
    assert process.next_line() == "over"
    assert process.wait(20) == 75
    assert process.last_log_line() == "logged"
    assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it_as_any_process(folder: Path, number: signal.Signals) -> None:
    process = child(folder, SLEEPS)
    process.next_line()
    assert process.returncode() is None
    process.signal(number)
    assert process.wait(20) == -number


def test_waiting_for_one_that_goes_on_times_out(folder: Path) -> None:
    process = child(folder, SLEEPS)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.stop()


def test_it_ends_with_a_starter_that_was_killed(folder: Path) -> None:
    (folder / "scripted").mkdir()
    (folder / "scripted" / "__main__.py").write_text(SLEEPS)
    code = (
        "import pathlib, time; from conformance.stacks.warm_start import start_warm; "
        "from k2.embedded.processes import ChildProcess; "
        f"c = ChildProcess('part', ['scripted'], pathlib.Path({str(folder)!r}) / 'log', None, start_warm); "
        "c.next_line(); print(c.pid, flush=True); time.sleep(60)"
    )
    path = f"{folder}:{Path(__file__).resolve().parents[2]}"
    starter = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert starter.stdout is not None
    with starter.stdout:
        process = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
        starter.wait()
    process.wait(20)


def test_the_full_profile_starts_processes_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILE", "full")
    assert process_starter() is start_interpreter
    monkeypatch.setenv("PROFILE", "smoke")
    assert process_starter() is (start_warm if sys.platform == "linux" else start_interpreter)

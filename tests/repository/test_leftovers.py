"""A process that outlives its run is noticed, by the tests and by continuous integration, and is ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

DETACHED = (
    "import subprocess, pathlib; process = subprocess.Popen(['sleep', '60'], start_new_session=True);"
    "pathlib.Path('pid').write_text(str(process.pid))"
)


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[Callable[[], bool]]:
    """Whether the process whose id is in the file `pid` has ended; ends it in any case."""
    file = tmp_path / "pid"

    def has_ended() -> bool:
        pid = int(file.read_text())
        deadline = time.monotonic() + 2
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    yield has_ended
    if file.exists() and not has_ended():
        os.kill(int(file.read_text()), signal.SIGKILL)


def run_pytest(folder: Path, test: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_planted.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def test_a_process_a_test_leaves_behind_fails_the_session(
    root: Path, tmp_path: Path, ended: Callable[[], bool]
) -> None:
    shutil.copy(root / "tests" / "conftest.py", tmp_path)
    result = run_pytest(tmp_path, f"def test_planted():\n    {DETACHED}\n")
    assert result.returncode == 1, result.stdout
    assert "tests left processes running" in result.stdout
    assert ended()


def test_a_process_that_was_waited_for_does_not(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "tests" / "conftest.py", tmp_path)
    result = run_pytest(tmp_path, "import subprocess\n\ndef test_planted():\n    subprocess.run(['true'])\n")
    assert result.returncode == 0, result.stdout


def run_ci(root: Path, folder: Path, make: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of .ci/run with `make` replaced by a script."""
    (folder / ".ci").mkdir()
    shutil.copy(root / ".ci" / "run", folder / ".ci")
    tool = folder / "tools" / "make"
    tool.parent.mkdir()
    tool.write_text(f"#!{sys.executable}\n{make}\n")
    tool.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}", "TMPDIR": str(folder)}
    command = ["bash", str(folder / ".ci" / "run")]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_continuous_integration_fails_over_a_process_left_behind(
    root: Path, tmp_path: Path, ended: Callable[[], bool]
) -> None:
    result = run_ci(root, tmp_path, DETACHED)
    assert result.returncode == 1, result.stderr
    assert "ci: left running:" in result.stderr
    assert ended()


@pytest.mark.parametrize("status", [0, 2])
def test_continuous_integration_runs_make_test_keeps_its_status_and_its_temporary_folder_clean(
    root: Path, tmp_path: Path, status: int
) -> None:
    make = f"import sys, tempfile; tempfile.mkdtemp(); print(sys.argv[1:]); sys.exit({status})"
    result = run_ci(root, tmp_path, make)
    assert (result.returncode, result.stdout) == (status, "['test']\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ci", "tools"]

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "create_environment.sh"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder to be the whole PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


def interpreter(path: Path, body: str = "") -> None:
    """An executable that does `body` and then is the running Python."""
    path.write_text(f'#!/bin/sh\n{body}\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)


def create(tools: Path, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", SCRIPT, directory],
        env={"PATH": str(tools), **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_machine_without_python_gets_one_clear_line(tools: Path, tmp_path: Path) -> None:
    result = create(tools, tmp_path / "env")
    assert result.returncode == 1
    assert result.stderr.startswith("setup: no Python 3.11 or newer")
    assert result.stderr.count("\n") == 1


def test_a_python_that_is_too_old_does_not_count(tools: Path, tmp_path: Path) -> None:
    interpreter(tools / "python3", "exit 1")
    assert "no Python 3.11 or newer" in create(tools, tmp_path / "env").stderr


def test_a_python_without_venv_names_the_package_to_install(tools: Path, tmp_path: Path) -> None:
    interpreter(tools / "python3", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    result = create(tools, tmp_path / "env")
    assert result.returncode == 1
    assert f"apt-get install python{sys.version_info.major}.{sys.version_info.minor}-venv" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_candidate_that_cannot_is_passed_over_for_one_that_can(tools: Path, tmp_path: Path) -> None:
    interpreter(tools / "python3.13", "exit 127")
    interpreter(tools / "python3.12", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    interpreter(tools / "python3", f'[ "$2" = venv ] && {{ echo "$@" >"{tmp_path}/created"; exit 0; }}')
    assert create(tools, tmp_path / "env").returncode == 0
    assert (tmp_path / "created").read_text().split() == ["-m", "venv", "--clear", str(tmp_path / "env")]


def test_the_interpreter_named_by_the_caller_is_the_only_candidate(tools: Path, tmp_path: Path) -> None:
    interpreter(tools / "python3")
    result = create(tools, tmp_path / "env", PYTHON="python-of-mine")
    assert "tried: python-of-mine" in result.stderr


def test_a_healthy_environment_is_left_as_it_is(tools: Path, tmp_path: Path) -> None:
    healthy = tmp_path / "env" / "bin"
    healthy.mkdir(parents=True)
    interpreter(healthy / "python", '[ "$2" = pip ] && exit 0')
    result = create(tools, tmp_path / "env")
    assert (result.returncode, result.stderr) == (0, "")
    assert os.listdir(healthy) == ["python"]

import configparser
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_suite_that_is_not_built_is_never_green() -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "not_built.py", "load", "--option"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 69
    assert result.stderr == "the load suite is not built yet; nothing was executed\n"


def test_no_suite_that_exists_is_called_not_built() -> None:
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "tox.ini")
    not_built = [
        name for name in configuration.sections() if "not_built" in configuration.get(name, "commands", fallback="")
    ]
    suites = {suite for name in not_built for suite in name.removeprefix("testenv:").strip("{}").split(",")}
    assert not [suite for suite in suites if any((ROOT / suite).rglob("*.py"))]

"""Locust patches the standard library wherever it is imported, so nobody but its own processes imports it."""

import subprocess
import sys
from pathlib import Path

import pytest

ASKS = "import sys; import {module}; print(sorted({{'gevent', 'locust'}} & set(sys.modules)))"


@pytest.mark.parametrize("module", ["load.__main__", "conformance.drivers.load", "conformance.clauses.test_load"])
def test_nothing_outside_locust_imports_it(module: str, root: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASKS.format(module=module)], cwd=root, check=True, capture_output=True, text=True
    )
    assert asked.stdout.strip() == "[]"


def test_locust_finds_the_users_in_the_folder_as_it_is_typed(root: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "locust", "-f", "load/", "--list"], cwd=root, check=True, capture_output=True, text=True
    )
    users = {"PointQuery", "WindowQuery", "WideQuery", "BulkBody", "OversizeBody", "PoolExhaustion"}
    assert users <= set((listed.stdout + listed.stderr).split())


def test_helpers_are_no_locustfiles(root: Path) -> None:
    modules = {path.name for path in (root / "load").rglob("*.py")}
    assert {name for name in modules if not name.startswith("_")} == {"locustfile.py"}

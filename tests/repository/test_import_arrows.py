"""The arrows between packages hold, and each contract catches the import it forbids."""

import os
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

LINT_IMPORTS = Path(sysconfig.get_path("scripts")) / "lint-imports"
PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
CONTRACTS = [contract["id"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]

# contract -> (file that gets the import, what it imports)
PLANTED = {
    "platform": ("k2/clock.py", "conformance"),
    "journey": ("k2/storage/plan.py", "k2.ingestion"),
    "records": ("k2/records/planted.py", "k2.clock"),
    "feeds": ("k2/feeds/planted.py", "k2.settings"),
    "docker": ("conformance/drivers/planted.py", "docker"),
    "read-plan": ("k2/query/planted.py", "k2.storage.catalog"),
    "api": ("k2/api/planted.py", "duckdb"),
    "kafka-client": ("k2/storage/planted.py", "confluent_kafka"),
    "iceberg": ("k2/ingestion/planted.py", "pyiceberg.catalog"),
    "duckdb": ("k2/storage/planted.py", "duckdb"),
    "redis": ("k2/ingestion/planted.py", "redis"),
    "aws": ("k2/storage/planted.py", "boto3"),
    "checkers": ("conformance/checkers/planted.py", "k2.records"),
    "chaos": ("chaos/planted.py", "reports"),
    "chaos-apart": ("conformance/drivers/planted.py", "chaos"),
    "toxiproxy": ("chaos/planted.py", "toxiproxy"),
    "load": ("load/_planted.py", "chaos"),
    "reports": ("reports/planted.py", "k2.records.definition"),
}


def lint_imports(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache", *options],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def hollow_project(root: Path, tmp_path: Path) -> Path:
    """The project's packages with every module empty, and its contracts."""
    for package in PROJECT["tool"]["importlinter"]["root_packages"]:
        for source in (root / package).rglob("*.py"):
            copy = tmp_path / source.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_arrow_holds(root: Path) -> None:
    result = lint_imports(root)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_contract_has_a_planted_violation() -> None:
    assert set(PLANTED) == set(CONTRACTS)


def test_modules_without_imports_break_no_contract(hollow_project: Path) -> None:
    result = lint_imports(hollow_project)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_contract_catches_the_import_it_forbids(hollow_project: Path, contract: str) -> None:
    importer, imported = PLANTED[contract]
    (hollow_project / importer).write_text(f"import {imported}\n")
    result = lint_imports(hollow_project, "--contract", contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 broken" in result.stdout

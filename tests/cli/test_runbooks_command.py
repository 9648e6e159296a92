"""`k2 runbooks validate` as people and machines use it: lines, JSON, exit codes."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Completed, run_module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what the command reads."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "deploy" / "prometheus", tmp_path / "deploy" / "prometheus")
    shutil.copy(ROOT / "deploy" / "compose.yaml", tmp_path / "deploy")
    return tmp_path


def validate(root: Path, *arguments: str) -> Completed:
    return run_module("k2.cli", "runbooks", "validate", "--root", str(root), *arguments)


def test_whole_runbooks_end_with_0_and_say_what_was_looked_at(root: Path) -> None:
    result = validate(root)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith(" commands: nothing is wrong\n")


def test_a_mistake_is_a_line_with_place_and_remedy_and_ends_with_1(root: Path) -> None:
    page = root / "docs" / "runbooks" / "api-down.md"
    page.write_text(page.read_text().replace("compose ps api", "compose ps apis", 1))
    line = page.read_text().splitlines().index("compose ps apis") + 1
    result = validate(root)
    assert result.returncode == 1
    first = result.stdout.splitlines()[0]
    assert first.startswith(f"{page}:{line}: deploy/compose.yaml has no service 'apis': write one of ")
    assert result.stderr.startswith("k2: 1 mistakes in ")
    found, counts = map(json.loads, validate(root, "--json").stdout.splitlines())
    assert (found["path"], found["line"]) == (str(page), line)
    assert counts["findings"] == 1


def test_one_page_alone_is_judged_alone(root: Path) -> None:
    (root / "docs" / "runbooks" / "api-down.md").unlink()
    page = root / "docs" / "runbooks" / "kafka-broker-down.md"
    assert validate(root, str(page)).returncode == 0
    assert validate(root).returncode == 1


@pytest.mark.parametrize("path", ["nowhere", "nowhere.md", "docs/examples"])
def test_a_path_that_holds_no_runbook_ends_with_64(root: Path, path: str) -> None:
    result = validate(root, str(root / path))
    assert result.returncode == 64
    assert str(root / path) in result.stderr
    assert result.stderr.count("\n") == 1

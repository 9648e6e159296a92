"""`k2 runbooks validate` as people and machines use it: lines, JSON, exit codes."""

import json
import shutil
from pathlib import Path

import pytest

from k2.assembly.demo import mark_demo
from k2.assembly.tables import create_tables
from k2.settings import load_settings
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


def test_only_the_named_pages_are_judged_and_an_unknown_name_ends_with_64(root: Path) -> None:
    page = root / "docs" / "runbooks" / "api-down.md"
    page.write_text(page.read_text().replace("compose ps api", "compose ps apis", 1))
    assert validate(root, "--test", "kafka-broker-down").returncode == 0
    assert validate(root, "--test", "kafka-broker-down", "--test", "api-down").returncode == 1
    result = validate(root, "--test", "kafka-broker-up")
    assert (result.returncode, result.stderr.count("\n")) == (64, 1)
    assert "--test kafka-broker-up" in result.stderr


def test_commands_are_run_on_a_demo_only(root: Path) -> None:
    result = validate(root, "--full")
    assert (result.returncode, result.stderr.count("\n")) == (78, 1)
    assert f"{root}/build/compose/k2 is not marked as a demo" in result.stderr


def test_every_block_is_run_and_a_broken_one_ends_with_1_and_stands_in_the_report(root: Path) -> None:
    data = root / "data"
    create_tables(load_settings(data))
    mark_demo(data, load_settings(data))
    folder = root / "docs" / "runbooks"
    functions = 'compose() { :; }\ndocker() { :; }\nask() { :; }\nhealthy() { test "$1" != api; }\nas_it_was() { :; }\n'
    (folder / "environment.sh").write_text(f"export K2_DATA_DIR={data}\nAPI=http://127.0.0.1:9\n{functions}")
    arguments = ("--full", "--test", "consumer-lag-critical", "--report", str(root / "report.md"))
    well = validate(root, *arguments)
    assert (well.returncode, well.stderr) == (0, "")
    assert well.stdout.splitlines()[-1].startswith("4 blocks in ")
    assert well.stdout.splitlines()[-1].endswith(": 4 passed")
    broken = validate(root, "--full", "--test", "high-memory-usage", "--report", str(root / "report.md"), "--json")
    assert broken.returncode == 1
    wrong = [line for line in map(json.loads, broken.stdout.splitlines()) if line.get("result") == "failed"]
    assert [Path(line["path"]).name for line in wrong] == ["high-memory-usage.md"]
    assert "healthy api" in (root / "report.md").read_text()

"""`k2 backup`, `k2 restore` and `k2 reset` as people and machines use them: lines, JSON, exit codes."""

import json
from pathlib import Path

import pytest

from k2.assembly.demo import mark_demo
from k2.assembly.tables import create_tables
from k2.settings import load_settings
from tests.cli.conftest import Completed, k2

TABLES = ["market_data.trades_v2", "market_data.quotes_v2", "market_data.reference_data_v2"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory with empty tables."""
    folder = tmp_path / "data"
    create_tables(load_settings(folder))
    return folder


def is_one_line(result: Completed, exit_code: int, said: str) -> bool:
    return (result.returncode, result.stderr.count("\n")) == (exit_code, 1) and said in result.stderr


def test_a_backup_is_taken_looked_at_and_restored(directory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    taken = k2(directory, "backup", str(folder), "--json")
    assert taken.returncode == 0
    said = json.loads(taken.stdout)
    assert list(said["tables"]) == TABLES
    assert said["copied_bytes"] == said["bytes"] > 0
    tried = k2(directory, "restore", str(folder), "--dry-run")
    assert tried.stdout.startswith(f"backup {said['backup']}: whole, and can be restored after ")
    restored = k2(directory, "restore", str(folder), "--backup", said["backup"])
    assert [line.split()[0] for line in restored.stdout.splitlines()[1:4]] == TABLES
    assert restored.stdout.splitlines()[-1].strip().startswith(f"{said['files']} files, ")


def test_what_cannot_be_restored_is_one_line(directory: Path, tmp_path: Path) -> None:
    assert is_one_line(k2(directory, "restore", str(tmp_path / "none")), 64, "holds no backup: `k2 backup ")
    assert is_one_line(k2(tmp_path / "nothing", "backup", str(tmp_path / "b")), 64, "there are no tables")
    k2(directory, "backup", str(tmp_path / "b"))
    assert is_one_line(k2(directory, "restore", str(tmp_path / "b"), "--backup", "later"), 64, "has no backup later")


def test_a_reset_is_refused_without_the_mark_and_needs_a_yes(directory: Path) -> None:
    assert is_one_line(k2(directory, "reset"), 78, "is not marked as a demo")
    mark_demo(directory, load_settings(directory), broker_forgets=True)
    (directory / "audit.jsonl").write_text("{}\n")
    asked = k2(directory, "reset")
    assert asked.returncode == 1
    assert asked.stderr.endswith("k2: not confirmed: nothing was removed\n")
    assert (directory / "audit.jsonl").exists()


def test_a_reset_says_what_goes_by_component(directory: Path) -> None:
    mark_demo(directory, load_settings(directory), broker_forgets=True)
    (directory / "audit.jsonl").write_text("{}\n")
    (directory / "dead-letters").mkdir()
    (directory / "dead-letters" / "one.jsonl").write_text("{}\n")
    planned = k2(directory, "reset", "--dry-run", "--keep-kafka").stdout.splitlines()
    assert planned[:2] == ["Kafka is kept", "Iceberg"]
    assert planned[2].split()[:3] == [str(directory / "audit.jsonl"), "1", "files"]
    done = k2(directory, "reset", "--force", "--keep-kafka", "--json")
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == [str(directory / "audit.jsonl")]
    assert (directory / "dead-letters" / "one.jsonl").exists()
    assert not (directory / "audit.jsonl").exists()
    last = k2(directory, "reset", "--force", "--json")
    assert [json.loads(line)["component"] for line in last.stdout.splitlines()] == ["kafka"]
    assert k2(directory, "reset", "--force").stdout.splitlines() == ["Kafka", "  nothing", "Iceberg", "  nothing"]

"""`k2 audit` as operators use it: what it says, what it exits with, and what heals."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from k2.cli import main
from tests.storage.warehouse_tables import Warehouse, advance


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Desk:
    """An operator's data directory with four commits in it, and commands run as the entry point runs them."""

    directory: Path
    snapshots: list[int]
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    @property
    def log(self) -> Path:
        return self.directory / "audit.jsonl"

    def run(self, *arguments: str) -> Answer:
        self.capsys.readouterr()
        self.monkeypatch.setattr(sys, "argv", ["k2", "--data-dir", str(self.directory), "audit", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self.capsys.readouterr()
        return Answer(int(ended.value.code or 0), printed.out, printed.err)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    warehouse = Warehouse(tmp_path)
    warehouse.open_catalog().create_tables()
    writer = warehouse.writer()
    made = [advance(writer, 0, number * 10 or None, number * 10 + 10).snapshot_id for number in range(4)]
    yield Desk(tmp_path, made, monkeypatch, capsys)
    warehouse.close()
    structlog.reset_defaults()


def test_a_whole_log_is_confirmed(desk: Desk) -> None:
    answer = desk.run("verify")
    assert (answer.returncode, answer.stdout) == (0, "4 lines tell what 4 snapshots did\n")
    as_json = desk.run("verify", "--data-type", "trades", "--json")
    assert json.loads(as_json.stdout) == {"lines": 4, "snapshots": 4, "recovered": 0, "findings": 0}


def test_an_entry_lost_in_a_crash_is_named_and_written_on_request(desk: Desk) -> None:
    lines = desk.log.read_bytes().splitlines(keepends=True)
    desk.log.write_bytes(b"".join(lines[:-1]) + lines[-1][:50])
    answer = desk.run("verify")
    assert answer.returncode == 76
    assert (
        f"missing: market_data.trades_v2, snapshot {desk.snapshots[-1]}: no entry tells of this commit" in answer.stdout
    )
    assert "torn: line 4: the line has no end" in answer.stdout
    assert "  remedy: write it from the snapshot with `k2 audit verify --recover`" in answer.stdout
    assert answer.stderr == (
        "k2: the audit log does not tell what the tables did (1 torn, 1 missing): `k2 audit verify --recover` writes "
        "what is missing\n"
    )
    healed = desk.run("verify", "--recover")
    assert (healed.returncode, healed.stdout.splitlines()[0]) == (0, "1 entries recovered")
    assert desk.run("verify").returncode == 0


def test_an_altered_entry_is_named_by_its_line(desk: Desk) -> None:
    desk.log.write_text(desk.log.read_text().replace('"record_count":10', '"record_count":11', 1))
    answer = desk.run("verify", "--json")
    *findings, counts = [json.loads(line) for line in answer.stdout.splitlines()]
    assert (answer.returncode, counts["findings"]) == (76, len(findings))
    assert {(finding["kind"], finding["line"]) for finding in findings} == {("altered", 1), ("altered", 2)}
    assert "record_count is 11, not 10" in {finding["detail"] for finding in findings}
    assert "see the remedy beside each finding" in answer.stderr


def test_the_snapshot_of_a_time_is_told(desk: Desk) -> None:
    entries = [json.loads(line) for line in desk.log.read_text().splitlines()]
    at = datetime.fromtimestamp(entries[1]["wall_ns"] / 1e9, UTC).isoformat()
    answer = desk.run("snapshot", "--at", at, "--json")
    assert answer.returncode == 0
    found = json.loads(answer.stdout)
    assert (found["snapshot_id"], found["is_kept"], found["is_undone"]) == (desk.snapshots[1], True, False)
    assert found["entry"] == {name: value for name, value in entries[1].items() if name != "previous_line"}
    before = desk.run("snapshot", "--at", "2020-01-01T00:00:00Z")
    assert (before.returncode, before.stderr.startswith("k2: market_data.trades_v2 had no snapshot at that time")) == (
        64,
        True,
    )


def test_the_snapshot_of_a_batch_and_of_a_message_are_told(desk: Desk) -> None:
    answer = desk.run("snapshot", "--batch", "0:10-20")
    assert answer.returncode == 0
    assert answer.stdout.startswith(f"market_data.trades_v2 snapshot {desk.snapshots[1]} of ")
    assert "can be read\n  batch                  0:10-20\n" in answer.stdout
    assert "no commit to market_data.trades_v2 brought a batch" in desk.run("snapshot", "--batch", "other").stderr
    assert "took in offset 4 of topic/0" in desk.run("snapshot", "--message", "topic/0/4").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "exactly one of --at, --batch and --message"),
        (("--at", "now", "--batch", "x"), "exactly one of --at, --batch and --message"),
        (("--at", "now"), "--at 'now': a time such as"),
        (("--message", "topic/0"), "is not topic/partition/offset"),
        (("--message", "topic/0/-1"), "is not topic/partition/offset"),
        (("--data-type", "candles", "--at", "5"), "--data-type is"),
    ],
)
def test_what_cannot_be_asked_is_one_line(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    answer = desk.run("snapshot", *arguments)
    assert (answer.returncode, answer.stdout) == (64, "")
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_where_there_are_no_tables_that_is_said(desk: Desk, tmp_path: Path) -> None:
    elsewhere = Desk(tmp_path / "nothing", [], desk.monkeypatch, desk.capsys)
    assert (elsewhere.run("verify").returncode, (tmp_path / "nothing").exists()) == (64, False)

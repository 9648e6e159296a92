"""The command that writes cards and explains requirements."""

import json
import subprocess
import sys
from pathlib import Path

from tests.reports.crafted_run import ROOT, verdict, write_run


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reports", *map(str, arguments)], cwd=ROOT, check=False, capture_output=True, text=True
    )


def test_card_writes_three_files_and_names_them(tmp_path: Path) -> None:
    write_run(tmp_path, [verdict("kill", "CON-3b")])
    result = command("card", tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "K2 readiness: 2.0 of 100, not enough evidence"
    assert [Path(line.strip()).name for line in lines[1:]] == ["card.json", "card.md", "index.html"]
    assert json.loads((tmp_path / "card.json").read_text())["score"] == 2.0
    assert (tmp_path / "card.md").read_text().startswith("## K2 readiness: 2.0 of 100")
    assert (tmp_path / "index.html").read_text().startswith("<!doctype html>")


def test_card_of_the_same_run_is_the_same_bytes(tmp_path: Path) -> None:
    write_run(tmp_path, [verdict("kill", "CON-3b")])
    written = []
    for _ in range(2):
        assert command("card", tmp_path).returncode == 0
        written.append([(tmp_path / name).read_bytes() for name in ("card.json", "card.md", "index.html")])
    assert written[0] == written[1]


def test_explain_tells_a_claim_and_its_state_in_a_run(tmp_path: Path) -> None:
    write_run(tmp_path, [verdict("kill", "CON-3b", verdict="fail", reason="3 records lost")])
    result = command("explain", "con-3b", "--run", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "CON-3b  SIGKILL between any two steps loses nothing." in result.stdout
    assert "failed: kill: 3 records lost" in result.stdout
    assert "CON-3a" not in result.stdout


def test_explain_tells_a_requirement_with_all_its_claims(tmp_path: Path) -> None:
    result = command("explain", "CON-3", "--run", write_run(tmp_path))
    assert result.returncode == 0, result.stderr
    for words in ("CON-3  Graceful stop and sudden death", "stage P0, 6.0 points", "CON-3a", "CON-3b", "CON-3c"):
        assert words in result.stdout


def test_every_command_has_help_with_an_example() -> None:
    result = command("gate", "--help")
    assert result.returncode == 0
    assert "Exits 0 pass, 1 the system failed" in result.stdout
    assert "Example: python -m reports gate --min 82" in result.stdout

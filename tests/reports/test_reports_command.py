"""The command that writes cards and explains requirements."""

import json
from pathlib import Path

from reports.readiness.render.forms import FORMS
from tests.reports.crafted_run import RULER, run_record, verdict, write_run
from tests.reports.reports_command import command


def test_card_writes_every_form_and_names_them(tmp_path: Path) -> None:
    write_run(tmp_path, [verdict("kill", "CON-3b")])
    result = command("card", tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "K2 readiness: 2.0 of 100, not enough evidence"
    assert [Path(line.strip()).name for line in lines[1:]] == list(FORMS)
    assert json.loads((tmp_path / "card.json").read_text())["score"] == 2.0
    assert (tmp_path / "card.md").read_text().startswith("## K2 readiness: 2.0 of 100")
    assert (tmp_path / "index.html").read_text().startswith("<!doctype html>")


def test_card_of_the_same_run_is_the_same_bytes(tmp_path: Path) -> None:
    write_run(tmp_path, [verdict("kill", "CON-3b")])
    written = []
    for _ in range(2):
        assert command("card", tmp_path).returncode == 0
        written.append([(tmp_path / name).read_bytes() for name in FORMS])
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


def test_an_earlier_run_that_had_more_keeps_the_gate_from_passing(tmp_path: Path) -> None:
    for hour, lines in ((8, [verdict("kill", "CON-3b"), verdict("stop", "CON-3a")]), (9, [verdict("kill", "CON-3b")])):
        times = {"started_at": f"2026-11-21T0{hour}:00:00Z", "ended_at": f"2026-11-21T0{hour}:30:00Z"}
        record = run_record(run_id=f"run-0{hour}", ruler=RULER.sha256, **times)
        write_run(tmp_path / f"run-0{hour}", lines, run=record)
    late, early = tmp_path / "run-09", tmp_path / "run-08"
    assert command("gate", late, "--min", "0").returncode == 0
    for arguments in ((late, "--no-regression"), (late, "--against", early)):
        result = command("gate", *arguments, "--min", "0")
        assert result.returncode == 2
        assert "CON-3a was proven in run-08, now not exercised" in result.stdout
    assert command("gate", early, "--no-regression", "--min", "0").returncode == 0


def test_an_earlier_run_of_another_ruler_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "now", [verdict("kill", "CON-3b")])
    other = write_run(tmp_path / "other", run=run_record(ruler="0" * 64))
    result = command("gate", run, "--against", other)
    assert (result.returncode, len(result.stderr.splitlines())) == (3, 1)
    assert "scores of two rulers cannot be compared" in result.stderr


def test_allure_without_results_is_told_in_one_line(tmp_path: Path) -> None:
    result = command("allure", write_run(tmp_path))
    assert result.returncode in (64, 69)
    assert len(result.stderr.splitlines()) == 1

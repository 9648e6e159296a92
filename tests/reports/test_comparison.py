"""Runs beside earlier runs, and the refusal to compare what two rulers measured."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reports.readiness.comparison import predecessor, regressions, trend
from reports.readiness.errors import IncomparableRunsError
from reports.readiness.gate import Decision
from reports.readiness.ruler import RulerFiles, load_ruler
from tests.reports.crafted_run import ROOT, RULER, TODAY, assessed, everything_proven, run_record, verdict, write_run

OTHER_RULER = "0" * 64


def a_run(tmp_path: Path, hour: int, *verdicts: dict[str, Any], **changes: Any) -> Path:
    """A run of this ruler that began at that hour."""
    times = {"started_at": f"2026-11-21T{hour:02}:00:00Z", "ended_at": f"2026-11-21T{hour:02}:30:00Z"}
    record = run_record(**{"run_id": f"run-{hour:02}", "ruler": RULER.sha256, **times, **changes})
    return write_run(tmp_path / f"run-{hour:02}", verdicts, run=record)


def test_a_trend_shows_runs_from_the_oldest(tmp_path: Path) -> None:
    late, early = a_run(tmp_path, 9, verdict("kill", "CON-3b")), a_run(tmp_path, 8)
    found = trend([late, early], RULER, TODAY, refuse=True)
    assert [(point.run_id, point.score, point.proven) for point in found.points] == [
        ("run-08", 0.0, 0),
        ("run-09", 2.0, 1),
    ]


def test_a_run_of_another_ruler_is_left_out_with_the_reason(tmp_path: Path) -> None:
    paths = [a_run(tmp_path, 8), a_run(tmp_path, 9, ruler=OTHER_RULER), a_run(tmp_path, 10, ruler=None)]
    found = trend(paths, RULER, TODAY, refuse=False)
    assert [point.run_id for point in found.points] == ["run-08"]
    short = RULER.sha256[:12]
    assert found.left_out == (
        f"run-09 was measured with the ruler 000000000000, this is {short}",
        f"run-10 was measured with a ruler it does not name, this is {short}",
    )


def test_a_run_of_another_ruler_asked_for_by_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncomparableRunsError, match="scores of two rulers cannot be compared"):
        trend([a_run(tmp_path, 8), a_run(tmp_path, 9, ruler=OTHER_RULER)], RULER, TODAY, refuse=True)


def test_a_run_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    assert "run.json: value: Invalid JSON" in trend([tmp_path], RULER, TODAY, refuse=False).left_out[0]


def test_what_was_proven_and_is_not_any_more_is_a_regression(tmp_path: Path) -> None:
    before = assessed(a_run(tmp_path, 8, verdict("kill", "CON-3b"), verdict("stop", "CON-3a")))
    after = assessed(a_run(tmp_path, 9, verdict("kill", "CON-3b")))
    assert regressions(before, before) == regressions(after, before) == ()
    score, claim = regressions(before, after)
    assert score == "the score fell from 4.0 in run-08 to 2.0"
    assert claim == "CON-3a was proven in run-08, now not exercised: no clause that ran cites it"


def test_a_retry_where_there_was_none_is_a_regression(tmp_path: Path) -> None:
    before = assessed(a_run(tmp_path, 8, verdict("kill", "CON-3b")))
    after = assessed(a_run(tmp_path, 9, verdict("kill", "CON-3b", retries=1)))
    assert any("passed only after a retry" in line for line in regressions(before, after))


def test_a_regression_keeps_the_gate_from_passing(tmp_path: Path) -> None:
    after = assessed(a_run(tmp_path, 9, *everything_proven("embedded")))
    assert after.gate(after.ruler.rubric.gate.minimum - 82).decision is Decision.PASSED
    gate = after.gate(after.ruler.rubric.gate.minimum - 82, ("the score fell",))
    assert (gate.decision, gate.decision.exit_code) == (Decision.INSUFFICIENT_EVIDENCE, 2)


@pytest.mark.parametrize(
    "changes",
    [{"stack": "containers"}, {"profile": "smoke"}, {"ruler": OTHER_RULER}, {"ended_at": None}],
)
def test_the_predecessor_is_the_last_comparable_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    oldest, older = a_run(tmp_path, 6), a_run(tmp_path, 7)
    a_run(tmp_path, 8, **changes)
    now = a_run(tmp_path, 9)
    later = a_run(tmp_path, 10)
    run = assessed(now).evidence.runs[0]
    candidates = sorted(tmp_path.iterdir())
    assert len(candidates) == 5
    assert predecessor(run, candidates, RULER) == older
    assert predecessor(run, [now, later], RULER) is None
    assert predecessor(run, [oldest], RULER) == oldest


def test_a_ruler_changes_with_each_of_its_parts_and_not_with_waivers(ruler_tree: Path) -> None:
    files = RulerFiles(ruler_tree)
    versions = [load_ruler(files).sha256]
    files.waivers.write_text("# one more line\n")
    assert load_ruler(files).sha256 == versions[0]
    files.rubric.write_text(files.rubric.read_text() + "\n")
    versions.append(load_ruler(files).sha256)
    files.requirements.write_text(files.requirements.read_text() + "\n")
    versions.append(load_ruler(files).sha256)
    (files.checkers / "facts.py").write_text("")
    versions.append(load_ruler(files).sha256)
    (files.checkers / "facts.py").rename(files.checkers / "other.py")
    versions.append(load_ruler(files).sha256)
    assert len(set(versions)) == 5


@pytest.fixture
def ruler_tree(tmp_path: Path) -> Path:
    """The files of this checkout's ruler, to be changed."""
    for part in ("conformance/requirements.toml", "reports/readiness/rubric.toml", "conformance/checkers/facts.py"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    return tmp_path


def test_the_full_hash_is_what_a_run_keeps(tmp_path: Path) -> None:
    record = json.loads((a_run(tmp_path, 8) / "run.json").read_text())
    assert record["ruler"] == RULER.sha256
    assert RULER.version.endswith(RULER.sha256[:12])

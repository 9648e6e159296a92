"""Stored histories are judged again without a stack, and a verdict that no longer holds is reported."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from conformance.checkers.verdict import Outcome, Verdict
from conformance.history import Header, History, HistoryError, HistoryWriter, history_sha256
from conformance.judge import differences, judge, judge_paths, worst_of
from conformance.planted.sequence import clean_sequence
from conformance.planted.suite import edit_stage, set_values


def store(history: History, path: Path, checker: str = "sequence") -> Path:
    header = Header("sequence/planted", (), checker, history.header.seed, "embedded", 0, {"minimum_samples": 10})
    with HistoryWriter(path, header) as writer:
        for observation in history.observations:
            writer.observe(observation.stage, observation.table, observation.data_type)
    return path


def broken() -> History:
    return edit_stage(clean_sequence(1), "verdicts", lambda table: set_values(table, 0, event="TOO_OLD"))


def make_run(path: Path) -> Path:
    """A run with a history that passes and one that fails, and the verdicts as they were given."""
    lines = []
    for name, history in (("passing", clean_sequence(1)), ("failing", broken())):
        directory = store(history, path / "histories" / name)
        line = {
            "clause": f"sequence/{name}",
            "history": f"histories/{name}",
            "history_sha256": history_sha256(directory),
            **judge(directory).as_json(),
        }
        lines.append(line)
    lines.append({"clause": "crashed", "history": None, "history_sha256": None, "verdict": "unknown"})
    write_verdicts(path, lines)
    return path


def write_verdicts(path: Path, lines: list[dict[str, Any]]) -> None:
    (path / "verdicts.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def read_verdicts(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (path / "verdicts.jsonl").read_bytes().splitlines()]


def outcomes(judged: list[tuple[Path, Verdict]]) -> dict[str, str]:
    return {path.name: verdict.outcome.value for path, verdict in judged}


def test_the_header_names_the_checker(tmp_path: Path) -> None:
    assert judge(store(clean_sequence(1), tmp_path / "run")).outcome is Outcome.PASS
    assert judge(store(broken(), tmp_path / "broken")).findings[0].kind == "wrong_event"


def test_a_checker_nobody_knows_is_unknown(tmp_path: Path) -> None:
    verdict = judge(store(clean_sequence(1), tmp_path / "run", checker="clairvoyance"))
    assert (verdict.outcome, verdict.findings[0].kind) == (Outcome.UNKNOWN, "unknown_checker")
    assert "provenance" in verdict.reason


def test_a_history_cut_off_is_unknown(tmp_path: Path) -> None:
    path = store(clean_sequence(1), tmp_path / "run") / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert judge(path.parent).findings[0].kind == "incomplete_history"


def test_a_history_that_was_changed_is_unknown(tmp_path: Path) -> None:
    path = store(clean_sequence(1), tmp_path / "run") / "verdicts.arrow"
    path.write_bytes(path.read_bytes() + b"x")
    assert judge(path.parent).findings[0].kind == "unusable_history"


def test_a_run_is_judged_history_by_history(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    judged = judge_paths([run])
    assert outcomes(judged) == {"failing": "fail", "passing": "pass"}
    assert worst_of(judged) is Outcome.FAIL


def test_histories_can_be_named_one_by_one_and_are_judged_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    judged = judge_paths([run / "histories" / "passing", run, run / "histories" / "passing"])
    assert [path.name for path, _ in judged] == ["passing", "failing"]


def test_a_folder_without_a_history_among_a_runs_histories_is_unknown(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "histories" / "empty").mkdir()
    assert outcomes(judge_paths([run]))["empty"] == "unknown"


def test_a_path_that_is_neither_history_nor_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="name a history or a run"):
        judge_paths([tmp_path])


def test_nothing_judged_is_unknown() -> None:
    assert worst_of([]) is Outcome.UNKNOWN


def test_an_unchanged_run_agrees_with_its_verdicts(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert differences(run, judge_paths([run])) == []


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("verdict", "fail", "verdict"),
        ("samples", 1, "samples"),
        ("findings", [{"kind": "wrong_event", "detail": "once"}], "findings"),
        ("history_sha256", "0" * 64, "history_sha256"),
    ],
)
def test_a_verdict_that_no_longer_holds_is_reported(tmp_path: Path, field: str, value: object, what: str) -> None:
    run = make_run(tmp_path)
    lines = read_verdicts(run)
    lines[0][field] = value
    write_verdicts(run, lines)
    (difference,) = differences(run, judge_paths([run]))
    assert (difference.clause, difference.what) == ("sequence/passing", what)
    assert str(difference).startswith(f"sequence/passing: {what} was ")


def test_a_tampered_history_differs_in_verdict_and_hash(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run / "histories" / "passing" / "history.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"minimum_samples":10', b'"minimum_samples":10000'))
    found = differences(run, judge_paths([run]))
    assert {difference.what for difference in found} == {"verdict", "findings", "history_sha256"}
    assert {(one.kept, one.judged) for one in found if one.what == "verdict"} == {("pass", "unknown")}


def test_histories_and_verdicts_that_miss_each_other_are_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    lines = read_verdicts(run)
    lines[0]["history"] = "histories/elsewhere"
    write_verdicts(run, lines)
    found = {(one.history, one.kept, one.judged) for one in differences(run, judge_paths([run]))}
    assert found == {("histories/elsewhere", "named", "missing"), ("histories/passing", "not named", "present")}


def test_verdicts_that_cannot_be_read_are_named_by_line(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with (run / "verdicts.jsonl").open("ab") as file:
        file.write(b'{"clause":')
    with pytest.raises(HistoryError, match=r"verdicts\.jsonl: line 4 is not JSON"):
        differences(run, judge_paths([run]))

"""One card from several runs of one commit, and the runs that are refused."""

from pathlib import Path
from typing import Any

import pytest

from reports.readiness.card import document
from reports.readiness.document import CardDocument, ClaimLine
from reports.readiness.errors import IncomparableRunsError
from reports.readiness.render.page import clause_rows, page, stack_columns
from tests.reports.crafted_run import assessed, checker, mutant, run_record, verdict, write_run
from tests.reports.reports_command import command

NEEDS_CONTAINERS = "PRO-1b"


def embedded(tmp_path: Path, *verdicts: dict[str, Any], **changes: Any) -> Path:
    record = run_record(run_id="run-embedded", **changes)
    return write_run(tmp_path / "embedded", verdicts, run=record)


def containers(tmp_path: Path, *verdicts: dict[str, Any], **changes: Any) -> Path:
    record = run_record(run_id="run-containers", stack="containers", **changes)
    return write_run(tmp_path / "containers", [{**line, "stack": "containers"} for line in verdicts], run=record)


def claim(card: CardDocument, identifier: str) -> ClaimLine:
    return next(line for criterion in card.criteria for line in criterion.claims if line.id == identifier)


def states(card: CardDocument, identifier: str) -> dict[str, str]:
    return {on.stack: on.state for on in claim(card, identifier).stacks}


def test_what_needs_containers_is_earned_by_containers_evidence_only(tmp_path: Path) -> None:
    first = embedded(tmp_path, verdict("leader", NEEDS_CONTAINERS), verdict("kill", "CON-3b"))
    second = containers(tmp_path, verdict("leader", NEEDS_CONTAINERS))
    alone, both = document(assessed(first)), document(assessed(first, second))
    assert claim(alone, NEEDS_CONTAINERS).state == "not exercised"
    assert claim(both, NEEDS_CONTAINERS).state == "proven"
    assert states(both, NEEDS_CONTAINERS) == {"embedded": "not exercised", "containers": "proven"}
    assert states(both, "CON-3b") == {"embedded": "proven", "containers": "not exercised"}


def test_what_fails_on_one_stack_has_failed(tmp_path: Path) -> None:
    first, second = (
        embedded(tmp_path, verdict("kill", "CON-3b")),
        containers(tmp_path, verdict("kill", "CON-3b", verdict="fail", reason="3 records lost")),
    )
    card = document(assessed(first, second))
    assert claim(card, "CON-3b").state == "failed"
    assert states(card, "CON-3b") == {"embedded": "proven", "containers": "failed"}
    assert card.verdict.exit_code == 1


def test_the_page_shows_each_clause_stack_by_stack(tmp_path: Path) -> None:
    first = embedded(tmp_path, verdict("kill", "CON-3b"), verdict("stop", "CON-3a"))
    second = containers(tmp_path, verdict("stop", "CON-3a", verdict="unknown"), verdict("leader", NEEDS_CONTAINERS))
    card = document(assessed(first, second))
    rows = clause_rows(card, stack_columns(card))
    shown = {row.clause: [cell.verdict if cell else None for cell in row.cells] for row in rows}
    assert stack_columns(card) == ("embedded", "containers")
    assert shown == {"stop": ["pass", "unknown"], "kill": ["pass", None], "leader": [None, "pass"]}
    assert next(iter(shown)) == "stop"
    assert '<th scope="col">embedded</th><th scope="col">containers</th>' in page(card)


def test_histories_of_every_run_are_linked_from_where_the_card_is(tmp_path: Path) -> None:
    first, second = embedded(tmp_path, verdict("kill", "CON-3b")), containers(tmp_path, verdict("stop", "CON-3a"))
    text = page(document(assessed(first, second)))
    assert 'href="histories/kill/history.jsonl"' in text
    assert 'href="../containers/histories/stop/history.jsonl"' in text


def test_of_two_reports_on_a_checker_the_worse_counts(tmp_path: Path) -> None:
    first = embedded(tmp_path, verdict("kill", "CON-3b"))
    second = containers(tmp_path, verdict("kill", "CON-3b"))
    (second / "checkers.jsonl").write_text((first / "checkers.jsonl").read_text().replace('"caught": 7', '"caught": 6'))
    assert claim(document(assessed(first, second)), "CON-3b").state == "unknown"


def test_a_mutant_that_both_runs_killed_is_told_once(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / stack, mutants=[mutant("kill")], run=run_record(run_id=stack, stack=stack))
        for stack in ("embedded", "containers")
    ]
    assert len(document(assessed(*paths)).mutants) == 1


def test_a_problem_names_its_run_and_takes_the_score_of_both(tmp_path: Path) -> None:
    first, second = embedded(tmp_path, verdict("kill", "CON-3b")), containers(tmp_path)
    (second / "verdicts.jsonl").write_text("{")
    card = document(assessed(first, second))
    assert card.score is None
    assert card.problems[0].startswith("containers: verdicts.jsonl line 1")


def test_two_runs_on_one_stack_that_disagree_name_the_flaky_clause(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / name, [verdict("kill", "CON-3b", verdict=word)], run=run_record(run_id=name))
        for name, word in (("monday", "pass"), ("tuesday", "fail"))
    ]
    card = document(assessed(*paths))
    assert [(line.clause, line.detail) for line in card.flaky] == [
        ("kill", "on the embedded stack: monday pass, tuesday fail")
    ]
    assert "monday pass, tuesday fail" in page(card)


def test_two_runs_that_agree_score_the_same_and_name_none(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / name, [verdict("kill", "CON-3b")], run=run_record(run_id=name)) for name in ("one", "two")
    ]
    cards = [document(assessed(*chosen)) for chosen in (paths[:1], paths[1:], paths)]
    assert {card.score for card in cards} == {2.0}
    assert all(card.flaky == () for card in cards)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"git_commit": "b" * 40}, "are of different commits, 8a51c0de8a51 and bbbbbbbbbbbb"),
        ({"ruler": "b" * 64}, "were measured with different rulers, (not recorded) and bbbbbbbbbbbb"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    first, second = embedded(tmp_path, verdict("kill", "CON-3b")), containers(tmp_path, **changes)
    with pytest.raises(IncomparableRunsError, match="the runs run-embedded and run-containers") as caught:
        assessed(first, second)
    assert complaint in str(caught.value)
    result = command("card", first, second)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (3, "", 1)
    assert complaint in result.stderr
    assert command("gate", first, second).returncode == 3


def test_a_run_named_twice_is_refused(tmp_path: Path) -> None:
    run = embedded(tmp_path, verdict("kill", "CON-3b"))
    result = command("gate", run, run)
    assert (result.returncode, "is named twice" in result.stderr) == (3, True)


def test_the_card_of_two_runs_goes_where_it_is_told(tmp_path: Path) -> None:
    first = embedded(tmp_path, verdict("kill", "CON-3b"))
    second = containers(tmp_path, verdict("leader", NEEDS_CONTAINERS))
    result = command("card", first, second, "--into", tmp_path / "both")
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "both" / "index.html").read_text()
    assert 'href="../embedded/histories/kill/history.jsonl"' in text
    assert not (first / "index.html").exists()


def test_a_checker_record_of_one_run_serves_a_clause_of_the_other(tmp_path: Path) -> None:
    first = embedded(tmp_path, verdict("kill", "CON-3b"))
    second = write_run(
        tmp_path / "containers",
        [verdict("leader", NEEDS_CONTAINERS, stack="containers", checker="facts")],
        checkers=[checker("facts")],
        run=run_record(stack="containers"),
    )
    assert claim(document(assessed(first, second)), NEEDS_CONTAINERS).state == "proven"

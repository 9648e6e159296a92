"""The card as JSON, HTML and Markdown, for runs of every kind."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reports.readiness.card import document
from reports.readiness.document import CardDocument, json_schema, schema_text, to_json
from reports.readiness.render.page import page
from reports.readiness.render.summary import summary
from tests.reports.crafted_run import (
    ROOT,
    RUBRIC,
    assessed,
    checker,
    everything_proven,
    mutant,
    run_record,
    verdict,
    write_run,
)

HOSTILE = "<script>alert('x')</script> | `code` & more"
SCHEMA = ROOT / "reports" / "readiness" / "card.schema.json"
VOID_ELEMENTS = {"meta", "path", "circle", "use"}


def card(directory: Path, *verdicts: dict[str, Any], **files: Any) -> CardDocument:
    return document(assessed(write_run(directory, verdicts, **files)))


@pytest.fixture
def empty(tmp_path: Path) -> CardDocument:
    return card(tmp_path / "empty", checkers=[])


@pytest.fixture
def partial(tmp_path: Path) -> CardDocument:
    return card(tmp_path / "partial", verdict("kill", "CON-3b"), verdict("table", "CON-6b", retries=1))


@pytest.fixture
def failed(tmp_path: Path) -> CardDocument:
    run = tmp_path / "failed"
    finding = {"kind": "lost", "detail": HOSTILE, "count": 1204, "examples": ["session_sequence 20117"]}
    return card(
        run,
        verdict("kill/after_write", "CON-3b", verdict="fail", reason=HOSTILE, remedy=HOSTILE, findings=[finding]),
        verdict("query", "QRY-2a", verdict="unknown", reason="no query was slow enough"),
        checkers=[checker(caught=6, missed=[HOSTILE])],
        mutants=[mutant("kill", verdict="survived", reason=HOSTILE)],
        run=run_record(git_dirty=True, command=["make", HOSTILE], versions={HOSTILE: HOSTILE}),
    )


@pytest.fixture
def complete(tmp_path: Path) -> CardDocument:
    return card(tmp_path / "complete", *everything_proven())


@pytest.fixture
def broken(tmp_path: Path) -> CardDocument:
    run = write_run(tmp_path / "broken", [verdict("kill", "CON-3b")])
    (run / "run.json").write_text("{")
    return document(assessed(run))


KINDS = ["empty", "partial", "failed", "complete", "broken"]


@pytest.fixture(params=KINDS)
def any_card(request: pytest.FixtureRequest) -> CardDocument:
    made = request.getfixturevalue(request.param)
    assert isinstance(made, CardDocument)
    return made


class Nesting(HTMLParser):
    """Collects the elements of a page and what closes in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.misplaced: list[str] = []
        self.elements: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.misplaced.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def parsed(text: str) -> Nesting:
    nesting = Nesting()
    nesting.feed(text)
    return nesting


def test_the_published_schema_is_that_of_the_card() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), "write document.schema_text() to card.schema.json"


def test_every_card_is_valid_by_the_published_schema(any_card: CardDocument) -> None:
    jsonschema.validate(json.loads(to_json(any_card)), json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_schema_refuses_another_verdict_and_a_missing_score(partial: CardDocument) -> None:
    good = json.loads(to_json(partial))
    without_score = {name: value for name, value in good.items() if name != "score"}
    for wrong in ({**good, "verdict": {**good["verdict"], "decision": "fine"}}, without_score):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, json_schema())


def test_every_page_is_well_formed_and_needs_nothing_from_outside(any_card: CardDocument) -> None:
    text = page(any_card)
    nesting = parsed(text)
    assert (nesting.open, nesting.misplaced) == ([], [])
    assert not {"script", "link", "img", "iframe", "object"} & set(nesting.elements)
    assert not re.search(r"""(?:https?:)?//[a-z]|url\(|@import""", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_every_state_has_a_shape_and_a_word(failed: CardDocument) -> None:
    text = page(failed)
    for state in ("proven", "partly-proven", "failed", "unknown", "not-exercised"):
        assert f'<symbol id="{state}"' in text
    for claim_state in ("failed", "unknown", "not exercised"):
        slug = claim_state.replace(" ", "-")
        assert re.search(rf'<use href="#{slug}"/></svg> <b class="{slug}">{claim_state}</b>', text)


def test_an_empty_run_says_that_nothing_was_executed(empty: CardDocument) -> None:
    assert (empty.score, empty.stage_reached, empty.verdict.exit_code) == (0.0, None, 2)
    words = parsed(page(empty)).words
    for sentence in ("0.0", "nothing was executed", "No stage reached", "Run the suite: make readiness"):
        assert sentence in words
    assert "Nothing was executed." in summary(empty)


def test_a_partial_run_says_what_is_missing_and_why(partial: CardDocument) -> None:
    words = parsed(page(partial)).words
    for sentence in (
        "2.4",
        "Not enough evidence",
        "no clause that ran cites them",
        "they need the containers stack",
        "table passed only after a retry, so half counts",
        "Run on the containers stack: make readiness STACK=containers",
    ):
        assert sentence in words


def test_a_failed_run_shows_findings_reasons_and_history(failed: CardDocument) -> None:
    words = parsed(page(failed)).words
    for sentence in (
        "System failed",
        "kill/after_write",
        "no query was slow enough",
        "histories/kill-after_write",
        failed.clauses[0].history_sha256,
        "verified",
        "1,204",
        "session_sequence 20117",
        "6 of 7",
        "survived",
        "with uncommitted changes",
    ):
        assert sentence in words
    assert 'href="histories/kill-after_write/history.jsonl"' in page(failed)


def test_what_a_run_says_stays_text(failed: CardDocument) -> None:
    text = page(failed)
    assert "<script" not in text
    assert parsed(text).words.count(HOSTILE) >= 5
    markdown = summary(failed)
    assert "<script" not in markdown
    assert "&lt;script&gt;alert('x')&lt;/script&gt; \\| 'code' &amp; more" in markdown


@pytest.mark.parametrize(
    "history", ["javascript:alert(1)", "/etc", "../elsewhere", "a/../../b", "https://example.org/x"]
)
def test_a_history_that_is_no_path_below_the_page_is_not_linked(partial: CardDocument, history: str) -> None:
    clauses = (replace(partial.clauses[0], history=history), *(replace(c, history="") for c in partial.clauses[1:]))
    text = page(replace(partial, clauses=clauses))
    assert re.findall(r'href="([^#"]+)"', text) == ["requirements.html", "card.json"]
    assert history in parsed(text).words


def test_a_complete_run_has_nothing_left_to_do(complete: CardDocument) -> None:
    assert (complete.score, complete.stage_reached, complete.remedies) == (100.0, "beyond", ())
    words = parsed(page(complete)).words
    for sentence in ("100.0", "Every stage reached.", "Nothing. Every claim is proven.", "every claim was exercised"):
        assert sentence in words


def test_a_broken_run_has_no_score(broken: CardDocument) -> None:
    assert broken.score is None
    words = parsed(page(broken)).words
    for sentence in ("no score", "Harness broke", "run.json: value: Invalid JSON", "It is not a score."):
        assert sentence in words
    assert "no score, harness broke" in summary(broken)


def test_a_failed_clause_comes_first_among_the_evidence_of_its_claim(tmp_path: Path) -> None:
    made = card(tmp_path, verdict("kill/a", "CON-3b"), verdict("kill/b", "CON-3b", verdict="fail"))
    claim = next(c for criterion in made.criteria for c in criterion.claims if c.id == "CON-3b")
    assert [made.clauses[position].clause for position in claim.evidence] == ["kill/b", "kill/a"]


def test_criteria_are_listed_worst_first(failed: CardDocument) -> None:
    text = page(failed)
    identifiers = re.findall(r'<span class="id"><code>([A-Z]+-\d+)</code>', text)
    assert sorted(identifiers) == sorted(RUBRIC.criteria)
    assert identifiers[:2] == ["CON-3", "QRY-2"]


def test_the_summary_is_short_and_names_score_counts_and_next_steps(failed: CardDocument) -> None:
    text = summary(failed)
    assert len(text.splitlines()) < 60
    assert text.startswith("## K2 readiness: 0.0 of 100, system failed\n")
    claims = sum(len(criterion.claims) for criterion in failed.criteria)
    assert f"| 0 | 1 | 1 | {claims - 2} |" in text
    assert "1. Fix what kill found (up to +2.00 points)" in text


def test_points_on_the_page_are_cut_and_never_rounded_up(partial: CardDocument) -> None:
    con_6 = next(criterion for criterion in partial.criteria if criterion.id == "CON-6")
    assert (con_6.points, con_6.weight, con_6.state) == (0.4444, 8.0, "partly proven")
    shown = re.findall(
        r'<span class="points">([\d.]+)<span', page(replace(partial, criteria=(replace(con_6, points=0.6666),)))
    )
    assert shown == ["0.66"]

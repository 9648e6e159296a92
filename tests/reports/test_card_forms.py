"""Badge, JUnit, SARIF, registry page, pictures and the limit of the summary."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from reports.readiness.card import document
from reports.readiness.document import CardDocument
from reports.readiness.histories import history_sha256
from reports.readiness.render.badge import badge
from reports.readiness.render.forms import FORMS, rendered
from reports.readiness.render.junit import junit
from reports.readiness.render.page import page
from reports.readiness.render.registry_page import registry_page
from reports.readiness.render.sarif import REQUIREMENTS, sarif
from reports.readiness.render.summary import LONGEST_BYTES, summary
from reports.readiness.writing import pictures, write_card
from tests.reports.crafted_run import CLAIM_IDS, REGISTRY, ROOT, assessed, run_record, verdict, write_run

HOSTILE = "<script>alert('x')</script> & \x00\x0b \"quoted\""
FINDING = {"kind": "lost", "detail": HOSTILE, "count": 3, "examples": ["offset 17"]}
LINES = (
    verdict(
        "kill/after_write", "CON-3b", "CON-6a", verdict="fail", reason=HOSTILE, remedy="see it", findings=[FINDING]
    ),
    verdict("query", "QRY-2a", verdict="unknown", reason="no query was slow enough"),
    verdict("stop", "CON-3a"),
)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> CardDocument:
    return document(assessed(write_run(tmp_path_factory.mktemp("runs") / "run", LINES)))


def cases(text: str) -> list[Element]:
    return list(fromstring(text).iter("testcase"))


@pytest.mark.parametrize("form", FORMS)
def test_no_form_loads_anything_or_holds_a_script(card: CardDocument, form: str) -> None:
    text = rendered(card)[form]
    assert text.endswith("\n")
    if form.endswith((".html", ".svg")):
        assert "<script" not in text
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//|url\(|@import""", text)


def test_every_claim_is_in_junit_with_its_true_state(card: CardDocument) -> None:
    found = {
        case.get("name", "").split()[0]: case for case in cases(junit(card)) if "claims." in case.get("classname", "")
    }
    ends = {"failed": ["failure"], "unknown": ["error"], "not exercised": ["skipped"], "proven": []}
    states = {claim.id: claim.state for criterion in card.criteria for claim in criterion.claims}
    assert {claim: [end.tag for end in case] for claim, case in found.items()} == {
        claim: ends[state] for claim, state in states.items()
    }
    assert set(found) == set(CLAIM_IDS)


def test_junit_counts_what_it_holds_and_survives_what_xml_cannot_hold(card: CardDocument) -> None:
    root = fromstring(junit(card))
    suites = {suite.get("name"): suite for suite in root}
    assert (root.get("failures"), root.get("errors")) == ("3", "2")
    assert root.get("tests") == str(len(cases(junit(card)))) == str(len(CLAIM_IDS) + len(LINES))
    clauses = {case.get("name"): case for case in suites["clauses on embedded"]}
    failure = clauses["kill/after_write"].find("failure")
    assert failure is not None
    assert "lost: <script>" in (failure.text or "")
    assert clauses["stop"].get("time") == "1.500"


def test_the_badge_tells_score_and_decision(card: CardDocument, tmp_path: Path) -> None:
    assert "K2 readiness: 0.0 of 100, system failed" in badge(card)
    assert 'fill="#a9231b"' in badge(card)
    broken = write_run(tmp_path, run=run_record(ended_at=None))
    assert "no score, harness broke" in badge(document(assessed(broken)))
    fromstring(badge(card))


def test_sarif_names_each_claim_that_a_failed_clause_cites_at_its_line(card: CardDocument) -> None:
    log = json.loads(sarif(card))
    (run,) = log["runs"]
    results = run["results"]
    assert (log["version"], [result["ruleId"] for result in results]) == ("2.1.0", ["CON-3b", "CON-6a"])
    rules = run["tool"]["driver"]["rules"]
    lines = (ROOT / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    for result in results:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert f'id = "{result["ruleId"]}"' in lines[place["region"]["startLine"] - 1]
    assert len({json.dumps(result["partialFingerprints"]) for result in results}) == len(results)


def test_a_run_without_failures_has_no_result_in_sarif(tmp_path: Path) -> None:
    log = json.loads(sarif(document(assessed(write_run(tmp_path, [verdict("stop", "CON-3a")])))))
    assert log["runs"][0]["results"] == []


def test_the_registry_page_has_every_requirement_with_text_claims_and_state(card: CardDocument) -> None:
    text = registry_page(card)
    for requirement in REGISTRY.requirement:
        assert f'id="{requirement.id}"' in text
    for claim in CLAIM_IDS:
        assert f'<tr id="{claim}">' in text
    row = text[text.index('<tr id="CON-3b">') :].partition("</tr>")[0]
    assert "failed" in row
    assert "kill/after_write" in row
    assert "not run" in row


def test_backticks_of_a_text_become_code_and_a_single_one_stays(card: CardDocument) -> None:
    first = replace(card.criteria[0], text="`a` & `<b>`, and ` alone")
    text = registry_page(replace(card, criteria=(first,)))
    assert "<code>a</code> &amp; <code>&lt;b&gt;</code>, and ` alone" in text


def test_a_summary_keeps_its_limit_and_says_that_it_was_cut(card: CardDocument) -> None:
    assert "Cut off here" not in summary(card)
    long = replace(card, verdict=replace(card.verdict, reasons=("ä" * LONGEST_BYTES, "second")))
    text = summary(long)
    assert len(text.encode()) <= LONGEST_BYTES
    assert "Cut off here: a summary holds 1 MB" in text
    assert text.rstrip().endswith("Details: index.html and card.json of the run.")


def picture_run(directory: Path, size: int = 0) -> Path:
    """A run whose one clause has a picture and a timeline beside its history."""
    history = directory / "histories" / "kill"
    history.mkdir(parents=True)
    (history / "timeline.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>" + " " * size)
    (history / "timeline.json").write_text("{}")
    run = write_run(directory, [verdict("kill", "CON-3b", history=None)])
    line = json.loads((run / "verdicts.jsonl").read_text())
    (history / "history.jsonl").write_text(
        json.dumps({key: line[key] for key in ("clause", "claims", "checker", "stack")}) + "\n"
    )
    line |= {"history": "histories/kill", "history_sha256": history_sha256(history)}
    (run / "verdicts.jsonl").write_text(json.dumps(line) + "\n")
    return run


def test_a_picture_beside_a_history_is_on_the_page_and_the_timeline_is_linked(tmp_path: Path) -> None:
    assessment = assessed(picture_run(tmp_path))
    made = document(assessment)
    assert made.clauses[0].figures == ("histories/kill/timeline.svg", "histories/kill/timeline.json")
    text = page(made, pictures(assessment, made))
    assert '<img class="figure-of-history" alt="timeline.svg of kill" src="data:image/svg+xml;base64,' in text
    assert 'href="histories/kill/timeline.json"' in text
    assert "img-src data:" in text


def test_pictures_too_large_for_one_page_are_only_linked(tmp_path: Path) -> None:
    assessment = assessed(picture_run(tmp_path, size=4_000_000))
    made = document(assessment)
    assert pictures(assessment, made) == {}
    assert 'href="histories/kill/timeline.svg"' in page(made, {})


def test_all_forms_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    _, written = write_card(assessed(write_run(tmp_path / "run", LINES)), tmp_path / "new" / "place")
    assert sorted(path.name for path in (tmp_path / "new" / "place").iterdir()) == sorted(FORMS)
    assert all(path.stat().st_size > 0 for path in written)

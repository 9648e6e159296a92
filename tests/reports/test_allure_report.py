"""Allure results completed with what the card knows, and pages cleared of what they would load from outside."""

import json
from pathlib import Path
from typing import Any

import pytest

from reports.allure.complete import LONGEST_ATTACHMENT_BYTES, complete
from reports.allure.html import PACKAGE, find_npx, make_html, without_outside
from reports.allure.results import logs_of_clauses, read_results
from reports.readiness.card import document
from reports.readiness.errors import ToolError
from tests.reports.crafted_run import assessed, verdict, write_run

REMEDY = "see docs/runbooks/consumer-lag-critical.md"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a failed and a passed test, as allure-pytest leaves them; the failed one has a long history."""
    directory = write_run(
        tmp_path / "run",
        [
            verdict("kill/poll", "CON-3b", "OBS-1a", verdict="fail", reason="3 lost", remedy=REMEDY),
            verdict("stop", "PRO-2a"),
        ],
    )
    for test, clause in (("test_kill[poll]", "kill/poll"), ("test_stop", "stop")):
        write_result(directory, test, clause)
        (directory / "logs" / test).mkdir(parents=True)
        (directory / "logs" / test / "01-broker.log").write_text("up\n")
    with (directory / "allure" / "test_kill[poll]-attachment.txt").open("a") as file:
        file.write('{"type":"operation"}\n' * LONGEST_ATTACHMENT_BYTES)
    (directory / "histories" / "kill-poll" / "timeline.svg").write_text("<svg/>")
    return directory


def write_result(run: Path, test: str, clause: str) -> None:
    folder = run / "allure"
    folder.mkdir(exist_ok=True)
    (folder / f"{test}-attachment.txt").write_text(json.dumps({"type": "header", "clause": clause}) + "\n")
    attachment = {"name": "history", "source": f"{test}-attachment.txt", "type": "text/plain"}
    result = {
        "uuid": test,
        "name": test,
        "fullName": f"conformance.clauses.test_x#{test.partition('[')[0]}",
        "status": "passed",
        "attachments": [attachment],
        "labels": [{"name": "tag", "value": "CON-3b"}],
    }
    (folder / f"{test}-result.json").write_text(json.dumps(result))


def completed(run: Path, into: Path) -> dict[str, dict[str, Any]]:
    assert complete(run, document(assessed(run)), 0, into) == 2
    found = [json.loads(path.read_text()) for path in sorted(into.glob("*-result.json"))]
    return {result["uuid"]: result for result in found}


def test_a_result_knows_its_clauses_by_their_histories_and_its_logs_by_its_name(run: Path) -> None:
    assert {result.test: result.clauses for result in read_results(run)} == {
        "test_kill[poll]": ("kill/poll",),
        "test_stop": ("stop",),
    }
    assert logs_of_clauses(run) == {
        "kill/poll": run / "logs" / "test_kill[poll]",
        "stop": run / "logs" / "test_stop",
    }


def test_stages_become_epics_and_the_gravest_the_severity(run: Path, tmp_path: Path) -> None:
    results = completed(run, tmp_path / "results")
    labels = {uuid: {(one["name"], one["value"]) for one in result["labels"]} for uuid, result in results.items()}
    assert {("epic", "P0"), ("feature", "CON-3"), ("story", "kill/poll"), ("severity", "blocker")} <= labels[
        "test_kill[poll]"
    ]
    assert {("epic", "P1"), ("severity", "critical")} <= labels["test_stop"]
    assert ("tag", "CON-3b") in labels["test_stop"]


def test_title_status_and_reason_are_those_of_the_verdict(run: Path, tmp_path: Path) -> None:
    result = completed(run, tmp_path / "results")["test_kill[poll]"]
    assert (result["name"], result["status"]) == ("The clause kill/poll", "failed")
    assert "**kill/poll** fail: 3 lost" in result["description"]


def test_links_lead_to_requirement_and_runbook(run: Path, tmp_path: Path) -> None:
    links = {link["name"]: link["url"] for link in completed(run, tmp_path / "results")["test_kill[poll]"]["links"]}
    assert links["CON-3"] == "requirements.html#CON-3"
    assert links["runbook consumer-lag-critical"].endswith("docs/runbooks/consumer-lag-critical.md")


def test_a_failure_has_excerpt_timeline_and_logs_and_a_pass_no_logs(run: Path, tmp_path: Path) -> None:
    # The picture came after the verdict, so the verdict is not to be trusted; what is there is attached all the same.
    results = completed(run, tmp_path / "results")
    attached = {one["name"]: tmp_path / "results" / one["source"] for one in results["test_kill[poll]"]["attachments"]}
    assert {"history (excerpt)", "01-broker.log"} <= set(attached)
    excerpt = attached["history (excerpt)"].read_text()
    assert len(excerpt) < LONGEST_ATTACHMENT_BYTES + 100
    assert "bytes left out" in excerpt
    assert attached["01-broker.log"].read_text() == "up\n"
    assert [one["name"] for one in results["test_stop"]["attachments"]] == ["history"]


def test_the_runs_own_results_stay_as_they_were(run: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (run / "allure").iterdir()}
    completed(run, tmp_path / "results")
    assert {path: path.read_bytes() for path in (run / "allure").iterdir()} == before


def test_loaders_from_outside_are_taken_out_and_the_rest_stays() -> None:
    page = (
        "<html><head><script async src='https://www.example.org/gtag/js?id=G-1'></script>"
        "<script>window.dataLayer = window.dataLayer || []; function gtag(){}</script>"
        '<link rel="stylesheet" href="//example.org/a.css"><link rel="icon" href="data:image/svg+xml,x"></head>'
        '<body><script src="data:text/javascript;base64,AAAA"></script><script>window.allure = {}</script></body>'
    )
    clean = without_outside(page)
    assert "example.org" not in clean
    assert "dataLayer" not in clean
    for kept in ("data:image/svg+xml,x", "data:text/javascript;base64,AAAA", "window.allure = {}"):
        assert kept in clean
    assert "Content-Security-Policy" in clean
    assert "connect-src 'self' data: blob:" in clean


def test_a_large_script_that_mentions_analytics_is_the_report_itself_and_stays() -> None:
    page = f"<html><head></head><body><script>{'x' * 6_000} gtag(</script></body></html>"
    assert "gtag(" in without_outside(page)


def test_a_package_that_makes_no_page_is_told_in_one_line(tmp_path: Path) -> None:
    npx = tmp_path / "npx"
    npx.write_text(f"#!/bin/sh\necho no {PACKAGE} here\nexit 1\n")
    npx.chmod(0o755)
    with pytest.raises(ToolError, match=f"{PACKAGE} made no page: no {PACKAGE} here"):
        make_html(tmp_path, tmp_path / "out.html", str(npx))


def test_without_node_there_is_no_npx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_npx() is None

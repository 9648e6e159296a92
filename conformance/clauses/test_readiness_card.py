"""The readiness card and its gate.

A run MUST give a card in every form and a gate that tells failed, unknown and broken apart (HAR-5a). Allure results and
HTML and an SVG badge MUST be made and load nothing from outside (HAR-5b). Stored histories MUST be judged again, and
what was forged found by that (HAR-6a). A waiver MUST cap the score, expire and never raise it, and a trend MUST refuse
another ruler version (HAR-6e).
"""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.outside_addresses import outside_addresses
from conformance.drivers.run_directories import CLAIM, asked, copy_ruler, edit_verdict, reports, write_run
from conformance.history import HistoryWriter, history_sha256

FORMS = (
    "index.html", "requirements.html", "card.json", "card.md", "card.junit.xml", "card.sarif", "badge.svg",
)  # fmt: skip
EXIT_WITHOUT_NODE = 69
AT_ONCE = 3
Case = tuple[str, int, Callable[[], int]]


@pytest.mark.clause(
    name="card/forms_and_exit_codes",
    claims=("HAR-5a",),
    checker="facts",
    title="A run gives its card in every form, and the gate tells passed, failed, unknown and broken apart",
    minimum_samples=17,
    remedy="see reports/readiness/gate.py",
)
def test_a_run_gives_a_card_and_the_gate_tells_outcomes_apart(clause: ClauseRun, tmp_path: Path) -> None:
    run = {verdict: write_run(tmp_path / verdict, verdict) for verdict in ("pass", "fail", "unknown")}
    malformed, edited, unbacked = (write_run(tmp_path / name) for name in ("malformed", "edited", "unbacked"))
    (malformed / "verdicts.jsonl").write_text("{not json\n")
    with (edited / "histories" / "crafted" / "history.jsonl").open("a") as file:
        file.write("\n")
    edit_verdict(unbacked, history=None, history_sha256=None)
    other_ruler = write_run(tmp_path / "other_ruler", ruler="0" * 64)
    cases: list[Case] = [
        ("gate on a run that passed", 0, lambda: gate(run["pass"])),
        ("gate on a run that failed", 1, lambda: gate(run["fail"])),
        ("gate on a run that is unknown", 2, lambda: gate(run["unknown"])),
        ("gate on a run without clauses", 2, lambda: gate(write_run(tmp_path / "empty", None))),
        ("gate on a pass without a history", 2, lambda: gate(unbacked)),
        ("gate on malformed evidence", 3, lambda: gate(malformed)),
        ("gate on an edited history", 3, lambda: gate(edited)),
        ("gate on a run of another rubric", 3, lambda: gate(other_ruler)),
        ("gate at a minimum that was not earned", 2, lambda: reports("gate", run["pass"], "--min", "82")),
        ("card of a run", 0, lambda: reports("card", run["pass"])),
    ]
    with clause.history() as history:
        record_cases(history, cases)
        for form in FORMS:
            record_fact(history, form, True, is_not_empty, run["pass"] / form)
    clause.judge()


@pytest.mark.clause(
    name="card/forgeries",
    claims=("HAR-6a",),
    checker="facts",
    title="A forged card, verdict and history are found by judging again, though the hashes agree",
    minimum_samples=6,
    remedy="see reports/readiness/verification.py",
)
def test_what_was_forged_is_found_by_judging_again(clause: ClauseRun, tmp_path: Path) -> None:
    honest, card, verdict, rewritten = (
        write_run(tmp_path / name, "pass" if name == "honest" else "fail")
        for name in ("honest", "card", "verdict", "rewritten")
    )
    edit_verdict(verdict, verdict="pass", reason="1 facts are as they must be", findings=[])
    rewrite_history(rewritten)
    missing = write_run(tmp_path / "missing")
    (missing / "histories" / "crafted" / "history.jsonl").unlink()
    cases: list[Case] = [
        ("verify an honest run", 0, lambda: reports("verify", honest)),
        ("verify a forged card", 3, lambda: forged_card(card)),
        ("gate on a forged verdict, by its hash", 0, lambda: gate(verdict)),
        ("verify a forged verdict", 3, lambda: reports("verify", verdict)),
        ("verify a history rewritten with its hash", 3, lambda: reports("verify", rewritten)),
        ("verify a run whose history is gone", 2, lambda: reports("verify", missing)),
    ]
    with clause.history() as history:
        record_cases(history, cases)
    clause.judge()


@pytest.mark.clause(
    name="card/waivers_and_trend",
    claims=("HAR-6e",),
    checker="facts",
    title="A waiver caps, expires and never raises; a trend and a gate refuse what another ruler measured",
    minimum_samples=9,
    remedy="see reports/readiness/waivers.py and comparison.py",
)
def test_a_waiver_caps_and_expires_and_a_trend_refuses_another_ruler(clause: ClauseRun, tmp_path: Path) -> None:
    root = copy_ruler(tmp_path / "tree")
    ruler = asked("ruler", root=root).stdout.strip()
    failed, passed = (write_run(tmp_path / name, name, ruler=ruler, run_id=name) for name in ("fail", "pass"))
    other = write_run(tmp_path / "other", ruler="0" * 64)
    raw = score(passed, root)["score"]
    with clause.history() as history:
        record_fact(history, "gate on a failed claim", 1, gate, failed, root)
        waive(root, days=5, cap=0)
        record_fact(history, "gate on a failed claim that is waived", 0, gate, failed, root)
        record_fact(history, "score under a waiver", [raw, 0.0], scores, passed, root)
        waive(root, days=5, cap=99)
        record_fact(history, "score under a waiver whose cap is above it", [raw, raw], scores, passed, root)
        waive(root, days=-1, cap=99)
        record_fact(history, "gate on a proven claim whose waiver expired", 1, gate, passed, root)
        waive(root, days=400, cap=99)
        record_fact(history, "gate with a waiver for longer than allowed", 3, gate, passed, root)
        (root / "reports" / "readiness" / "waivers.toml").unlink()
        cases: list[Case] = [
            ("trend over runs of one ruler", 0, lambda: reports("trend", passed, failed, root=root)),
            ("trend over runs of two rulers", 3, lambda: reports("trend", passed, other, root=root)),
            ("card of runs of two rulers", 3, lambda: reports("card", passed, other, root=root)),
        ]
        record_cases(history, cases)
        with (root / "reports" / "readiness" / "rubric.toml").open("a") as file:
            file.write("# changed\n")
        record_fact(history, "gate with a rubric changed after the run", 3, gate, passed, root)
    clause.judge()


@pytest.mark.clause(
    name="card/nothing_from_outside",
    claims=("HAR-5b",),
    checker="facts",
    title="Allure's results and page, the card and its badge are made, and load nothing from another host",
    minimum_samples=6,
    remedy="see reports/allure/html.py",
)
def test_allure_and_badge_are_made_and_load_nothing_from_outside(clause: ClauseRun, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    run_labelled_test(run / "allure", tmp_path / "test_labelled.py")
    made = asked("allure", run)
    if made.returncode == EXIT_WITHOUT_NODE:
        pytest.skip("no Node here: Allure's page cannot be made")
    with clause.history() as history:
        record_fact(history, "epic and link of an Allure result", ["beyond", "requirements.html#HAR-6"], labels, run)
        record_fact(history, "reports allure", 0, lambda: made.returncode)
        record_fact(history, "reports card", 0, reports, "card", run)
        record_fact(history, "the test is in Allure's page", True, holds, run / "allure.html", "allureReportData")
        for page in ("allure.html", "index.html", "requirements.html", "badge.svg"):
            record_fact(history, f"{page} loads from outside", [], outside_addresses, run / page)
    clause.judge()


def record_cases(history: HistoryWriter, cases: list[Case]) -> None:
    """Run commands, some at once, and record how each ended."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = list(pool.map(lambda case: case[2](), cases))
    for (name, expected, _), status in zip(cases, statuses, strict=True):
        record_fact(history, name, expected, int, status)


def gate(run: Path, root: Path | None = None) -> int:
    """Exit status of the gate, which asks for no minimum score."""
    return asked("gate", run, "--min", "0", **({"root": root} if root else {})).returncode


def score(run: Path, root: Path) -> dict[str, Any]:
    """What the gate says of a run."""
    told: dict[str, Any] = json.loads(asked("gate", run, "--min", "0", "--json", root=root).stdout)
    return told


def scores(run: Path, root: Path) -> list[float]:
    """Score and waived score."""
    told = score(run, root)
    return [told["score"], told["waived_score"]]


def waive(root: Path, days: int, cap: int) -> None:
    """Waive the crafted claim, from a month ago until so many days from now."""
    today = datetime.now(UTC).date()
    lines = (
        "[[waiver]]",
        f'claim = "{CLAIM}"',
        'owner = "nobody"',
        'reason = "to be seen"',
        f"granted = {today - timedelta(days=30)}",
        f"expires = {today + timedelta(days=days)}",
        f"cap = {cap}",
    )
    (root / "reports" / "readiness" / "waivers.toml").write_text("\n".join(lines) + "\n")


def forged_card(run: Path) -> int:
    """Exit status of `verify` on a run whose card was given full marks."""
    reports("card", run)
    card = json.loads((run / "card.json").read_text())
    (run / "card.json").write_text(json.dumps({**card, "score": 100.0, "stage_reached": "beyond"}))
    return reports("verify", run)


def rewrite_history(run: Path) -> None:
    """Make a history say that all went well, and its verdict's hash agree with it; the verdict itself still fails."""
    path = run / "histories" / "crafted" / "history.jsonl"
    path.write_text(path.read_text().replace('"observed":2', '"observed":1'))
    edit_verdict(run, history_sha256=history_sha256(path.parent))


def run_labelled_test(results: Path, test: Path) -> None:
    """Run one test under allure-pytest that labels itself as clauses do."""
    test.write_text(
        "from conformance.clause import ClauseMarker, allure_labels\n"
        "def test_labelled():\n"
        f"    allure_labels(ClauseMarker('crafted', ('{CLAIM}',), 'facts', 'A crafted clause'))\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test), f"--alluredir={results}"]
    subprocess.run([*command, "-c", "/dev/null"], cwd=Path(__file__).parents[2], check=True, capture_output=True)


def labels(run: Path) -> list[str]:
    """Epic and link of the one Allure result of a run."""
    (path,) = (run / "allure").glob("*-result.json")
    result = json.loads(path.read_text())
    epics = [label["value"] for label in result["labels"] if label["name"] == "epic"]
    return [*epics, *(link["url"] for link in result["links"])]


def holds(path: Path, words: str) -> bool:
    """Whether a text file has those words in it."""
    return words in path.read_text(encoding="utf-8")


def is_not_empty(path: Path) -> bool:
    """Whether a form of the card is there."""
    return path.stat().st_size > 100

"""Each alert leads to a page that says what to do, and mistakes in such a page are found before it is needed.

Each alert MUST name a runbook that exists, names it, and has the six parts, filled, in order (OPS-1a). The runbooks and
operations documents that operators rely on MUST exist, and their links MUST hold (OPS-1b). `k2 runbooks validate` MUST
find a mistake in structure, links, commands, metrics and alerts at its place, and none where there is none (OPS-2a).
"""

from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.planted_runbooks import PAGES, PLANTS, is_found, plant_all, validate
from conformance.drivers.runbook_pages import PARTS, alert_rules, dead_links, filled_parts, names

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = Path("docs") / "operations"
DOCUMENTS = [
    *(PAGES / f"{name}.md" for name in ("kafka-consumer-lag", "query-timeout", "schema-registry-down")),
    *(PAGES / f"{name}.md" for name in ("failure-recovery", "disaster-recovery", "checkpoint-corruption", "README")),
    *(OPERATIONS / f"{name}.md" for name in ("maintenance", "incidents", "post-mortem", "hand-over")),
]


@pytest.mark.clause(
    name="runbooks/of_alerts",
    claims=("OPS-1a",),
    checker="facts",
    title="Every alert leads to a runbook with the six parts",
    minimum_samples=3 * 25,
    remedy="see docs/runbooks and deploy/prometheus/rules",
)
def test_every_alert_leads_to_a_runbook_with_its_six_parts(clause: ClauseRun) -> None:
    with clause.history() as history:
        for alert in alert_rules(ROOT):
            page = ROOT / alert.runbook
            record_fact(history, f"{alert.name} leads to a page", True, page.is_file)
            record_fact(history, f"the page of {alert.name} names it", True, names, page, alert.name)
            record_fact(history, f"the parts of the page of {alert.name}", PARTS, filled_parts, page)
    clause.judge()


@pytest.mark.clause(
    name="runbooks/documents",
    claims=("OPS-1b",),
    checker="facts",
    title="The named runbooks and operations documents are there and their links hold",
    minimum_samples=len(DOCUMENTS) + 2,
    remedy="see docs/runbooks and docs/operations",
)
def test_the_named_documents_are_there_and_their_links_hold(clause: ClauseRun) -> None:
    with clause.history() as history:
        for document in DOCUMENTS:
            record_fact(history, str(document), True, (ROOT / document).is_file)
        for folder in (PAGES, OPERATIONS):
            pages = sorted((ROOT / folder).glob("*.md"))
            record_fact(history, f"dead links in {folder}", [], lambda pages=pages: list(dead_links(pages)))
    clause.judge()


@pytest.mark.clause(
    name="runbooks/validation",
    claims=("OPS-2a",),
    checker="facts",
    title="Each planted mistake in a runbook is found at its place, and none where there is none",
    minimum_samples=len(PLANTS) + 3,
    remedy="see k2/commands/runbooks",
)
def test_each_planted_mistake_in_a_runbook_is_found(clause: ClauseRun, tmp_path: Path) -> None:
    with clause.history() as history:
        record_fact(history, "the runbooks as they are", [0, []], lambda: list(validate(ROOT)))
        plant_all(ROOT, tmp_path)
        status, findings = validate(tmp_path)
        record_fact(history, "exit code with mistakes", 1, lambda: status)
        for plant in PLANTS:
            record_fact(history, plant.name, True, is_found, plant, tmp_path, findings)
        expected = {str(tmp_path / plant.path) for plant in PLANTS}
        record_fact(history, "findings in pages without a mistake", [], lambda: [
            finding for finding in findings if finding["path"] not in expected
        ])  # fmt: skip
    clause.judge()

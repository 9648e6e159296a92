"""A scenario of the table: what was acknowledged MUST be in the table once, whatever happens meanwhile (HAR-3).

What the row says MUST go on while the fault lasts, and all MUST be as before soon after. A fault whose effect cannot be
seen leaves the verdict unknown; rows whose fault is made to do nothing MUST end so.
"""

from pathlib import Path

import allure

from chaos.picture import picture
from chaos.scenarios.scenario import plan_parameters, run_scenario
from chaos.scenarios.table import Scenario
from chaos.schedule import Schedule
from chaos.timeline import TIMELINES, timeline, write_timeline
from conformance.checkers.verdict import Verdict
from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.history import Header, History, HistoryWriter
from conformance.judge import judge
from conformance.stacks.base import NewStack, PowerMissingError, Stack

PARTITIONS = 3
BATCH_ROWS = 5_000


def test_nothing_is_lost(
    scenario: Scenario, run: int, schedule: Schedule, clause: ClauseRun, new_stack: NewStack, tmp_path: Path
) -> None:
    """A scenario of the table is carried out and judged."""
    stack = new_stack(tmp_path, partitions=PARTITIONS, batch_rows=BATCH_ROWS)
    if stack.name not in scenario.stacks:
        raise PowerMissingError(f"this scenario runs on the {' or '.join(scenario.stacks)} stack")
    entries = schedule.of(scenario.name)
    # Another run is another try of the same faults on other records.
    seed = schedule.seed + run - 1
    if scenario.is_harmless:
        with clause.history(seed=seed) as history:
            verdict = judged_apart(scenario, schedule, stack, clause, tmp_path)
            record_fact(history, "verdict", "unknown", lambda: verdict.outcome.value)
            kinds = sorted({finding.kind for finding in verdict.findings})
            record_fact(history, "findings", ["fault_did_not_bite"], lambda: kinds)
        clause.judge()
        return
    with stack, clause.history(seed=seed, **plan_parameters(scenario, entries)) as history:
        run_scenario(scenario, entries, stack, history, tmp_path, seed)
    clause.judge(keep_timeline(clause.history_path, clause))


def judged_apart(scenario: Scenario, schedule: Schedule, stack: Stack, clause: ClauseRun, directory: Path) -> Verdict:
    """The verdict on a scenario whose history is not the clause's own."""
    entries, path = schedule.of(scenario.name), directory / clause.history_path.name
    parameters = {"minimum_samples": 1, **plan_parameters(scenario, entries)}
    header = Header(clause.name, scenario.claims, "chaos", schedule.seed, stack.name, 0, parameters)
    with stack, HistoryWriter(path, header) as history:
        run_scenario(scenario, entries, stack, history, directory, schedule.seed)
    return judge(path)


def keep_timeline(history_path: Path, clause: ClauseRun) -> dict[str, object]:
    """Keep timeline and picture beside the histories and with Allure; returns the measures."""
    document = timeline(History.read(history_path))
    path = clause.run_directory / TIMELINES / f"{history_path.name}.json"
    write_timeline(document, path)
    drawn = path.with_suffix(".svg")
    drawn.write_text(picture(document))
    allure.attach.file(path, "timeline", allure.attachment_type.JSON)  # type: ignore[no-untyped-call]
    allure.attach.file(drawn, "timeline", allure.attachment_type.SVG)  # type: ignore[no-untyped-call]
    return dict(document["measures"])

"""What the checker of recoveries must catch."""

from dataclasses import replace
from typing import Any

from conformance.checkers.verdict import Outcome
from conformance.history import History
from conformance.planted.journey import SECOND_NS, clean_journey, operation
from conformance.planted.records import START_NS, TRADES
from conformance.planted.suite import (
    Defect,
    Plant,
    Suite,
    add_row,
    drop_rows,
    edit_operations,
    edit_stage,
    set_values,
    with_attributes,
    without_stage,
)

_NAMES = ("broker", "catalog")
_ROW = 21
_STAGES = ("fed", "logged", "stored", "answered", "dead_letters")


def clean_recovery(seed: int) -> History:
    """Two recoveries, each by two blocks of a runbook, the second of which may end with another code than 0."""
    history = clean_journey(seed, checker="recovery", stages=_STAGES, expected_recoveries=list(_NAMES))
    operations = list(history.operations)
    for number, name in enumerate(_NAMES, start=1):
        fault = START_NS + number * 100 * SECOND_NS
        for line, exit_code in ((20, 0), (40, 76)):
            done = {"variant": name, "recovery": name, "place": f"docs/runbooks/{name}.md:{line}"}
            codes = {"exit_code": exit_code, "expected_exit_code": exit_code}
            operations.append(operation("operator", "command", fault + line * SECOND_NS, {**done, **codes}))
        operations.append(operation("operator", "recovery", fault, _recovery(name, fault)))
    return replace(history, operations=tuple(operations))


def _recovery(name: str, fault_wall_ns: int) -> dict[str, Any]:
    return {
        "variant": name,
        "recovery": name,
        "objective_seconds": 300,
        "symptom_expected": ["ended"],
        "symptom_observed": ["ended"],
        "fault_wall_ns": fault_wall_ns,
        "begun_wall_ns": fault_wall_ns + 5 * SECOND_NS,
        "recovered_wall_ns": fault_wall_ns + 60 * SECOND_NS,
        "acknowledged_before": 400,
        "acknowledged_after": 300,
    }


def _changed(**attributes: object) -> Plant:
    return lambda history: edit_operations(
        history, "recovery", lambda one: with_attributes(one, attributes), variant=_NAMES[0]
    )


def _command(history: History) -> History:
    return edit_operations(history, "command", lambda one: with_attributes(one, {"exit_code": 1}), variant=_NAMES[1])


def _without(action: str, name: str) -> Plant:
    return lambda history: edit_operations(history, action, lambda _: None, variant=name)


SUITE = Suite(
    "recovery",
    clean_recovery,
    (
        Defect("row_lost", "lost", lambda one: edit_stage(one, "stored", lambda t: drop_rows(t, [_ROW]), TRADES)),
        Defect("row_twice", "duplicated", lambda one: edit_stage(one, "stored", lambda t: add_row(t, _ROW), TRADES)),
        Defect(
            "value_changed",
            "mutated",
            lambda one: edit_stage(one, "stored", lambda t: set_values(t, _ROW, trade_id="another"), TRADES),
        ),
        Defect("never_well_again", "not_recovered", _changed(recovered_wall_ns=None)),
        Defect("well_again_too_late", "too_late", _changed(objective_seconds=59)),
        Defect("a_command_failed", "command_failed", _command),
        Defect("it_came_back_by_itself", "no_commands", _without("command", _NAMES[0]), Outcome.UNKNOWN),
        Defect("nothing_was_wrong", "fault_did_not_bite", _changed(symptom_observed=["running"]), Outcome.UNKNOWN),
        Defect("symptom_not_looked_at", "fault_did_not_bite", _changed(symptom_observed=None), Outcome.UNKNOWN),
        Defect("fed_only_afterwards", "nothing_fed", _changed(acknowledged_before=0), Outcome.UNKNOWN),
        Defect("fed_only_before", "nothing_fed", _changed(acknowledged_after=0), Outcome.UNKNOWN),
        Defect("one_was_left_out", "recovery_left_out", _without("recovery", _NAMES[1]), Outcome.UNKNOWN),
        Defect("table_not_observed", "missing_stage", lambda one: without_stage(one, "stored"), Outcome.UNKNOWN),
    ),
)

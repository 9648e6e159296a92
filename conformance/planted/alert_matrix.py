"""What the checker of faults and alerts must catch: deaf alerts, alerts that stay, noise, and evidence that is none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import (
    Defect,
    Plant,
    Suite,
    edit_operations,
    edit_stage,
    with_attributes,
    with_parameters,
    without_stage,
)

_CONTROL = (10, 100)
_FAULTS = (
    ("kill", "kafka-2", 110, 130, False, (("KafkaBrokerDown", "critical"), ("ConsumerLagGrowing", "high"))),
    ("down", "postgres", 180, 200, False, (("PostgreSQLDown", "critical"),)),
    ("pretended", "disk", 180, 205, True, (("DiskSpaceLow", "critical"),)),
)
"""What, on what, from which second to which, whether pretended, and what it fires: alerts with their severity."""
_END = 260
_NAMED = tuple(alert for *_, fires in _FAULTS for alert, _ in fires)
_CONSEQUENCE = ("APIErrorRateHigh", "critical")


def clean_matrix(seed: int) -> History:
    """A control window, three faults in two groups, each alert heard in time, and one consequence."""
    random = np.random.default_rng(seed)
    told: list[dict[str, Any]] = []
    states: list[dict[str, Any]] = []
    for _, _, began, healed, _, fires in _FAULTS:
        for alert, severity in (*fires, *((_CONSEQUENCE,) if began == 110 else ())):
            fired, over = began + float(random.uniform(2, 12)), healed + float(random.uniform(3, 30))
            told += [_told(fired + 0.5, "firing", alert, severity), _told(over, "resolved", alert, severity)]
            seconds = range(int(fired) + 1, int(over))
            states += [{"wall_ns": _at(second), "alert": alert, "state": "firing"} for second in seconds]
            states.append({"wall_ns": _at(int(fired)), "alert": alert, "state": "pending"})
    told.sort(key=lambda row: int(row["wall_ns"]))
    operations = [
        replace(operation("harness", "control", _at(_CONTROL[0]), {}), completed_monotonic_ns=_CONTROL[1] * SECOND_NS),
        operation("harness", "injection", _at(180), {"metric": "k2_disk_free_bytes", "is_deleted": True}),
        *(operation("harness", "fault", _at(one[2]), _fault(*one)) for one in _FAULTS),
    ]
    parameters = {
        "named": list(_NAMED),
        "least_real": 3,
        "control_seconds": 90,
        "longest_look_seconds": 5,
        "factor": 30,
    }
    header = Header("planted/alert_matrix", (), "alert_matrix", seed, "containers", START_NS, parameters)
    stages = {
        "notifications": told,
        "alert_states": states,
        "looks": [{"wall_ns": _at(second)} for second in range(_END)],
        "readings": [row for one in _FAULTS for row in _readings(*one)],
    }
    observed = tuple(Observation(name, pa.Table.from_pylist(rows)) for name, rows in stages.items())
    return History(header, tuple(operations), observed)


def _at(second: float) -> int:
    return START_NS + int(second * SECOND_NS)


def _told(second: float, status: str, alert: str, severity: str) -> dict[str, Any]:
    receiver = "pager" if severity == "critical" else "business-hours"
    return {
        "wall_ns": _at(second),
        "receiver": receiver,
        "status": status,
        "alert": alert,
        "severity": severity,
        "fingerprint": f"of {alert}",
    }


def _fault(
    fault: str, target: str, began: int, healed: int, is_injected: bool, fires: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    return {
        "variant": fault,
        "fault": fault,
        "target": target,
        "fires": [alert for alert, _ in fires],
        "is_injected": is_injected,
        "group": str(began),
        "effects": [{"kind": "shows", "probes": [target], "least": 0.6, "answers": ["gone"]}],
        "injecting_wall_ns": _at(began),
        "injected_wall_ns": _at(began + 0.5),
        "healing_wall_ns": _at(healed),
        "healed_wall_ns": _at(healed + 1),
        "kept": {},
    }


def _readings(fault: str, target: str, began: int, healed: int, *_: object) -> list[dict[str, Any]]:
    rows = []
    for second in np.arange(began - 3, healed + 5, 0.5):
        gone = began <= second < healed + 0.5
        seen = {"seconds": 0.01, "is_well": not gone, "answer": "gone" if gone else "there"}
        rows.append({"group": str(began), "probe": target, "wall_ns": _at(float(second)), **seen})
    return rows


def _rows(stage: str, keep: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Plant:
    """A stage whose rows were changed one by one; None takes one out."""

    def edit(table: pa.Table) -> pa.Table:
        rows = [changed for row in table.to_pylist() if (changed := keep(row)) is not None]
        return pa.Table.from_pylist(rows, schema=table.schema)

    return lambda history: edit_stage(history, stage, edit)


def _deaf(alert: str, stages: tuple[str, ...]) -> Plant:
    def plant(history: History) -> History:
        for stage in stages:
            history = _rows(stage, lambda row: None if row["alert"] == alert else row)(history)
        return history

    return plant


def _never_over(row: dict[str, Any]) -> dict[str, Any] | None:
    return None if (row["alert"], row["status"]) == ("PostgreSQLDown", "resolved") else row


def _consequence_stays(row: dict[str, Any]) -> dict[str, Any] | None:
    return None if (row["alert"], row["status"]) == (_CONSEQUENCE[0], "resolved") else row


def _told_by_day(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "receiver": "business-hours"} if row["alert"] == "KafkaBrokerDown" else row


def _more(stage: str, row: dict[str, Any]) -> Plant:
    def plant(history: History) -> History:
        return edit_stage(
            history, stage, lambda table: pa.concat_tables([table, pa.Table.from_pylist([row], schema=table.schema)])
        )

    return plant


def _changed(action: str, variant: str | None, **changed: object) -> Plant:
    return lambda history: edit_operations(history, action, lambda one: with_attributes(one, changed), variant)


def _always_there(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "is_well": True, "answer": "there"} if row["probe"] == "kafka-2" else row


def _still_gone(row: dict[str, Any]) -> dict[str, Any]:
    gone = row["probe"] == "postgres" and row["wall_ns"] >= _at(200)
    return {**row, "is_well": False, "answer": "gone"} if gone else row


def _shorter_control(history: History) -> History:
    return edit_operations(
        history,
        "control",
        lambda one: replace(one, completed_monotonic_ns=one.invoked_monotonic_ns + 60 * SECOND_NS),
    )


_IN_CONTROL = {"wall_ns": _at(50), "alert": "NoDataIngested", "state": "firing"}
_BEFORE = {"wall_ns": _at(179), "alert": "DiskSpaceLow", "state": "firing"}

SUITE = Suite(
    "alert_matrix",
    clean_matrix,
    (
        Defect("alert_made_deaf", "not_fired", _deaf("KafkaBrokerDown", ("notifications", "alert_states"))),
        Defect("softer_alert_made_deaf", "not_fired", _deaf("ConsumerLagGrowing", ("notifications", "alert_states"))),
        Defect("route_lost", "not_told", _deaf("PostgreSQLDown", ("notifications",))),
        Defect("alert_that_stays", "not_resolved", _rows("notifications", _never_over)),
        Defect("consequence_that_stays", "not_resolved", _rows("notifications", _consequence_stays)),
        Defect("critical_told_by_day", "told_elsewhere", _rows("notifications", _told_by_day)),
        Defect("noise_without_fault", "fired_in_control", _more("alert_states", _IN_CONTROL)),
        Defect(
            "told_without_fault",
            "fired_in_control",
            _more("notifications", _told(60, "resolved", "ThroughputLow", "medium")),
        ),
        Defect("fault_without_effect", "fault_did_not_bite", _rows("readings", _always_there), Outcome.UNKNOWN),
        Defect("fault_that_stays", "fault_not_healed", _rows("readings", _still_gone), Outcome.UNKNOWN),
        Defect("nobody_looked_at_the_fault", "fault_did_not_bite", _changed("fault", "kill", effects=[]),
               Outcome.UNKNOWN),
        Defect("fired_before_the_fault", "fired_already", _more("alert_states", _BEFORE), Outcome.UNKNOWN),
        Defect("alert_nobody_exercised", "never_exercised", lambda history: with_parameters(
            history, named=[*_NAMED, "HighMemoryUsage"]), Outcome.UNKNOWN),
        Defect("real_faults_pretended", "too_few_real", _changed("fault", "down", is_injected=True), Outcome.UNKNOWN),
        Defect("injection_not_deleted", "injection_left", _changed("injection", None, is_deleted=False),
               Outcome.UNKNOWN),
        Defect("control_cut_short", "control_too_short", _shorter_control, Outcome.UNKNOWN),
        Defect("no_control", "control_too_short", lambda history: edit_operations(
            history, "control", lambda _: None), Outcome.UNKNOWN),
        Defect("not_looked_at_for_a_while", "not_watched", _rows(
            "looks", lambda row: None if _at(30) <= row["wall_ns"] < _at(40) else row), Outcome.UNKNOWN),
        Defect("webhook_not_followed", "missing_stage", lambda history: without_stage(history, "notifications"),
               Outcome.UNKNOWN),
    ),
)  # fmt: skip

"""What the chaos checker must catch: losses, standstills, slow recoveries, and faults that did not bite."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import History, Observation, Operation, OperationOutcome
from conformance.planted.journey import SECOND_NS, clean_journey, operation
from conformance.planted.records import START_NS, TRADES
from conformance.planted.suite import (
    Defect,
    Suite,
    add_row,
    drop_rows,
    edit_operations,
    edit_stage,
    with_attributes,
    with_parameters,
    without_stage,
)

_ROW = 21
_SLOW, _STATE, _COUNT, _CUT, _WIDE, _REFUSED = (
    "broker fresh", "server state", "answers cut off", "store kept", "catalog kept", "registry fresh",
)  # fmt: skip
_FIRST, _SECOND = (10, 14), (20, 23)
"""Seconds between which the two faults of the clean history last."""
_END = 30


def clean_chaos(seed: int) -> History:
    """Two faults: one slows, spreads and cuts what probes see, one ends a server; all goes on but for the second."""
    history = clean_journey(
        seed,
        checker="chaos",
        stages=("fed", "stored", "dead_letters", "snapshots"),
        goes_on=["produce"],
        stops=["register"],
        expected_faults=2,
        recovers_within_seconds=5.0,
        restarts=0,
        answers_within_seconds=2.0,
    )
    random = np.random.default_rng(seed)
    observations = [one for one in history.observations if one.stage != "snapshots"]
    observations += [Observation(name, table) for name, table in _stages(random).items()]
    return replace(history, operations=(*history.operations, *_operations()), observations=tuple(observations))


def _stages(random: np.random.Generator) -> dict[str, pa.Table]:
    tenths = np.arange(0, _END * 10)
    seconds = np.arange(1, _END)
    return {
        "acknowledgements": pa.table({"wall_ns": START_NS + tenths * SECOND_NS // 10, "records": np.full(300, 30)}),
        "snapshots": pa.Table.from_pylist(
            [
                {
                    "snapshot_id": int(second),
                    "sequence_number": int(second),
                    "parent_id": int(second) - 1 or None,
                    "committed_wall_ns": START_NS + int(second) * SECOND_NS,
                    "progress": [{"topic": "t", "partition": 0, "next_offset": int(second) * 300}],
                }
                for second in seconds
            ]
        ),
        "readings": _readings(random),
        "calls": pa.Table.from_pylist(
            [
                {
                    "caller": "register",
                    "wall_ns": START_NS + int(second * SECOND_NS),
                    "seconds": 0.1,
                    "is_well": not _during(second),
                    "outcome": "UnavailableError" if _during(second) else "id 3",
                }
                for second in np.arange(0.5, _END, 0.5)
            ]
        ),
    }


def _readings(random: np.random.Generator) -> pa.Table:
    rows = []
    for second in np.arange(0.0, _END, 0.2):
        first, second_one = _FIRST[0] <= second < _FIRST[1], _SECOND[0] <= second < _SECOND[1]
        noise = float(random.uniform(0.0, 0.01))
        seen = {
            _SLOW: (0.02 + noise + 0.2 * first, True, "answered"),
            _WIDE: (0.02 + noise + float(random.uniform(0.0, 0.8)) * first, True, "answered"),
            _CUT: (0.02, not (first and second % 1.0 < 0.2), "answered"),
            _REFUSED: (0.001, not second_one, "refused" if second_one else "answered"),
            _STATE: (0.01, not second_one, "ended" if second_one else "running"),
            _COUNT: (0.001, True, str(int(min(max(second - _SECOND[0], 0), 3)))),
        }
        rows += [
            {
                "probe": probe,
                "wall_ns": START_NS + int(second * SECOND_NS),
                "seconds": taken,
                "is_well": well,
                "answer": a,
            }
            for probe, (taken, well, a) in seen.items()
        ]
    return pa.Table.from_pylist(rows)


def _during(second: float) -> bool:
    return any(began <= second < ended for began, ended in (_FIRST, _SECOND))


def _operations() -> list[Operation]:
    effects: tuple[list[dict[str, Any]], ...] = (
        [_effect("slower", _SLOW, 0.1), _effect("spread", _WIDE, 0.2), _effect("cut", _CUT, 1)],
        [_effect("fails", _REFUSED, 0.6), _effect("shows", _STATE, 0.6, "ended"), _effect("counts", _COUNT, 2)],
    )
    faults = [
        operation(
            "harness",
            "fault",
            START_NS + ended * SECOND_NS,
            {
                "fault": name,
                "target": "somewhere",
                "effects": effects[index],
                "injecting_wall_ns": START_NS + began * SECOND_NS - 1,
                "injected_wall_ns": START_NS + began * SECOND_NS,
                "healing_wall_ns": START_NS + ended * SECOND_NS,
                "healed_wall_ns": START_NS + ended * SECOND_NS + 1,
                "acknowledged_before_healing": ended * 300,
            },
        )
        for index, (name, (began, ended)) in enumerate((("first", _FIRST), ("second", _SECOND)))
    ]
    measured = operation("harness", "phase", START_NS + 5 * SECOND_NS, {"phase": "measure"})
    measured = replace(measured, completed_monotonic_ns=measured.invoked_monotonic_ns + 5 * SECOND_NS)
    ended_well = operation("harness", "consumer", START_NS + _END * SECOND_NS, {"restarts": 0, "exit_status": 0})
    return [measured, *faults, ended_well]


def _effect(kind: str, probe: str, least: float, *answers: str) -> dict[str, Any]:
    return {"kind": kind, "probes": [probe], "least": least, "answers": list(answers)}


def _spared(probe: str, **as_before: object) -> Callable[[History], History]:
    """A probe that sees nothing of a fault."""

    def edit(table: pa.Table) -> pa.Table:
        rows = [{**row, **as_before} if row["probe"] == probe else row for row in table.to_pylist()]
        return pa.Table.from_pylist(rows, schema=table.schema)

    return lambda history: edit_stage(history, "readings", edit)


def _silenced(stage: str, time: str, began: int, ended: int) -> Callable[[History], History]:
    """Nothing at a stage between two seconds."""

    def edit(table: pa.Table) -> pa.Table:
        at = (table[time].to_numpy() - START_NS) / SECOND_NS
        return table.filter(pa.array((at < began) | (at >= ended)))

    return lambda history: edit_stage(history, stage, edit)


def _changed(action: str, **attributes: object) -> Callable[[History], History]:
    return lambda history: edit_operations(history, action, lambda one: with_attributes(one, attributes))


def _never_drained(history: History) -> History:
    return edit_operations(history, "drain", lambda one: replace(one, outcome=OperationOutcome.FAIL))


def _fault_left_out(history: History) -> History:
    return edit_operations(history, "fault", lambda one: one if one.attributes["fault"] == "first" else None)


def _fault_without_probe(history: History) -> History:
    return edit_operations(history, "fault", lambda one: with_attributes(one, {"effects": []}))


def _never_healed(table: pa.Table) -> pa.Table:
    rows = [
        {**row, "is_well": False} if row["wall_ns"] >= START_NS + _SECOND[0] * SECOND_NS else row
        for row in table.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=table.schema)


def _ill_for_ever(table: pa.Table) -> pa.Table:
    rows = [
        {**row, "is_well": row["is_well"] and row["wall_ns"] < START_NS + 9 * SECOND_NS} for row in table.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=table.schema)


def _slow_call(table: pa.Table) -> pa.Table:
    rows = table.to_pylist()
    rows[25]["seconds"] = 20.0
    return pa.Table.from_pylist(rows, schema=table.schema)


def _slow_anyway(history: History) -> History:
    """Nothing was acknowledged while the fault lasted, nor for most of the time before it."""
    return _silenced("acknowledgements", "wall_ns", 6, _FIRST[1])(history)


def _never_bites(name: str, plant: Callable[[History], History]) -> Defect:
    return Defect(name, "fault_did_not_bite", plant, Outcome.UNKNOWN)


SUITE = Suite(
    "chaos",
    clean_chaos,
    (
        Defect("row_lost", "lost", lambda one: edit_stage(one, "stored", lambda t: drop_rows(t, [_ROW]), TRADES)),
        Defect("row_twice", "duplicated", lambda one: edit_stage(one, "stored", lambda t: add_row(t, _ROW), TRADES)),
        Defect("production_stood_still", "stood_still", _silenced("acknowledgements", "wall_ns", *_FIRST)),
        Defect("production_pauses_anyway", "too_short", _slow_anyway, Outcome.UNKNOWN),
        Defect("production_never_returned", "not_recovered", _silenced("acknowledgements", "wall_ns", 23, _END)),
        Defect("table_never_returned", "not_recovered", _silenced("snapshots", "committed_wall_ns", 20, _END)),
        Defect("table_returned_late", "recovered_late", _silenced("snapshots", "committed_wall_ns", 20, _END - 1)),
        Defect("caller_never_returned", "not_recovered", lambda one: edit_stage(one, "calls", _ill_for_ever)),
        Defect("caller_kept_waiting", "kept_waiting", lambda one: edit_stage(one, "calls", _slow_call)),
        Defect("never_drained", "not_drained", _never_drained),
        Defect("consumer_gave_up", "restarted", _changed("consumer", restarts=1)),
        Defect("consumer_ended_with_an_error", "ended_badly", _changed("consumer", exit_status=3)),
        _never_bites("nothing_was_slower", _spared(_SLOW, seconds=0.02)),
        _never_bites("nothing_was_spread", _spared(_WIDE, seconds=0.02)),
        _never_bites("nothing_was_cut", _spared(_CUT, is_well=True)),
        _never_bites("nothing_failed", _spared(_REFUSED, is_well=True)),
        _never_bites("server_never_ended", _spared(_STATE, answer="running")),
        _never_bites("server_ended_from_the_start", _spared(_STATE, answer="ended")),
        _never_bites("nothing_was_counted", _spared(_COUNT, answer="0")),
        _never_bites("nobody_looked_meanwhile", _silenced("readings", "wall_ns", 10, 23)),
        _never_bites("nobody_looked_before", _silenced("readings", "wall_ns", 0, 10)),
        _never_bites("no_probe_at_all", _fault_without_probe),
        _never_bites("what_had_to_stop_went_on", lambda one: with_parameters(one, stops=["commit"])),
        Defect("fault_left_out", "fault_did_not_come", _fault_left_out, Outcome.UNKNOWN),
        Defect(
            "fault_never_healed",
            "fault_not_healed",
            lambda one: edit_stage(one, "readings", _never_healed),
            Outcome.UNKNOWN,
        ),
        Defect("readings_not_kept", "missing_stage", lambda one: without_stage(one, "readings"), Outcome.UNKNOWN),
        Defect(
            "nobody_says_how_it_ended",
            "consumer_unknown",
            lambda one: edit_operations(one, "consumer", lambda _: None),
            Outcome.UNKNOWN,
        ),
    ),
)

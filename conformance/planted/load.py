"""What the checker of load must catch."""

from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation
from conformance.planted.journey import SECOND_NS
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, edit_stage, with_parameters, without_stage

_PHASES: list[dict[str, Any]] = [
    {"name": "calm", "seconds": 20.0, "requests_per_second": 20.0},
    {"name": "spike", "seconds": 10.0, "requests_per_second": 60.0},
    {"name": "one", "seconds": 10.0, "requests_per_second": 0.0},
    {"name": "two", "seconds": 10.0, "requests_per_second": 0.0},
]
_THRESHOLDS: list[dict[str, Any]] = [
    {"measure": "p99_ms", "phases": ["calm"], "users": "PointQuery", "at_most": 60.0, "minimum_samples": 100},
    {
        "measure": "unexpected_share",
        "phases": ["calm", "spike"],
        "users": "all",
        "at_most": 0.0,
        "minimum_samples": 500,
    },
    {"measure": "answers_per_second", "phases": ["spike"], "users": "all", "at_least": 45.0, "minimum_samples": 300},
    {
        "measure": "ratio_of_rates",
        "phases": ["two"],
        "compared_with": ["one"],
        "users": "all",
        "at_least": 1.1,
        "at_most": 2.0,
        "minimum_samples": 100,
    },
]
_CLOSED_RATE = {"one": 40, "two": 60}


def clean_load(seed: int) -> History:
    """Two phases with a rate and two without, answered well, and gauges looked at four times a second."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    started_ns = START_NS
    for phase in _PHASES:
        length_ns = int(phase["seconds"] * SECOND_NS)
        count = int(phase["seconds"] * (phase["requests_per_second"] or _CLOSED_RATE[phase["name"]]))
        for due in np.sort(random.integers(started_ns, started_ns + length_ns, count)):
            sent = int(due) + int(random.integers(0, 2_000_000))
            rows.append(
                {
                    "phase": phase["name"],
                    "user": str(random.choice(["PointQuery", "PointQuery", "WideQuery"])),
                    "due_ns": int(due),
                    "free_ns": int(due) - 5_000_000,
                    "sent_ns": sent,
                    "done_ns": sent + int(random.integers(4_000_000, 30_000_000)),
                    "status": 200,
                    "is_expected": True,
                    "code": "",
                    "rows": int(random.integers(1, 100)),
                }
            )
        started_ns += length_ns
    looks = np.arange(START_NS, started_ns, SECOND_NS // 4)
    gauges = pa.table(
        {"wall_ns": looks, "name": ["k2_connection_pool_active_connections"] * len(looks), "value": [1.0] * len(looks)}
    )
    header = Header(
        "planted/load",
        (),
        "load",
        seed,
        "embedded",
        START_NS,
        {"minimum_samples": 1_000, "phases": _PHASES, "thresholds": _THRESHOLDS},
    )
    return History(header, (), (Observation("requests", pa.Table.from_pylist(rows)), Observation("gauges", gauges)))


def _changed(phase: str, every: int, user: str | None = None, **values: Any) -> Plant:
    """Every so manieth request of a phase (and user) with other values; one that is callable gets the row."""

    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        chosen = [row for row in rows if row["phase"] == phase and user in (None, row["user"])]
        for row in chosen[::every]:
            row.update({name: value(row) if callable(value) else value for name, value in values.items()})
        return pa.Table.from_pylist(rows, schema=table.schema)

    return lambda history: edit_stage(history, "requests", change)


def _kept(phase: str, every: int) -> Plant:
    """Only every so manieth request of a phase."""

    def keep(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        chosen = [number for number, row in enumerate(rows) if row["phase"] == phase]
        gone = set(chosen) - set(chosen[::every])
        return pa.Table.from_pylist([r for n, r in enumerate(rows) if n not in gone], schema=table.schema)

    return lambda history: edit_stage(history, "requests", keep)


def _stalled(history: History) -> History:
    """A second in which nothing was answered; every request due in it was sent and answered after it."""
    began, ended = START_NS + 5 * SECOND_NS, START_NS + 6 * SECOND_NS

    def stall(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        for row in rows:
            if began <= row["due_ns"] < ended:
                row.update({"free_ns": ended, "sent_ns": ended, "done_ns": ended + 10_000_000})
        return pa.Table.from_pylist(rows, schema=table.schema)

    return edit_stage(history, "requests", stall)


def _impossible(history: History) -> History:
    thresholds = [{**one, "at_most": 0.001} if one["measure"] == "p99_ms" else one for one in _THRESHOLDS]
    return with_parameters(history, thresholds=thresholds)


SUITE = Suite(
    "load",
    clean_load,
    (
        Defect(
            "slow_at_the_99th_percentile",
            "broken",
            _changed("calm", 20, "PointQuery", done_ns=lambda r: r["due_ns"] + 10**8),
        ),
        Defect("a_stall_that_delays_what_is_due", "broken", _stalled),
        Defect("one_answer_of_another_kind", "broken", _changed("spike", 1_000, status=500, is_expected=False)),
        Defect("answers_lost_in_a_spike", "broken", _changed("spike", 2, status=503)),
        Defect("more_connections_bring_nothing", "broken", _kept("two", 2)),
        Defect("a_threshold_nothing_can_meet", "broken", _impossible),
        Defect("too_few_for_a_percentile", "too_few_samples", _kept("one", 10), Outcome.UNKNOWN),
        Defect("less_load_than_planned", "not_offered", _kept("calm", 2), Outcome.UNKNOWN),
        Defect(
            "a_generator_that_is_late",
            "generator_late",
            _changed(
                "spike", 2, sent_ns=lambda r: r["due_ns"] + 70_000_000, done_ns=lambda r: r["due_ns"] + 80_000_000
            ),
            Outcome.UNKNOWN,
        ),
        Defect("gauges_not_looked_at", "not_watched", lambda one: without_stage(one, "gauges"), Outcome.UNKNOWN),
        Defect("no_data_to_ask_for", "nothing_found", lambda one: _without_rows(one), Outcome.UNKNOWN),
    ),
)


def _without_rows(history: History) -> History:
    for phase in _PHASES:
        history = _changed(phase["name"], 1, "WideQuery", rows=0)(history)
    return history

"""What the checker of the sequence ruling must catch.

The clean histories are written with their rulings, by hand of the generator: it knows what it planted.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation
from conformance.planted.records import START_NS
from conformance.planted.suite import Defect, Plant, Suite, TableEdit, drop_rows, edit_stage, set_values, without_stage

_KEYS = (("BINANCE", "BTCUSDT"), ("BINANCE", "ETHUSDT"), ("ASX", "BHP"))
_FIRST = 5_000


@dataclass(slots=True)
class _Plan:
    """The numbers of one key with their rulings, and what is open at the end."""

    rulings: list[tuple[int, str]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def add(self, event: str, *numbers: int) -> None:
        self.rulings.extend((number, event) for number in numbers)


def clean_sequence(seed: int) -> History:
    """Three keys, interleaved: gaps filled from both ends and split, repeats near and far, a reset, a gap left open."""
    random = np.random.default_rng(seed)
    plans = {key: _plan(int(random.integers(2, 9)), with_reset=key == _KEYS[0]) for key in _KEYS}
    arrivals = [key for key, plan in plans.items() for _ in plan.rulings]
    order = [arrivals[index] for index in random.permutation(len(arrivals))]
    following = {key: iter(plan.rulings) for key, plan in plans.items()}
    verdicts = [(*key, *next(following[key])) for key in order]
    planned = [(*key, *ruling) for key, plan in plans.items() for ruling in plan.rulings]
    gaps = [(*key, *gap) for key, plan in plans.items() for gap in plan.gaps]
    rulings = ("exchange", "symbol", "number", "event")
    ranges = ("exchange", "symbol", "first_missing", "last_missing")
    statistics = [{"exchange": key[0], "symbol": key[1], **_statistics(plan)} for key, plan in plans.items()]
    return History(
        Header("planted/sequence", (), "sequence", seed, "embedded", START_NS),
        observations=(
            Observation("verdicts", _table(verdicts, rulings)),
            Observation("gaps", _table(gaps, ranges)),
            Observation("statistics", pa.Table.from_pylist(statistics)),
            Observation("truth", _table(planned, rulings)),
            Observation("truth_gaps", _table(gaps, ranges)),
        ),
    )


def _plan(width: int, with_reset: bool) -> _Plan:
    """`width` + 4 numbers are left out, and come late one by one, save one at each end."""
    plan = _Plan()
    plan.add("IN_ORDER", *range(_FIRST, _FIRST + 200))
    last = _FIRST + 199
    if with_reset:
        plan.add("GAP", last + 3)
        plan.add("SESSION_RESET", 4)
        plan.add("IN_ORDER", *range(5, 300))
        last = 299
    high = last + width + 5
    plan.add("GAP", high)
    middle = last + 3
    plan.add("OUT_OF_ORDER", middle, *range(middle + 1, high - 1))
    plan.add("DUPLICATE", middle, high, high - 127)
    plan.add("TOO_OLD", high - 128, 20)
    plan.add("IN_ORDER", high + 1)
    plan.gaps = [(last + 1, last + 2), (high - 1, high - 1)]
    return plan


def _statistics(plan: _Plan) -> dict[str, int]:
    events = [event for _, event in plan.rulings]
    return {
        "total_messages": len(events),
        "in_order": events.count("IN_ORDER"),
        "gaps": events.count("GAP"),
        "out_of_order": events.count("OUT_OF_ORDER"),
        "duplicates": events.count("DUPLICATE"),
        "session_resets": events.count("SESSION_RESET"),
        "too_old": events.count("TOO_OLD"),
        "lost_in_evicted_ranges": 0,
    }


def _table(rows: list[tuple[Any, ...]], names: tuple[str, ...]) -> pa.Table:
    return pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))


def _flip(found: str, put: str) -> Plant:
    def edit(table: pa.Table) -> pa.Table:
        return set_values(table, table["event"].to_pylist().index(found), event=put)

    return lambda history: edit_stage(history, "verdicts", edit)


def _shorter_gap(table: pa.Table) -> pa.Table:
    return set_values(table, 0, last_missing=table["last_missing"][0].as_py() - 1)


def _rulings_left_out(history: History) -> History:
    """The tracker never saw the last number of the first key; gaps stay the same."""
    last = next(
        row
        for row in reversed(range(history.of_stage("verdicts")[0].table.num_rows))
        if history.rows("verdicts")[row]["symbol"] == "BTCUSDT"
    )
    return edit_stage(history, "verdicts", lambda table: drop_rows(table, [last]))


def _in(stage: str, name: str, kind: str, edit: TableEdit) -> Defect:
    return Defect(name, kind, lambda history: edit_stage(history, stage, edit))


SUITE = Suite(
    "sequence",
    clean_sequence,
    (
        Defect("duplicate_called_too_old", "wrong_event", _flip("DUPLICATE", "TOO_OLD")),
        Defect("late_number_called_duplicate", "wrong_event", _flip("OUT_OF_ORDER", "DUPLICATE")),
        Defect("reset_called_too_old", "wrong_event", _flip("SESSION_RESET", "TOO_OLD")),
        Defect("gap_called_in_order", "wrong_event", _flip("GAP", "IN_ORDER")),
        _in("gaps", "gap_missing", "wrong_gaps", lambda table: drop_rows(table, [1])),
        _in("gaps", "gap_one_too_short", "wrong_gaps", _shorter_gap),
        _in("statistics", "counter_off_by_one", "wrong_statistics", lambda table: _one_more(table, "duplicates")),
        _in("statistics", "reset_forgot_the_counts", "wrong_statistics", lambda table: _one_more(table, "gaps", -1)),
        Defect("number_never_ruled_on", "differs_from_truth", _rulings_left_out),
        _in("truth", "planned_otherwise", "differs_from_truth", lambda table: set_values(table, 3, event="GAP")),
        _in("truth_gaps", "gap_planned_and_not_found", "differs_from_truth", _shorter_gap),
        Defect("verdicts_not_observed", "missing_stage", lambda one: without_stage(one, "verdicts"), Outcome.UNKNOWN),
    ),
)


def _one_more(table: pa.Table, name: str, amount: int = 1) -> pa.Table:
    return set_values(table, 0, **{name: table[name][0].as_py() + amount})

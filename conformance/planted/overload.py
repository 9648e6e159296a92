"""What the checker of overloads must catch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation, Operation
from conformance.planted.journey import SECOND_NS, operation
from conformance.planted.records import START_NS
from conformance.planted.suite import (
    Defect,
    Plant,
    Suite,
    drop_rows,
    edit_operations,
    edit_stage,
    with_attributes,
)

_MIB = 1 << 20
_BEGAN, _LASTED, _WATCHED = 10, 60, 140
_RATE, _TAKEN_RATE = 3_000, 700
_LAST = _WATCHED - 1
_REASONS = {"queue_full": 40, "_MSG_TIMED_OUT": 7}


def clean_overload(seed: int) -> History:
    """An overload of a minute, a level that rises and falls, some records shed, all of it in the books."""
    random = np.random.default_rng(seed)
    given, shed = _RATE * _LASTED, sum(_REASONS.values())
    nominal_again = _BEGAN + _LASTED + int(random.integers(2, 25))
    sampled = [
        operation("harness", "sample", _at(second), {"variant": second, **_seen(second, nominal_again)})
        for second in range(_WATCHED)
    ]
    overload = {"rate": _RATE, "given": given, "taken": _TAKEN_RATE * _LASTED, "seconds": float(_LASTED)}
    memory = [
        {
            "variant": name,
            "process": name,
            "before_bytes": 150 * _MIB,
            "peak_bytes": int(random.integers(150, 250)) * _MIB,
        }
        for name in ("consumer", "producer")
    ]
    books = {
        "given": given + 500,
        "acknowledged": given + 500 - shed,
        "errors_by_reason": dict(_REASONS),
        "errors_by_metric": {reason: float(count) for reason, count in _REASONS.items()},
    }
    operations = (
        *sampled,
        replace(
            operation("harness", "overload", _at(_BEGAN), overload),
            completed_monotonic_ns=(_BEGAN + _LASTED) * SECOND_NS,
        ),
        *(operation("harness", "memory", _at(_WATCHED), one) for one in memory),
        operation("producer", "books", _at(_WATCHED), books),
    )
    listed = pa.table({"reason": [reason for reason, count in _REASONS.items() for _ in range(count)]})
    parameters = {
        "memory_limit_bytes": 128 * _MIB,
        "nominal_within_seconds": 30,
        "shortest_seconds": 50,
        "sheds": True,
        "level_rises": True,
    }
    header = Header("planted/overload", (), "overload", seed, "embedded", START_NS, parameters)
    return History(header, operations, (Observation("shed", listed, "trades"),))


def _at(second: int) -> int:
    return START_NS + second * SECOND_NS


def _seen(second: int, nominal_again: int) -> dict[str, Any]:
    troubled = _BEGAN + 10 <= second < nominal_again
    lag = max(0, (second - _BEGAN) * (_RATE - _TAKEN_RATE)) if troubled else 0
    return {"level": "DEGRADED" if troubled else "NOMINAL", "taken": second * _TAKEN_RATE, "lag": lag}


def _changed(action: str, variant: Any = None, **attributes: object) -> Plant:
    return lambda history: edit_operations(history, action, lambda one: with_attributes(one, attributes), variant)


def _without(action: str) -> Plant:
    return lambda history: edit_operations(history, action, lambda _: None)


def _always_nominal(history: History) -> History:
    return edit_operations(history, "sample", lambda one: with_attributes(one, {"level": "NOMINAL"}))


def _unlisted(history: History) -> History:
    return edit_stage(history, "shed", lambda table: drop_rows(table, [0]))


def _nameless(history: History) -> History:
    return edit_stage(
        history, "shed", lambda table: pa.concat_tables([drop_rows(table, [0]), pa.table({"reason": [""]})])
    )


def _uncounted(history: History) -> History:
    """The metric missed what timed out."""
    return edit_operations(
        history, "books", lambda one: with_attributes(one, {"errors_by_metric": {"queue_full": 40.0}})
    )


def _nothing_shed(history: History) -> History:
    def balanced(one: Operation) -> Operation:
        given = one.attributes["given"]
        return with_attributes(one, {"acknowledged": given, "errors_by_reason": {}, "errors_by_metric": {}})

    emptied = edit_stage(history, "shed", lambda table: table.slice(0, 0))
    return edit_operations(emptied, "books", balanced)


def _watched_too_short(history: History) -> History:
    return edit_operations(history, "sample", lambda one: one if one.wall_ns < _at(_BEGAN + _LASTED + 20) else None)


SUITE = Suite(
    "overload",
    clean_overload,
    (
        Defect("consumer_grew", "memory_unbounded", _changed("memory", "consumer", peak_bytes=400 * _MIB)),
        Defect("producer_grew", "memory_unbounded", _changed("memory", "producer", peak_bytes=300 * _MIB)),
        Defect("shed_record_not_listed", "shed_not_counted", _unlisted),
        Defect("shed_reason_not_exported", "shed_not_counted", _uncounted),
        Defect("shed_without_a_reason", "shed_without_reason", _nameless),
        Defect("nothing_shed", "nothing_shed", _nothing_shed),
        Defect("record_in_no_book", "books_do_not_balance", _changed("books", given=_RATE * _LASTED + 501)),
        Defect("level_stayed_nominal", "level_did_not_rise", _always_nominal),
        Defect("level_stayed_up", "not_nominal_again", _changed("sample", _LAST, level="DEGRADED")),
        Defect("feed_too_slow", "no_overload", _changed("overload", given=100_000), Outcome.UNKNOWN),
        Defect("sink_kept_up", "no_overload", _changed("overload", taken=100_000), Outcome.UNKNOWN),
        Defect("sink_stood_still", "no_overload", _changed("overload", taken=0), Outcome.UNKNOWN),
        Defect("over_too_soon", "no_overload", _changed("overload", seconds=20.0), Outcome.UNKNOWN),
        Defect("memory_not_measured", "missing_operation", _without("memory"), Outcome.UNKNOWN),
        Defect("no_books", "missing_operation", _without("books"), Outcome.UNKNOWN),
        Defect("watched_too_short", "not_watched", _watched_too_short, Outcome.UNKNOWN),
    ),
)

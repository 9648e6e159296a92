"""What the checker of planted faults must catch. The clean history is that of a platform that reports all of them."""

from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation, Operation, OperationOutcome
from conformance.planted.records import START_NS
from conformance.planted.suite import (
    Defect,
    Plant,
    Suite,
    TableEdit,
    add_row,
    drop_rows,
    edit_operations,
    edit_stage,
    set_values,
    with_attributes,
    with_parameters,
    without_stage,
)

_CROSSED_BIT = 2
_KINDS = ["gap", "duplicate", "reordering", "reset", "bad_record", "negative_price", "crossed_quote"]
_PARAMETERS = {
    "reject_classes": {"negative_price/trades": "price_not_positive"},
    "flags": {"crossed_quote": _CROSSED_BIT},
    "required_kinds": _KINDS,
}
_TRADES = {"data_type": "trades", "exchange": "BINANCE", "symbol": "BTCUSDT", "session": "s"}
_QUOTES = {"data_type": "quotes", "exchange": "ASX", "symbol": "BHP", "session": "s"}
_NAMES = (
    "kind", "data_type", "exchange", "symbol", "session", "session_sequence", "overtaken_at", "first_missing",
    "last_missing", "numbering", "defect",
)  # fmt: skip
_RESET_AT, _DUPLICATE_AT, _GAP_AT, _LATE_AT, _BAD_AT, _CROSSED_AT = 20, 25, 30, 36, 40, 7


def clean_faults(seed: int) -> History:
    """One key of numbered trades with every fault, one of quotes without numbers and with a crossed one."""
    random = np.random.default_rng(seed)
    width = int(random.integers(1, 9))
    records = 60 + int(random.integers(0, 30))
    planted = [
        _fault("gap", _TRADES, 10, first_missing=10, last_missing=9 + width, numbering=1),
        _fault("reset", _TRADES, _RESET_AT, numbering=2),
        _fault("duplicate", _TRADES, _DUPLICATE_AT, numbering=2),
        _fault("gap", _TRADES, _GAP_AT, first_missing=10, last_missing=10 + width, numbering=2),
        _fault("reordering", _TRADES, _LATE_AT, overtaken_at=33, numbering=2),
        _fault("bad_record", _TRADES, _BAD_AT, defect="negative_price"),
        _fault("bad_record", _QUOTES, _CROSSED_AT, defect="crossed_quote"),
    ]
    events = {10: "GAP", _RESET_AT: "SESSION_RESET", _GAP_AT: "GAP", 33: "GAP", _LATE_AT: "OUT_OF_ORDER"}
    trades = [_row(_TRADES, number, events.get(number, "IN_ORDER")) for number in range(1, records + 1)]
    trades = [row for row in trades if row["session_sequence"] not in (_DUPLICATE_AT, _BAD_AT)]
    quotes = [_row(_QUOTES, number, None, _CROSSED_BIT * (number == _CROSSED_AT)) for number in range(1, 21)]
    keys = [{**_TRADES, "records": records, "is_numbered": True}, {**_QUOTES, "records": 20, "is_numbered": False}]
    place = {name: value for name, value in _TRADES.items() if name != "session"}
    gaps = [{**place, "first_missing": 10, "last_missing": 10 + width}]
    letters = [{**_TRADES, "session_sequence": _BAD_AT, "error_class": "price_not_positive"}]
    counters = [
        {"data_type": "trades", "duplicates": 1.0, "gaps": 3.0},
        {"data_type": "quotes", "duplicates": 0.0, "gaps": 0.0},
    ]
    return History(
        Header("planted/planted_faults", (), "planted_faults", seed, "embedded", START_NS, _PARAMETERS),
        operations=(Operation("harness", "truth_read", OperationOutcome.OK, 0, 1, START_NS, {"complete": True}),),
        observations=(
            Observation("keys", pa.Table.from_pylist(keys)),
            Observation("planted", _table(planted)),
            Observation("stored", _stored(trades), "trades"),
            Observation("stored", _stored(quotes), "quotes"),
            Observation("gaps", pa.Table.from_pylist(gaps)),
            Observation("dead_letters", pa.Table.from_pylist(letters)),
            Observation("counters", pa.Table.from_pylist(counters)),
        ),
    )


def _fault(kind: str, key: dict[str, str], number: int, **more: Any) -> dict[str, Any]:
    return {"kind": kind, **key, "session_sequence": number, **more}


def _row(key: dict[str, str], number: int, event: str | None, flags: int = 0) -> dict[str, Any]:
    place = {name: value for name, value in key.items() if name != "data_type"}
    return {**place, "session_sequence": number, "sequence_event": event, "quality_flags": flags}


def _stored(rows: list[dict[str, Any]]) -> pa.Table:
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("exchange", "symbol", "session")),
            ("session_sequence", pa.int64()),
            ("sequence_event", pa.string()),
            ("quality_flags", pa.int32()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{name: row.get(name) for name in _NAMES} for row in rows])


def _in(stage: str, edit: TableEdit, data_type: str | None = None) -> Plant:
    return lambda history: edit_stage(history, stage, edit, data_type)


def _at(number: int, **changed: object) -> Plant:
    def edit(table: pa.Table) -> pa.Table:
        return set_values(table, table["session_sequence"].to_pylist().index(number), **changed)

    return _in("stored", edit, "trades")


def _duplicate_stored(table: pa.Table) -> pa.Table:
    return add_row(table, 0, session_sequence=_DUPLICATE_AT)


SUITE = Suite(
    "planted_faults",
    clean_faults,
    (
        Defect("row_lost", "missing_row", _in("stored", lambda table: drop_rows(table, [4]), "trades")),
        Defect("duplicate_is_a_row", "unexpected_row", _in("stored", _duplicate_stored, "trades")),
        Defect("written_twice", "repeated_row", _in("stored", lambda table: add_row(table, 3), "trades")),
        Defect("gap_called_in_order", "wrong_event", _at(_GAP_AT, sequence_event="IN_ORDER")),
        Defect("late_number_called_duplicate", "wrong_event", _at(_LATE_AT, sequence_event="DUPLICATE")),
        Defect("reset_not_noticed", "wrong_event", _at(_RESET_AT, sequence_event="TOO_OLD")),
        Defect("gap_where_none_was_planted", "wrong_event", _at(50, sequence_event="GAP")),
        Defect(
            "quote_ids_tracked",
            "wrong_event",
            _in("stored", lambda table: set_values(table, 2, sequence_event="GAP"), "quotes"),
        ),
        Defect("gap_of_before_the_reset", "wrong_gaps", _in("gaps", lambda table: add_row(table, 0, last_missing=99))),
        Defect("gap_not_reported", "wrong_gaps", _in("gaps", lambda table: set_values(table, 0, last_missing=10_000))),
        Defect(
            "rejected_for_another_reason",
            "wrong_rejects",
            _in("dead_letters", lambda table: set_values(table, 0, error_class="empty_symbol")),
        ),
        Defect(
            "good_record_rejected",
            "wrong_rejects",
            _in("dead_letters", lambda table: add_row(table, 0, session_sequence=5)),
        ),
        Defect(
            "flag_forgotten",
            "not_flagged",
            _in("stored", lambda table: set_values(table, 6, quality_flags=0), "quotes"),
        ),
        Defect(
            "counted_once_too_often", "wrong_counters", _in("counters", lambda table: set_values(table, 0, gaps=4.0))
        ),
        Defect(
            "truth_cut_off",
            "incomplete_truth",
            lambda history: edit_operations(
                history, "truth_read", lambda one: with_attributes(one, {"complete": False})
            ),
            Outcome.UNKNOWN,
        ),
        Defect(
            "kind_never_planted",
            "kind_untried",
            lambda history: with_parameters(history, required_kinds=[*_KINDS, "empty_symbol"]),
            Outcome.UNKNOWN,
        ),
        Defect("rows_not_observed", "missing_stage", lambda one: without_stage(one, "stored"), Outcome.UNKNOWN),
    ),
)

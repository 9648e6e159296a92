"""What the provenance checker must catch, stage by stage."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conformance.checkers.journey import COORDINATES
from conformance.checkers.verdict import Outcome
from conformance.history import History, Operation
from conformance.planted.journey import SECOND_NS, clean_journey
from conformance.planted.records import QUOTES, START_NS, TRADES, running_count
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
    swap_values,
    table_of,
    with_attributes,
    without_stage,
)

ROW = 33
_LAST_DIGIT = Decimal(1).scaleb(-10)


def _edited(stage: str, edit: TableEdit, data_type: str = TRADES) -> Plant:
    return lambda history: edit_stage(history, stage, edit, data_type)


def _lost_before_the_log(history: History) -> History:
    """An acknowledged record that is nowhere: the broker lost it."""
    fed = table_of(history, "fed", TRADES)
    row = next(row for row in range(fed.num_rows) if fed["outcome"][row].as_py() == "ok")
    identity = {name: fed[name][row].as_py() for name in ("session", "exchange", "symbol", "session_sequence")}
    for stage in ("logged", "stored", "answered"):
        history = edit_stage(history, stage, lambda table: drop_rows(table, _rows_where(table, **identity)), TRADES)
    return history


def _lost_after_the_reset(history: History) -> History:
    """A row lost whose source number was seen too, but before the exchange began to number anew."""
    fed = table_of(history, "fed", TRADES)
    anew = _rows_where(fed, symbol="ETHUSDT", source_sequence=7)[-1]
    other = _rows_where(fed, symbol="ETHUSDT")[0]
    number = fed["source_sequence"][anew].as_py()
    sequence = {name: fed[name][anew].as_py() for name in ("session", "session_sequence")}
    first = {name: fed[name][other].as_py() for name in ("session", "session_sequence")}
    for stage in ("fed", "logged", "stored", "answered"):
        history = edit_stage(
            history,
            stage,
            lambda table: _set_where(table, {"symbol": "ETHUSDT", **first}, source_sequence=number),
            TRADES,
        )
    lost = {"symbol": "ETHUSDT", **sequence}
    for stage in ("stored", "answered"):
        history = edit_stage(history, stage, lambda table: drop_rows(table, _rows_where(table, **lost)), TRADES)
    return history


def _poison_forgotten(history: History) -> History:
    return edit_stage(history, "dead_letters", lambda table: drop_rows(table, [0]), QUOTES)


def _repeated_number_kept(history: History) -> History:
    """The exchange's repetition of a trade became a row."""
    logged, stored = table_of(history, "logged", TRADES), table_of(history, "stored", TRADES)
    numbers = logged.filter(pc.equal(logged["symbol"].cast(pa.string()), "BTCUSDT"))
    twice = np.flatnonzero(running_count(pc.fill_null(numbers["source_sequence"], 0).to_numpy()) == 1)
    kept = set(zip(stored["symbol"].to_pylist(), stored["kafka_offset"].to_pylist(), strict=True))
    message = next(
        numbers.slice(row, 1).to_pylist()[0]
        for row in twice.tolist()
        if ("BTCUSDT", numbers["kafka_offset"][row].as_py()) not in kept and _is_new(numbers, row)
    )
    own = set(stored.column_names) & set(message)
    times = {name: message[f"{name}_ns"] // 1_000 for name in ("event_time", "receive_time")}
    return edit_stage(
        history,
        "stored",
        lambda table: add_row(table, _rows_where(table, symbol="BTCUSDT")[-1], **{n: message[n] for n in own}, **times),
        TRADES,
    )


def _is_new(messages: pa.Table, row: int) -> bool:
    """Whether no message before this one has its session and session_sequence."""
    session, sequence = messages["session"][row].as_py(), messages["session_sequence"][row].as_py()
    return _rows_where(messages, session=session, session_sequence=sequence)[0] == row


def _partition_time_off(history: History) -> History:
    """The table and the answer agree on an event time that is not the record's."""
    history = edit_stage(history, "stored", lambda table: _later_by_a_microsecond(table, ROW), TRADES)
    return edit_stage(history, "answered", lambda table: table.drop_columns(["event_time"]), TRADES)


def _reordered_in_the_log(history: History) -> History:
    """Two neighbours of one key changed places in the log, and all that follows agrees."""
    fed = table_of(history, "fed", TRADES)
    offsets = [fed["kafka_offset"][row].as_py() for row in _sent_once(fed, "BHP")[:2]]
    exchanged = {offsets[0]: offsets[1], offsets[1]: offsets[0]}

    def exchange(table: pa.Table) -> pa.Table:
        rows = [
            row
            for row in _rows_where(table, topic="market.equities.trades", kafka_partition=0)
            if table["kafka_offset"][row].as_py() in exchanged
        ]
        values = table["kafka_offset"].to_pylist()
        for row in rows:
            values[row] = exchanged[values[row]]
        return table.set_column(table.schema.get_field_index("kafka_offset"), "kafka_offset", pa.array(values))

    for stage in ("fed", "logged", "stored", "answered"):
        history = edit_stage(history, stage, exchange, TRADES)
    return history


def _moved_to_another_partition(history: History) -> History:
    fed = table_of(history, "fed", TRADES)
    offset = fed["kafka_offset"][_sent_once(fed, "BTCUSDT")[3]].as_py()

    def move(table: pa.Table) -> pa.Table:
        (row,) = _rows_where(table, topic="market.crypto.trades", kafka_partition=0, kafka_offset=offset)
        return set_values(table, row, kafka_partition=1, kafka_offset=10_000)

    return edit_stage(history, "logged", move, TRADES)


def _sent_once(fed: pa.Table, symbol: str) -> list[int]:
    """Rows of acknowledged records of a symbol that were sent but once."""
    rows = _rows_where(fed, symbol=symbol)
    identities = [(fed["session"][row].as_py(), fed["session_sequence"][row].as_py()) for row in rows]
    return [
        row
        for row, identity in zip(rows, identities, strict=True)
        if identities.count(identity) == 1 and fed["outcome"][row].as_py() == "ok"
    ]


def _failed_but_stored(history: History) -> History:
    """A record whose only attempt failed shows up in the log and in the table."""
    fed = table_of(history, "fed", TRADES)
    acknowledged = _rows_where(fed, outcome="ok")[ROW]

    def refuse(table: pa.Table) -> pa.Table:
        return set_values(table, acknowledged, outcome="fail", topic=None, kafka_partition=None, kafka_offset=None)

    return edit_stage(history, "fed", refuse, TRADES)


def _committed_too_little(history: History) -> History:
    """The newest snapshot shows rows that its progress does not cover."""
    return edit_stage(history, "snapshots", lambda table: _move_progress(table, -1), QUOTES)


def _committed_too_much(history: History) -> History:
    return edit_stage(history, "snapshots", lambda table: _move_progress(table, 1), TRADES)


def _move_progress(table: pa.Table, by: int) -> pa.Table:
    last = table.num_rows - 1
    progress = table["progress"][last].as_py()
    progress[0]["next_offset"] += by
    return set_values(table, last, progress=progress)


def _answered_from_the_past(history: History) -> History:
    """Requests sent after the third commit are answered from the second snapshot."""
    committed = table_of(history, "snapshots", TRADES)["committed_wall_ns"][2].as_py()
    earlier = table_of(history, "snapshots", TRADES)["snapshot_id"][1].as_py()

    def delay(operation: Operation) -> Operation:
        is_early = operation.attributes.get("snapshot_id") == earlier
        return replace(operation, wall_ns=committed + SECOND_NS // 3) if is_early else operation

    return edit_operations(history, "request", delay)


def _answered_beyond_the_snapshot(history: History) -> History:
    """An answer says that it is of the second snapshot, and holds a row of a later one."""
    stored, answered = table_of(history, "stored", TRADES), table_of(history, "answered", TRADES)
    # The same question, asked after the second snapshot and after the last.
    then = set(answered["kafka_offset"].take(pa.array(_rows_where(answered, request="trades-1"))).to_pylist())
    now = set(answered["kafka_offset"].take(pa.array(_rows_where(answered, request="trades-5"))).to_pylist())
    (row,) = _rows_where(stored, symbol="ETHUSDT", kafka_offset=min(now - then))
    source = stored.slice(row, 1).to_pylist()[0]
    like = _rows_where(answered, request="trades-1")[0]
    fields = {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in source.items()
        if name in answered.column_names and name not in ("request", "snapshot_id")
    }
    return edit_stage(history, "answered", lambda table: add_row(table, like, **fields), TRADES)


def _answered_from_nowhere(history: History) -> History:
    def invent(table: pa.Table) -> pa.Table:
        for row in _rows_where(table, request="quotes-4"):
            table = set_values(table, row, snapshot_id=42)
        return table

    return edit_stage(history, "answered", invent, QUOTES)


def _answered_to_nobody(history: History) -> History:
    return edit_operations(history, "request", lambda one: None if one.attributes["request"] == "trades-2" else one)


def _nothing_asked(history: History) -> History:
    return edit_operations(history, "request", lambda _: None)


def _limit_ignored(history: History) -> History:
    return edit_operations(
        history, "request", lambda one: with_attributes(one, {"limit": 4}) if "limit" in one.attributes else one
    )


def _rows_where(table: pa.Table, **values: object) -> list[int]:
    chosen = np.ones(table.num_rows, dtype=np.bool_)
    for name, value in values.items():
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        chosen &= pc.fill_null(pc.equal(column, value), False).to_numpy()
    return np.flatnonzero(chosen).tolist()


def _set_where(table: pa.Table, where: dict[str, Any], **changed: object) -> pa.Table:
    for row in _rows_where(table, **where):
        table = set_values(table, row, **changed)
    return table


def _add_to(table: pa.Table, row: int, name: str, amount: object) -> pa.Table:
    return set_values(table, row, **{name: table[name][row].as_py() + amount})


SUITE = Suite(
    "provenance",
    clean_journey,
    (
        Defect("row_dropped_from_table", "lost", _edited("stored", lambda table: drop_rows(table, [ROW]))),
        Defect("acknowledged_and_nowhere", "lost", _lost_before_the_log),
        Defect("lost_number_seen_before_a_reset", "lost", _lost_after_the_reset),
        Defect("poison_neither_stored_nor_dead_lettered", "lost", _poison_forgotten),
        Defect("row_twice_in_table", "duplicated", _edited("stored", lambda table: add_row(table, ROW))),
        Defect(
            "coordinates_twice_in_table",
            "duplicated",
            _edited("stored", lambda table: add_row(table, ROW, session_sequence=10_000)),
        ),
        Defect("repeated_source_number_kept", "duplicated", _repeated_number_kept),
        Defect("neighbours_swapped_in_log", "reordered", _reordered_in_the_log),
        Defect("record_in_another_partition", "reordered", _moved_to_another_partition),
        Defect(
            "price_changed_in_its_last_digit",
            "mutated",
            _edited("stored", lambda table: _add_to(table, ROW, "price", _LAST_DIGIT)),
        ),
        Defect(
            "price_of_answer_changed_in_its_last_digit",
            "mutated",
            _edited("answered", lambda table: _add_to(table, ROW, "bid_quantity", "1"), QUOTES),
        ),
        Defect(
            "vendor_data_changed",
            "mutated",
            _edited("stored", lambda table: set_values(table, ROW, vendor_data=[("match", "0"), ("x", "")])),
        ),
        Defect("null_became_zero", "mutated", _edited("logged", lambda table: _null_to_zero(table), QUOTES)),
        Defect(
            "nanoseconds_truncated",
            "mutated",
            _edited("logged", lambda table: _add_to(table, ROW, "event_time_ns", -1)),
        ),
        Defect(
            "partition_time_off_by_a_microsecond",
            "mutated",
            _partition_time_off,
        ),
        Defect(
            "row_from_nowhere",
            "phantom",
            _edited("stored", lambda table: add_row(table, ROW, session_sequence=10_000, kafka_offset=10_000)),
        ),
        Defect(
            "answered_and_not_in_table",
            "phantom",
            _edited("answered", lambda table: set_values(table, ROW, session_sequence=10_000)),
        ),
        Defect("dead_letter_of_no_message", "phantom", _edited("dead_letters", lambda table: _elsewhere(table))),
        Defect("answered_from_unknown_snapshot", "phantom", _answered_from_nowhere),
        Defect("failed_but_stored", "aborted_but_visible", _failed_but_stored),
        Defect("progress_behind_rows", "aborted_but_visible", _committed_too_little),
        Defect("answer_ahead_of_its_snapshot", "aborted_but_visible", _answered_beyond_the_snapshot),
        Defect("progress_one_too_far", "progress_mismatch", _committed_too_much),
        Defect(
            "two_offsets_swapped_in_table",
            "wrong_coordinates",
            _edited("stored", lambda table: swap_values(table, ROW, ROW + 1, *COORDINATES)),
        ),
        Defect(
            "acknowledged_with_another_offset",
            "wrong_coordinates",
            _edited("fed", lambda table: _add_to(table, ROW, "kafka_offset", 1)),
        ),
        Defect(
            "schema_id_changed", "wrong_schema_id", _edited("stored", lambda table: set_values(table, ROW, schema_id=9))
        ),
        Defect("stale_answer", "stale", _answered_from_the_past),
        Defect(
            "row_missing_from_answer", "incomplete_answer", _edited("answered", lambda table: drop_rows(table, [ROW]))
        ),
        Defect("row_twice_in_answer", "incomplete_answer", _edited("answered", lambda table: add_row(table, ROW))),
        Defect(
            "row_of_another_request",
            "incomplete_answer",
            _edited("answered", lambda table: set_values(table, 0, request="trades-7")),
        ),
        Defect("limit_ignored", "incomplete_answer", _limit_ignored),
        Defect("answer_to_no_request", "request_unknown", _answered_to_nobody, Outcome.UNKNOWN),
        Defect("no_request_recorded", "nothing_answered", _nothing_asked, Outcome.UNKNOWN),
        Defect("log_not_followed", "missing_stage", lambda one: without_stage(one, "logged"), Outcome.UNKNOWN),
    ),
)


def _null_to_zero(table: pa.Table) -> pa.Table:
    is_record = pc.is_valid(table["session"])
    row = int(np.flatnonzero(pc.and_(pc.is_null(table["bid_price"]), is_record).to_numpy())[0])
    return set_values(table, row, bid_price=Decimal(0))


def _later_by_a_microsecond(table: pa.Table, row: int) -> pa.Table:
    time = table["event_time"].cast(pa.int64())[row].as_py()
    return set_values(table, row, event_time=time + 1)


def _elsewhere(table: pa.Table) -> pa.Table:
    return add_row(table, 0, kafka_offset=START_NS)

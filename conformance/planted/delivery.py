"""What the delivery checker must catch."""

from dataclasses import replace
from typing import Any

import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import History, OperationOutcome
from conformance.planted.journey import SECOND_NS, clean_journey, operation
from conformance.planted.records import QUOTES, START_NS, TRADES
from conformance.planted.suite import (
    Defect,
    Suite,
    TableEdit,
    add_row,
    drop_rows,
    edit_operations,
    edit_stage,
    with_attributes,
    without_stage,
)

_KILLS = ("WRITE", "REJECT", "COMMIT")
_ROW = 21


def clean_delivery(seed: int) -> History:
    """A consumer killed after three steps, started again each time, and drained."""
    history = clean_journey(
        seed, checker="delivery", stages=("fed", "stored", "dead_letters"), expected_kills=list(_KILLS)
    )
    operations = list(history.operations)
    for number, step in enumerate(_KILLS, start=1):
        at = START_NS + number * 10 * SECOND_NS
        operations.append(operation("harness", "kill", at, {"step": step, "exit_signal": 9}))
        operations.append(operation("harness", "restart", at + SECOND_NS, {}))
        reported: dict[str, Any] = {
            "topic": "market.crypto.trades",
            "partition": 0,
            "offset": 20 * number,
            "table_next_offset": 20 * number,
        }
        operations.append(operation("consumer", "offsets_reported", at + 2 * SECOND_NS, reported))
    return replace(history, operations=tuple(operations))


def _reported_early(history: History) -> History:
    def ahead(table_next_offset: int) -> dict[str, int]:
        return {"offset": table_next_offset + 1}

    return edit_operations(
        history, "offsets_reported", lambda one: with_attributes(one, ahead(one.attributes["table_next_offset"]))
    )


def _kill_survived(history: History) -> History:
    """The process named in a kill ended by itself, with an exit code."""
    return edit_operations(
        history,
        "kill",
        lambda one: with_attributes(one, {"exit_signal": None}) if one.attributes["step"] == "REJECT" else one,
    )


def _kill_left_out(history: History) -> History:
    return edit_operations(history, "kill", lambda one: None if one.attributes["step"] == "COMMIT" else one)


def _kill_uncertain(history: History) -> History:
    return edit_operations(history, "kill", lambda one: replace(one, outcome=OperationOutcome.UNKNOWN))


def _never_drained(history: History) -> History:
    """A record is missing, and nothing says that the table had come that far."""
    undrained = edit_operations(history, "drain", lambda _: None)
    return edit_stage(undrained, "stored", lambda table: drop_rows(table, [_ROW]), TRADES)


def _batch_lost(table: pa.Table) -> pa.Table:
    newest = table["snapshot_id"][table.num_rows - 1]
    return drop_rows(table, [row for row, one in enumerate(table["snapshot_id"]) if one == newest])


def _batch_replayed(table: pa.Table) -> pa.Table:
    newest = table["snapshot_id"][table.num_rows - 1]
    again = [row for row, one in enumerate(table["snapshot_id"]) if one == newest]
    return pa.concat_tables([table, table.take(pa.array(again))])


def _in_table(name: str, kind: str, edit: TableEdit, data_type: str = TRADES) -> Defect:
    return Defect(name, kind, lambda history: edit_stage(history, "stored", edit, data_type))


SUITE = Suite(
    "delivery",
    clean_delivery,
    (
        _in_table("row_lost", "lost", lambda table: drop_rows(table, [_ROW])),
        _in_table("last_batch_lost", "lost", _batch_lost),
        _in_table("row_twice", "duplicated", lambda table: add_row(table, _ROW)),
        _in_table("last_batch_replayed", "duplicated", _batch_replayed, QUOTES),
        Defect("offsets_reported_before_commit", "reported_before_commit", _reported_early),
        Defect("killed_process_survived", "fault_did_not_bite", _kill_survived, Outcome.UNKNOWN),
        Defect("kill_left_out", "fault_did_not_bite", _kill_left_out, Outcome.UNKNOWN),
        Defect("kill_uncertain", "fault_did_not_bite", _kill_uncertain, Outcome.UNKNOWN),
        Defect("missing_and_never_drained", "undecided", _never_drained, Outcome.UNKNOWN),
        Defect("table_not_observed", "missing_stage", lambda one: without_stage(one, "stored"), Outcome.UNKNOWN),
    ),
)

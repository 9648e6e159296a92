"""What the checker of the audit log must catch."""

from typing import Any

import numpy as np
import pyarrow as pa

from conformance.checkers.verdict import Outcome
from conformance.history import Header, History, Observation
from conformance.planted.journey import SECOND_NS
from conformance.planted.records import START_NS
from conformance.planted.suite import (
    Defect,
    Suite,
    TableEdit,
    add_row,
    drop_rows,
    edit_stage,
    set_values,
    swap_values,
    without_stage,
)

_TABLES = ("market_data.trades_v2", "market_data.quotes_v2")
_COMMITS = 6
_FAILED_AT = 3
_RECOVERED_AT = 4
_ROW = 2
_DURATION = "transaction_duration_ms"
_COUNTS = ("added_records", "added_data_files", "added_files_size_bytes", "total_records", "total_data_files")
_EMPTY: dict[str, Any] = {"snapshot_id": None, "total_records": 0, "total_data_files": 0}


def clean_audit(seed: int) -> History:
    """Two tables; one commit failed; one entry was lost in a crash and recovered after the next commit."""
    random = np.random.default_rng(seed)
    snapshots: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for table in _TABLES:
        own = _snapshots(table, random)
        snapshots.extend(own)
        told = [_entry(snapshot, own[number - 1] if number else None) for number, snapshot in enumerate(own)]
        told[_RECOVERED_AT] |= {"recovered": True, "transaction_duration_ms": None}
        told[_RECOVERED_AT], told[_RECOVERED_AT + 1] = told[_RECOVERED_AT + 1], told[_RECOVERED_AT]
        told.insert(_FAILED_AT, _failure(own[_FAILED_AT - 1]))
        entries.extend(told)
    return History(
        Header("planted/audit", (), "audit", seed, "embedded", START_NS, {"expected_failures": len(_TABLES)}),
        observations=(
            Observation("audit", pa.Table.from_pylist(entries)),
            Observation("snapshots", pa.Table.from_pylist(snapshots)),
        ),
    )


def _snapshots(table: str, random: np.random.Generator) -> list[dict[str, Any]]:
    snapshots: list[dict[str, Any]] = []
    for number in range(_COMMITS):
        # The last commit holds rejects alone: a snapshot without rows.
        added = 0 if number == _COMMITS - 1 else int(random.integers(1, 5_000))
        before: dict[str, Any] = snapshots[-1] if snapshots else _EMPTY
        snapshots.append(
            {
                "table": table,
                "snapshot_id": int(random.integers(10**17, 10**18)),
                "parent_id": before["snapshot_id"],
                "sequence_number": number + 1,
                "committed_wall_ns": START_NS + number * SECOND_NS,
                "added_records": added,
                "added_data_files": int(added > 0),
                "added_files_size_bytes": 40 * added,
                "total_records": before["total_records"] + added,
                "total_data_files": before["total_data_files"] + (added > 0),
            }
        )
    return snapshots


def _entry(snapshot: dict[str, Any], parent: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "table": snapshot["table"],
        "status": "success",
        "wall_ns": snapshot["committed_wall_ns"],
        "exchange": "BINANCE",
        "asset_class": "crypto",
        "record_count": snapshot["added_records"],
        "snapshot_id_before": snapshot["parent_id"],
        "snapshot_id_after": snapshot["snapshot_id"],
        "sequence_number_before": parent["sequence_number"] if parent else None,
        "sequence_number_after": snapshot["sequence_number"],
        **{name: snapshot[name] for name in _COUNTS},
        "transaction_duration_ms": 12.5,
        "error": None,
        "error_type": None,
        "recovered": False,
    }


def _failure(before: dict[str, Any]) -> dict[str, Any]:
    return {
        **_entry(before, None),
        "status": "failed",
        "wall_ns": before["committed_wall_ns"] + SECOND_NS // 2,
        "record_count": 7,
        "snapshot_id_before": before["snapshot_id"],
        "snapshot_id_after": None,
        "sequence_number_before": before["sequence_number"],
        "sequence_number_after": None,
        **dict.fromkeys(_COUNTS),
        "error": "branch main has changed",
        "error_type": "CommitFailedException",
    }


def _in_log(name: str, kind: str, edit: TableEdit) -> Defect:
    return Defect(name, kind, lambda history: edit_stage(history, "audit", edit))


def _one_more(table: pa.Table, name: str) -> pa.Table:
    return set_values(table, _ROW, **{name: table[name][_ROW].as_py() + 1})


def _failure_with_result(table: pa.Table) -> pa.Table:
    return set_values(table, _FAILED_AT, snapshot_id_after=table["snapshot_id_after"][_ROW].as_py())


def _stale_failure(table: pa.Table) -> pa.Table:
    return set_values(table, _FAILED_AT, snapshot_id_before=table["snapshot_id_after"][0].as_py())


SUITE = Suite(
    "audit",
    clean_audit,
    (
        _in_log("entry_missing", "missing_entry", lambda table: drop_rows(table, [_ROW])),
        Defect(
            "maintenance_not_logged",
            "missing_entry",
            lambda one: edit_stage(one, "snapshots", lambda table: add_row(table, _COMMITS - 1, snapshot_id=7)),
        ),
        _in_log("success_without_snapshot", "phantom_entry", lambda table: add_row(table, _ROW, snapshot_id_after=7)),
        _in_log("failure_with_a_result", "phantom_entry", _failure_with_result),
        _in_log("entry_twice", "repeated_entry", lambda table: add_row(table, _ROW)),
        _in_log("before_is_not_the_parent", "wrong_before", lambda table: _unknown_before(table, _ROW)),
        _in_log("first_has_a_before", "wrong_before", lambda table: _unknown_before(table, 0)),
        _in_log("failure_from_unknown_state", "wrong_before", lambda table: _unknown_before(table, _FAILED_AT)),
        _in_log("failure_from_a_state_long_gone", "wrong_before", _stale_failure),
        _in_log(
            "failure_from_nothing", "wrong_before", lambda table: set_values(table, _FAILED_AT, snapshot_id_before=None)
        ),
        _in_log("failure_not_told", "missing_failure", lambda table: drop_rows(table, [_FAILED_AT])),
        _in_log("failure_without_its_error", "incomplete_failure", lambda table: _without(table, _FAILED_AT, "error")),
        _in_log(
            "failure_without_a_type", "incomplete_failure", lambda table: _without(table, _FAILED_AT, "error_type")
        ),
        _in_log("entry_without_a_duration", "incomplete_entry", lambda table: _without(table, _ROW, _DURATION)),
        _in_log(
            "entry_without_its_asset_class", "incomplete_entry", lambda table: _without(table, _ROW, "asset_class")
        ),
        _in_log("size_not_told", "incomplete_entry", lambda table: _without(table, 0, "added_files_size_bytes")),
        _in_log("field_never_written", "incomplete_entry", lambda table: table.drop_columns(["total_data_files"])),
        _in_log("sequence_number_wrong", "wrong_before", lambda table: _one_more(table, "sequence_number_after")),
        _in_log("count_off_by_one", "wrong_count", lambda table: _one_more(table, "added_records")),
        _in_log("total_wrong", "wrong_count", lambda table: _one_more(table, "total_records")),
        _in_log("entries_swapped", "wrong_order", lambda table: swap_values(table, 0, 1, *table.column_names)),
        Defect("log_not_observed", "missing_stage", lambda one: without_stage(one, "audit"), Outcome.UNKNOWN),
    ),
)


def _without(table: pa.Table, row: int, name: str) -> pa.Table:
    return set_values(table, row, **{name: None})


def _unknown_before(table: pa.Table, row: int) -> pa.Table:
    return set_values(table, row, snapshot_id_before=7)

"""Reads the state checkpoint of every partition that every snapshot of a table names, as any Iceberg client could."""

from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
from pyiceberg.table import Table

from conformance.drivers.table_view import PROGRESS_PROPERTY, open_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.records.definition import RECORD_TYPES

IDENTIFIERS = "identifiers"
"""What the rows with known ids have for a tracker."""
_RANGES = pa.list_(pa.struct([("first", pa.int64()), ("last", pa.int64())]))
_NUMBERS = (
    *("first", "lowest", "last", "highest_evicted", "total_messages", "in_order", "gaps", "out_of_order", "duplicates"),
    *("session_resets", "too_old", "lost_in_evicted_ranges", "arrival_number", "last_position"),
)
_STATE = {
    "tracker": pa.string(),
    "key": pa.list_(pa.string()),
    **dict.fromkeys(_NUMBERS, pa.int64()),
    "open_ranges": _RANGES,
    "holes_before_first": _RANGES,
}
_SCHEMA = pa.schema(
    [
        ("snapshot_id", pa.int64()),
        ("topic", pa.string()),
        ("kafka_partition", pa.int32()),
        ("next_offset", pa.int64()),
        ("problem", pa.string()),
        *_STATE.items(),
    ]
)


def observe_checkpoints(history: HistoryWriter, stack: Stack, data_type: str) -> None:
    """Stage `checkpoints`: a row for each file that a snapshot names, and one for each key in it."""
    storage = stack.settings.storage
    table = open_table(storage, RECORD_TYPES[data_type].table)
    history.observe("checkpoints", pa.Table.from_pylist(list(_rows(table)), schema=_SCHEMA), data_type)


def last_states(stack: Stack, data_type: str) -> list[dict[str, Any]]:
    """The keys of the checkpoint that the table names now for each partition, in the columns of the state.

    Raises:
        ValueError: a checkpoint cannot be read.
    """
    storage = stack.settings.storage
    table = open_table(storage, RECORD_TYPES[data_type].table)
    current = table.metadata.current_snapshot_id
    rows = [row for row in _rows(table) if row["snapshot_id"] == current]
    problems = [row["problem"] for row in rows if row.get("problem")]
    if problems:
        raise ValueError(problems[0])
    return [row for row in rows if "tracker" in row]


def _rows(table: Table) -> Iterator[dict[str, Any]]:
    for snapshot in table.metadata.snapshots:
        text = snapshot.summary.additional_properties.get(PROGRESS_PROPERTY) if snapshot.summary else None
        clusters = orjson.loads(text)["clusters"] if text is not None else {}
        for topics in clusters.values():
            for topic, partitions in topics.items():
                for partition, (next_offset, path) in partitions.items():
                    head = {
                        "snapshot_id": snapshot.snapshot_id,
                        "topic": topic,
                        "kafka_partition": int(partition),
                        "next_offset": next_offset,
                    }
                    keys, problem = _read(table, path)
                    yield {**head, "problem": problem}
                    yield from ({**head, **key} for key in keys)


def _read(table: Table, path: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """The keys of a checkpoint, or why there are none to be read."""
    if path is None:
        return [], "the snapshot names no file"
    try:
        with table.io.new_input(path).open() as stream:
            state = pa.ipc.open_file(pa.py_buffer(stream.read())).read_all()
        # A column that is not there, or of another type, is found missing key by key.
        columns = [name for name, data_type in _STATE.items() if _type_of(state, name) == data_type]
        rows: list[dict[str, Any]] = state.select(columns).to_pylist()
    except (OSError, pa.ArrowException) as error:
        return [], f"{path}: {type(error).__name__}: {str(error)[:200]}"
    # Known ids have rows without a key; what must become of them, test_deduplication looks at.
    return [row for row in rows if row.get("tracker") != IDENTIFIERS], None


def _type_of(state: pa.Table, name: str) -> pa.DataType | None:
    return state.schema.field(name).type if name in state.column_names else None

"""Puts the transaction log and the tables' history into a clause's history, and reads what processes say of both."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from prometheus_client.parser import text_string_to_metric_families

from conformance.drivers import http
from conformance.drivers.dlq_command import k2
from conformance.drivers.table_view import open_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.embedded.processes import ChildProcess
from k2.records.definition import RECORD_TYPES

METRICS = ("iceberg_transactions_total", "iceberg_transaction_rows")
COMMITTED, FAILED = "transaction committed", "transaction failed"
_NUMBERS = (
    "wall_ns", "record_count", "snapshot_id_before", "snapshot_id_after", "sequence_number_before",
    "sequence_number_after", "total_records", "total_data_files", "added_data_files", "added_records",
    "added_files_size_bytes",
)  # fmt: skip
_TEXTS = ("table", "status", "exchange", "asset_class", "batch", "error", "error_type")
_SUMMARY = {
    "added_records": "added-records",
    "added_data_files": "added-data-files",
    "added_files_size_bytes": "added-files-size",
    "total_records": "total-records",
    "total_data_files": "total-data-files",
}
AUDIT_SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in _NUMBERS),
        *((name, pa.string()) for name in _TEXTS),
        ("transaction_duration_ms", pa.float64()),
        ("recovered", pa.bool_()),
    ]
)


def observe_transactions(history: HistoryWriter, stack: Stack, data_types: Iterable[str]) -> None:
    """Stages `audit` and `snapshots` of the tables of some data types."""
    tables = [RECORD_TYPES[data_type].table for data_type in data_types]
    entries = [entry for entry in audit_entries(stack.settings.storage.audit_log) if entry["table"] in tables]
    history.observe("audit", pa.Table.from_pylist(entries, schema=AUDIT_SCHEMA))
    snapshots = [snapshot for table in tables for snapshot in table_snapshots(stack, table)]
    history.observe("snapshots", pa.Table.from_pylist(snapshots))


def audit_entries(path: Path) -> list[dict[str, Any]]:
    """Every line of the log that is one; half a line is none."""
    entries = []
    for line in path.read_text().splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def table_snapshots(stack: Stack, table: str) -> list[dict[str, Any]]:
    """The history of a table as an Iceberg client reads it, oldest first."""
    snapshots = open_table(stack.settings.storage, table).metadata.snapshots
    return [
        {
            "table": table,
            "snapshot_id": snapshot.snapshot_id,
            "parent_id": snapshot.parent_snapshot_id,
            "sequence_number": snapshot.sequence_number,
            "committed_wall_ns": snapshot.timestamp_ms * 1_000_000,
            **{
                name: int(snapshot.summary.additional_properties.get(stated, 0)) if snapshot.summary else 0
                for name, stated in _SUMMARY.items()
            },
        }
        for snapshot in snapshots
    ]


def exported(url: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The samples of the two metrics by sample name: labels without `le`, and value; buckets are left out."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(str(http.get(url).body)):
        if family.name in METRICS or f"{family.name}_total" in METRICS:
            for sample in family.samples:
                if not sample.name.endswith(("_bucket", "_created")):
                    found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def logged(process: ChildProcess, event: str) -> list[Mapping[str, Any]]:
    """The lines of a process's log that tell of an event."""
    lines = process.log_path.read_text(errors="replace").splitlines()
    said = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return [line for line in said if line["event"] == event]


def audit_command(stack: Stack, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """`k2 audit ... --json` on a stack's data directory: exit status, and the objects it printed."""
    answer = k2(stack, "audit", *arguments, "--json")
    return answer.exit_code, answer.objects

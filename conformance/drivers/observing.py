"""Puts what can be seen of a run into its history: log, tables, snapshots, answers."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from conformance.drivers import http
from conformance.drivers.feeding import FED_TYPES, table_of, table_offsets
from conformance.drivers.log_tap import TappedMessage, decode_independently
from conformance.drivers.registered import registered_schemas
from conformance.drivers.table_view import view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.records.definition import RECORD_TYPES


def observe_log(history: HistoryWriter, stack: Stack, messages: Sequence[TappedMessage]) -> None:
    """Stage `logged`, decoded by fastavro with the registered schemas."""
    schemas = registered_schemas(stack)
    rows: dict[str, list[dict[str, Any]]] = {data_type: [] for data_type in RECORD_TYPES}
    for message in messages:
        schema_id, record = decode_independently(message, schemas)
        data_type = message.topic.rsplit(".", 1)[1]
        if data_type not in rows:
            continue
        names = [field.name for field in RECORD_TYPES[data_type].fields if field.name != "vendor_data"]
        values = record or {}
        rows[data_type].append(
            {
                "topic": message.topic,
                "kafka_partition": message.partition,
                "kafka_offset": message.offset,
                "schema_id": schema_id,
                "decode_error": None if record is not None else "not one whole record of a registered schema",
                **{name: values.get(name) for name in names},
            }
        )
    for data_type, found in rows.items():
        if found:
            history.observe("logged", table_of(found), data_type)


def observe_tables(history: HistoryWriter, stack: Stack, data_types: Iterable[str]) -> None:
    """Stages `stored` and `snapshots`."""
    storage = stack.settings.storage
    for data_type in data_types:
        view = view_table(storage, RECORD_TYPES[data_type].table)
        history.observe("stored", view.rows.drop_columns(["vendor_data"]), data_type)
        history.observe("snapshots", view.snapshots, data_type)


def observe_answers(history: HistoryWriter, api_url: str, data_type: str, filters: Mapping[str, Any]) -> None:
    """Ask the API for every row that matches and record the rows as stage `answered`."""
    request = f"{data_type} {filters}"
    attributes = {"request": request, "data_type": data_type, **filters}
    rows: list[dict[str, Any]] = []
    with history.invoke("api", "request", attributes) as invocation:
        pages = http.all_pages(f"{api_url}/v1/{data_type}", filters)
        snapshots = {page.body["meta"]["snapshot_id"] for page in pages}
        for page in pages:
            rows += [{**row, "snapshot_id": page.body["meta"]["snapshot_id"]} for row in page.body["data"]]
        invocation.attributes["snapshot_id"] = next(iter(snapshots)) if len(snapshots) == 1 else None
    history.observe("answered", _answered(rows, request), data_type)


def observe_reported_offsets(history: HistoryWriter, stack: Stack, reported: Mapping[tuple[str, int], int]) -> None:
    """Operations `offsets_reported`: what Kafka was told, beside what the tables hold; read in this order."""
    held = table_offsets(stack)
    for (topic, partition), offset in reported.items():
        history.operation(
            "consumer",
            "offsets_reported",
            "ok",
            attributes={
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "table_next_offset": held.get((topic, partition), 0),
            },
        )


def _answered(rows: Sequence[Mapping[str, Any]], request: str) -> pa.Table:
    dropped = ("vendor_data", "event_time", "receive_time", "quality_flags")
    kept = [{name: value for name, value in row.items() if name not in dropped} for row in rows]
    table = table_of([_typed(row) for row in kept])
    return table.append_column("request", pa.array([request] * table.num_rows))


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: Decimal(value)
        if isinstance(value, str) and pa.types.is_decimal(FED_TYPES.get(name, pa.null()))
        else value
        for name, value in row.items()
    }

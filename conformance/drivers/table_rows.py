"""Rows as the consumer writes them, from plain records: for tests of the writer alone."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from k2.records.definition import TRADE
from k2.records.schemas import DECIMAL_TYPE, table_schema


def rows_of(records: Sequence[Mapping[str, Any]], topic: str, partition: int, first_offset: int) -> pa.Table:
    """Trades at consecutive offsets of one partition; decimals may be given as text."""
    schema = table_schema(TRADE)
    decimals = {field.name for field in schema if field.type == DECIMAL_TYPE}
    rows = [
        {
            **{
                name: Decimal(value) if name in decimals and value is not None else value for name, value in row.items()
            },
            "vendor_data": list((row.get("vendor_data") or {}).items()),
            "topic": topic,
            "kafka_partition": partition,
            "kafka_offset": first_offset + position,
            "schema_id": 1,
            "event_time": row["event_time_ns"] // 1_000,
            "receive_time": row["receive_time_ns"] // 1_000,
            "sequence_event": "IN_ORDER",
            "quality_flags": 0,
        }
        for position, row in enumerate(records)
    ]
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)

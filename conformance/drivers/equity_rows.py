"""An independent reading of US equity ticks, and the rows of a table beside it.

Written from Lean's own description of its format, sharing nothing with K2's reader.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from conformance.drivers.feed_files import read_zip
from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from k2.records.definition import RECORD_TYPES

Tick = tuple[Any, ...]
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_COLUMNS = {
    "trades": ("price", "quantity"),
    "quotes": ("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
}
_NULL_FOR_ALL = {
    "trades": ("source_sequence", "trade_id", "sequence_event"),
    "quotes": ("source_sequence", "quote_id", "sequence_event"),
}


def ticks_in(path: Path, day: str, data_type: str) -> list[Tick]:
    """Time in ns, the values, venue and conditions of each line; a side of zeros is null."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("America/New_York"))
    start_ms = (midnight - _EPOCH) // timedelta(milliseconds=1)
    ticks: list[Tick] = []
    for cells in read_zip(path):
        values: list[Decimal | None] = []
        for price, quantity in zip(cells[1:-3:2], cells[2:-3:2], strict=True):
            is_empty = data_type == "quotes" and price == quantity == "0"
            values += [None, None] if is_empty else [Decimal(price) / 10_000, Decimal(quantity)]
        ticks.append(((start_ms + int(cells[0])) * 1_000_000, *values, cells[-3], cells[-2]))
    return ticks


def stored_ticks(stack: Stack, exchange: str, data_type: str) -> list[Tick]:
    """The same of each row of an exchange, in order of its position in the feed."""
    rows = exchange_rows(stack, exchange, data_type).sort_by("session_sequence")
    names = ("event_time_ns", *_COLUMNS[data_type], "venue", "conditions")
    return list(zip(*(rows[name].to_pylist() for name in names), strict=True))


def values_that_must_be_null(stack: Stack, exchange: str, data_type: str) -> int:
    """How many sequence numbers, ids and sequence events the rows of an exchange have that has none of them."""
    rows = exchange_rows(stack, exchange, data_type)
    return sum(rows.num_rows - rows[name].null_count for name in _NULL_FOR_ALL[data_type])


def exchange_rows(stack: Stack, exchange: str, data_type: str) -> pa.Table:
    """The rows of an exchange."""
    storage = stack.settings.storage
    rows = view_table(storage, RECORD_TYPES[data_type].table).rows
    return rows.filter(pc.equal(rows["exchange"], exchange))


def first_difference(found: list[Tick], expected: list[Tick]) -> list[str]:
    """Empty if they are equal; else the first place where they are not."""
    if found == expected:
        return []
    for place, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            return [f"row {place + 1} is {one}, must be {other}"]
    return [f"{len(found)} rows, must be {len(expected)}"]

"""Sequence verdicts and gaps as the stages of a history: from the table, from the API, from a plan."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from conformance.drivers import http
from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from k2.records.definition import TRADE

Numbers = Sequence[tuple[str, str, int]]
"""Exchange, symbol, number, in order of arrival."""
Gap = dict[str, Any]
_GAP_SCHEMA = pa.schema(
    [
        ("exchange", pa.string()),
        ("symbol", pa.string()),
        ("first_missing", pa.int64()),
        ("last_missing", pa.int64()),
    ]
)


def verdict_table(numbers: Numbers, events: Sequence[str]) -> pa.Table:
    """Columns exchange, symbol, number, event."""
    exchanges, symbols, values = zip(*numbers, strict=True)
    return pa.table({"exchange": exchanges, "symbol": symbols, "number": pa.array(values, pa.int64()), "event": events})


def stored_trades(stack: Stack) -> pa.Table:
    """The same columns of every row of the trades table, in order of arrival."""
    storage = stack.settings.storage
    rows = view_table(storage, TRADE.table).rows
    rows = rows.sort_by([("kafka_partition", "ascending"), ("kafka_offset", "ascending")])
    columns = rows.select(["exchange", "symbol", "source_sequence", "sequence_event"])
    return columns.rename_columns(["exchange", "symbol", "number", "event"])


def reported_gaps(api_url: str, data_type: str) -> list[Gap]:
    """What /v1/gaps answers."""
    gaps: list[Gap] = http.get(f"{api_url}/v1/gaps", {"data_type": data_type}).body["data"]
    return gaps


def gap_row(key: tuple[str, ...], first: int, last: int) -> Gap:
    """One open gap."""
    return {"exchange": key[0], "symbol": key[1], "first_missing": first, "last_missing": last}


def gap_table(gaps: Iterable[Gap]) -> pa.Table:
    """Gaps as a table, columns other than these left out."""
    return pa.Table.from_pylist([{name: gap[name] for name in _GAP_SCHEMA.names} for gap in gaps], schema=_GAP_SCHEMA)

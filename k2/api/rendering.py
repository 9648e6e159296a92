"""Arrow rows as JSON-ready dicts, column by column. Prices and quantities become exact text without trailing zeros."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def render_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """One dict a row: decimals as text, integers as integers, times as RFC 3339 with microseconds, maps as dicts."""
    names = rows.schema.names
    columns = [_render(column) for column in rows.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _render(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_decimal(column.type):
        return _render_decimals(column)
    if pa.types.is_timestamp(column.type):
        return _render_times(column)
    if pa.types.is_map(column.type):
        return [entries for chunk in column.chunks for entries in _render_maps(chunk)]
    values: list[Any] = column.to_pylist()
    return values


def _render_decimals(column: pa.ChunkedArray) -> list[str | None]:
    text = pc.cast(column, pa.string())
    trimmed: list[str | None] = pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), ".").to_pylist()
    # Arrow writes zero and what is below 1e-6 with an exponent.
    exponential = pc.fill_null(pc.match_substring(text, "E"), False)
    if pc.any(exponential).as_py():
        for index in pc.indices_nonzero(exponential).to_pylist():
            trimmed[index] = plain_text(column[index].as_py())
    return trimmed


def plain_text(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros; zero is "0"."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _render_times(column: pa.ChunkedArray) -> list[str | None]:
    # Cast to a type without zone first: rendering UTC through the zone database is thirty times slower.
    text = pc.cast(column.cast(pa.timestamp("us")), pa.string())
    times: list[str | None] = pc.binary_join_element_wise(
        pc.binary_replace_slice(text, 10, 11, "T"), "Z", ""
    ).to_pylist()
    return times


def _render_maps(chunk: pa.MapArray) -> list[dict[str, str] | None]:
    keys, values, offsets = chunk.keys.to_pylist(), chunk.items.to_pylist(), chunk.offsets.to_pylist()
    entries: list[dict[str, str] | None] = [
        dict(zip(keys[start:end], values[start:end], strict=True)) for start, end in pairwise(offsets)
    ]
    for index in pc.indices_nonzero(chunk.is_null()).to_pylist():
        entries[index] = None
    return entries

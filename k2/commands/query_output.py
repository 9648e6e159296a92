"""What `k2 query` prints: rows that come piece by piece, as a table, JSON lines, CSV or an Arrow stream."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pyarrow as pa
import typer

from k2.cli_output import print_rows

TABLE_ROWS = 10_000
"""A table's columns are as wide as their widest cell, so it is made of no more rows than a person can read."""


class OutputFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"


def print_pieces(
    schema: pa.Schema,
    pieces: Iterable[pa.Table | pa.RecordBatch],
    output_format: OutputFormat,
    table_columns: Sequence[str] | None = None,
) -> None:
    """Print rows as they come; only a table waits for the end, or for TABLE_ROWS of them.

    Args:
        schema: the rows' columns.
        pieces: the rows.
        output_format: as what.
        table_columns: which columns a table shows; None for all.
    """
    try:
        match output_format:
            case OutputFormat.TABLE:
                _print_table(pieces, table_columns)
            case OutputFormat.JSON:
                for piece in pieces:
                    print_rows(piece.to_pylist(), as_json=True)
            case OutputFormat.CSV:
                _print_csv(schema, pieces)
            case OutputFormat.ARROW:
                _write_arrow(schema, pieces)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough: `k2 query trades --all | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_table(pieces: Iterable[pa.Table | pa.RecordBatch], columns: Sequence[str] | None) -> None:
    rows: list[dict[str, Any]] = []
    for piece in pieces:
        rows += piece.to_pylist()
        if len(rows) > TABLE_ROWS:
            print_rows(rows[:TABLE_ROWS], columns)
            typer.echo("there are more: --format json, csv or arrow prints them all", err=True)
            return
    print_rows(rows, columns)


def _print_csv(schema: pa.Schema, pieces: Iterable[pa.Table | pa.RecordBatch]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(schema.names)
    for piece in pieces:
        for row in piece.to_pylist():
            writer.writerow([_csv_cell(value) for value in row.values()])
        sys.stdout.write(text.getvalue())
        text.seek(0)
        text.truncate()
    sys.stdout.write(text.getvalue())


def _csv_cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value, default=str) if isinstance(value, dict | list) else value


def _write_arrow(schema: pa.Schema, pieces: Iterable[pa.Table | pa.RecordBatch]) -> None:
    with pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
        for piece in pieces:
            stream.write(piece)

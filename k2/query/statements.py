"""The SQL of the typed queries. Text comes from the record definitions alone; every value is a bound parameter.

Files are read through a mapping of Iceberg field ids, so one written before a column was added or renamed is read as
the table stands now. Partition values in paths are never taken for columns.
"""

from dataclasses import dataclass
from functools import cache

import duckdb
import pyarrow as pa

from k2.query.hardening import literal_pattern, sql_text
from k2.query.result import RowQuery
from k2.records.definition import DECIMAL_PRECISION, DECIMAL_SCALE, RecordType
from k2.records.schemas import table_schema

POSITION_COLUMNS = ("event_time_ns", "kafka_partition", "kafka_offset", "topic", "session")
SYMBOL_COLUMNS = ("exchange", "asset_class", "symbol")

_ORDER = ", ".join(POSITION_COLUMNS)
_FILES = "read_parquet(?, hive_partitioning = false, schema = ?)"
_FIELD_ID = b"PARQUET:field_id"
_MAPPING_TYPE = "MAP(INTEGER, STRUCT(name VARCHAR, type VARCHAR, default_value VARCHAR))"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with question marks, and the values for them in order."""

    sql: str
    parameters: tuple[object, ...]


def select_rows(record_type: RecordType, paths: tuple[str, ...], query: RowQuery) -> Statement:
    """The rows of a query in order of position, one more than its limit so that it shows whether more follow."""
    conditions: list[str] = []
    values: list[object] = []
    for condition, value in (
        ("exchange = ?", query.exchange),
        ("symbol = ?", query.symbol),
        ("event_time_ns >= ?", query.start_time_ns),
        ("event_time_ns < ?", query.end_time_ns),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.after is not None:
        # The first condition follows from the second; it is the one that skips row groups.
        conditions += ["event_time_ns >= ?", f"({_ORDER}) > (?, ?, ?, ?, ?)"]
        values += [query.after.event_time_ns, *(getattr(query.after, column) for column in POSITION_COLUMNS)]
    columns = ", ".join(_selected(record_type, query))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return Statement(
        f"SELECT {columns} FROM {_FILES}{where} ORDER BY {_ORDER} LIMIT ?",  # noqa: S608 - names from definitions
        (_patterns(paths), _field_mapping(record_type), *values, query.limit + 1),
    )


def select_all(record_type: RecordType, paths: tuple[str, ...]) -> str:
    """All rows and columns, as SQL without parameters: what a view of the table is made of."""
    if not paths:
        columns = ", ".join(
            f"CAST(NULL AS {_sql_type(field.type)}) AS {field.name}" for field in table_schema(record_type)
        )
        return f"SELECT {columns} LIMIT 0"
    columns = ", ".join(table_schema(record_type).names)
    files = ", ".join(sql_text(pattern) for pattern in _patterns(paths))
    fields = ", ".join(
        f"{field_id}: {{'name': {sql_text(name)}, 'type': {sql_text(sql_type)}, 'default_value': NULL}}"
        for field_id, name, sql_type in _fields(record_type)
    )
    return (
        f"SELECT {columns} FROM "  # noqa: S608 - names from definitions, paths as literals
        f"read_parquet([{files}], hive_partitioning = false, schema = MAP {{{fields}}})"
    )


def select_symbols(record_type: RecordType, paths: tuple[str, ...], exchange: str | None) -> Statement:
    """Each distinct (exchange, asset_class, symbol), in that order."""
    columns = ", ".join(SYMBOL_COLUMNS)
    where = "" if exchange is None else " WHERE exchange = ?"
    return Statement(
        f"SELECT DISTINCT {columns} FROM {_FILES}{where} ORDER BY {columns}",  # noqa: S608 - names from definitions
        (_patterns(paths), _field_mapping(record_type), *(() if exchange is None else (exchange,))),
    )


def count_rows(paths: tuple[str, ...]) -> Statement:
    """One row with the column `rows`, read from the files' footers."""
    return Statement("SELECT count(*) AS rows FROM read_parquet(?, hive_partitioning = false)", (_patterns(paths),))


def _patterns(paths: tuple[str, ...]) -> list[str]:
    return [literal_pattern(path) for path in paths]


def _selected(record_type: RecordType, query: RowQuery) -> tuple[str, ...]:
    """The columns to read: those asked for, and those that tell the next position; all of them by default."""
    names: tuple[str, ...] = tuple(table_schema(record_type).names)
    wanted = query.columns
    return names if wanted is None else (*wanted, *(name for name in POSITION_COLUMNS if name not in wanted))


@cache
def _field_mapping(record_type: RecordType) -> duckdb.Value:
    # A bound value costs 2 ms less a query than the same map written into the SQL.
    mapping = {
        field_id: {"name": name, "type": sql_type, "default_value": None}
        for field_id, name, sql_type in _fields(record_type)
    }
    return duckdb.Value(mapping, duckdb.type(_MAPPING_TYPE))


def _fields(record_type: RecordType) -> list[tuple[int, str, str]]:
    """Iceberg's field id, name and DuckDB's type of each column."""
    return [(int(field.metadata[_FIELD_ID]), field.name, _sql_type(field.type)) for field in table_schema(record_type)]


def _sql_type(data_type: pa.DataType) -> str:
    if pa.types.is_map(data_type):
        return "MAP(VARCHAR, VARCHAR)"
    if pa.types.is_decimal(data_type):
        return f"DECIMAL({DECIMAL_PRECISION}, {DECIMAL_SCALE})"
    if pa.types.is_timestamp(data_type):
        return "TIMESTAMP WITH TIME ZONE"
    return {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.int32(): "INTEGER"}[data_type]

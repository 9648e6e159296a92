"""From what is asked to what is answered: arguments checked against the tables, rows cut into pages in their types."""

from collections.abc import Sequence

import pyarrow as pa

from k2.errors import UsageError
from k2.query.result import Position, QueryResult, RowQuery, check_int64
from k2.query.statements import POSITION_COLUMNS
from k2.records.definition import RECORD_TYPES, RecordType
from k2.records.schemas import table_schema
from k2.storage.plan import ReadPlan


def record_type_of(data_type: str) -> RecordType:
    """The kind of records a data type is of.

    Raises:
        UsageError: no table holds it.
    """
    record_type = RECORD_TYPES.get(data_type)
    if record_type is None:
        raise UsageError(f"no table holds {data_type!r}; there are {', '.join(RECORD_TYPES)}")
    return record_type


def check_queries(
    record_type: RecordType, queries: Sequence[RowQuery], snapshot_id: int | None, as_of_time_ns: int | None
) -> None:
    """Raise UsageError for an argument that no table can be asked for."""
    columns = table_schema(record_type).names
    for query in queries:
        query.check(columns)
    check_int64("snapshot_id", snapshot_id)
    check_int64("as_of_time_ns", as_of_time_ns)


def page_of(plan: ReadPlan, query: RowQuery, rows: pa.Table | None, schema: pa.Schema) -> QueryResult:
    """The answer from what was fetched: up to the limit, in the table's types, only the columns asked for."""
    wanted = schema.names if query.columns is None else query.columns
    answered = pa.schema([schema.field(name) for name in wanted])
    if rows is None:
        return QueryResult(answered.empty_table(), plan.snapshot_id, plan.snapshot_time_ms, plan.table)
    next_position = None
    if rows.num_rows > query.limit:
        rows = rows.slice(0, query.limit)
        last = rows.select(POSITION_COLUMNS).slice(query.limit - 1).to_pylist()[0]
        next_position = Position(**last)
    rows = _with_schema(rows.select(wanted), answered)
    return QueryResult(rows, plan.snapshot_id, plan.snapshot_time_ms, plan.table, next_position)


def _with_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        column if column.type.equals(field.type) else column.cast(field.type)
        for column, field in zip(rows.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)

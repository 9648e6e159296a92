"""Typed queries over the tables: storage says which files, DuckDB filters and sorts them, a time limit ends it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from k2.clock import Clock
from k2.errors import QueryTimeoutError, UsageError
from k2.observability.freshness import NewestRows
from k2.observability.metrics import Metrics
from k2.query.connection import QueryConnection, UnreadableFileError
from k2.query.deadline import Deadline, Watchdog
from k2.query.pool import DuckDBConnectionPool
from k2.query.result import DEFAULT_LIMIT, Position, QueryResult, RowQuery, check_int64, check_text
from k2.query.statements import (
    POSITION_COLUMNS,
    SYMBOL_COLUMNS,
    Statement,
    count_rows,
    select_rows,
    select_symbols,
)
from k2.records.definition import QUOTE, RECORD_TYPES, REFERENCE_DATA, TRADE, RecordType
from k2.records.schemas import table_schema
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.settings import BreakerSettings, QuerySettings
from k2.storage.plan import OpenGap, ReadPlan, TableSource


class QueryEngine:
    """Answers questions about the tables; safe to share between threads.

    Every call has a time limit over planning, waiting for a connection and the query itself. Waiting and querying
    really stop at it; planning is storage's own work, and a late plan is noticed when it arrives. Rows come in the
    order of `Position`, so answers continued with `after` never overlap and never leave a row out.

    Common errors:
        UsageError: an argument cannot be used, or the snapshot does not exist.
        QueryTimeoutError: stopped at the time limit.
        PoolExhaustedError: no connection became free in time.
        UnavailableError: the catalog or a data file cannot be read, or the query ran out of memory.

    Args:
        source: where the tables are.
        pool: connections; closed by whoever made it.
        settings: the time limit of calls that name none.
        metrics: receives k2_query_seconds and k2_query_timeouts_total.
        clock: measures durations and deadlines.
        breakers: those of the process, for reading data files; None makes some of its own.
    """

    def __init__(
        self,
        source: TableSource,
        pool: DuckDBConnectionPool,
        settings: QuerySettings,
        metrics: Metrics,
        clock: Clock,
        breakers: CircuitBreakers | None = None,
    ) -> None:
        breakers = breakers or CircuitBreakers(BreakerSettings(), metrics, clock)
        self._object_store = breakers[Dependency.OBJECT_STORE]
        self._source = source
        self._pool = pool
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._watchdog = Watchdog(clock)

    def query_trades(
        self,
        symbol: str | None = None,
        exchange: str | None = None,
        start_time_ns: int | None = None,
        end_time_ns: int | None = None,
        limit: int = DEFAULT_LIMIT,
        snapshot_id: int | None = None,
        time_limit_seconds: float | None = None,
        *,
        after: Position | None = None,
    ) -> QueryResult:
        """Trades; the arguments are those of `RowQuery` and `query_rows`."""
        query = RowQuery(symbol, exchange, start_time_ns, end_time_ns, limit, after)
        return self.query_rows(
            TRADE.data_type, [query], snapshot_id=snapshot_id, time_limit_seconds=time_limit_seconds
        )[0]

    def query_quotes(
        self,
        symbol: str | None = None,
        exchange: str | None = None,
        start_time_ns: int | None = None,
        end_time_ns: int | None = None,
        limit: int = DEFAULT_LIMIT,
        snapshot_id: int | None = None,
        time_limit_seconds: float | None = None,
        *,
        after: Position | None = None,
    ) -> QueryResult:
        """Quotes; the arguments are those of `RowQuery` and `query_rows`."""
        query = RowQuery(symbol, exchange, start_time_ns, end_time_ns, limit, after)
        return self.query_rows(
            QUOTE.data_type, [query], snapshot_id=snapshot_id, time_limit_seconds=time_limit_seconds
        )[0]

    def query_reference(
        self,
        symbol: str | None = None,
        exchange: str | None = None,
        start_time_ns: int | None = None,
        end_time_ns: int | None = None,
        limit: int = DEFAULT_LIMIT,
        snapshot_id: int | None = None,
        time_limit_seconds: float | None = None,
        *,
        after: Position | None = None,
    ) -> QueryResult:
        """Reference data; the arguments are those of `RowQuery` and `query_rows`."""
        query = RowQuery(symbol, exchange, start_time_ns, end_time_ns, limit, after)
        return self.query_rows(
            REFERENCE_DATA.data_type, [query], snapshot_id=snapshot_id, time_limit_seconds=time_limit_seconds
        )[0]

    def query_rows(
        self,
        data_type: str,
        queries: Sequence[RowQuery],
        *,
        snapshot_id: int | None = None,
        time_limit_seconds: float | None = None,
        pool_wait_seconds: float | None = None,
    ) -> tuple[QueryResult, ...]:
        """Answer several queries on one connection, from one snapshot and within one time limit.

        Args:
            data_type: trades, quotes or reference_data.
            queries: answered in this order.
            snapshot_id: the snapshot to read; None reads the current one.
            time_limit_seconds: for all of it; None takes the one of the settings.
            pool_wait_seconds: how long to wait for a connection, within the time limit; None takes the pool's own.
        """
        record_type = _record_type(data_type)
        for query in queries:
            query.check()
        check_int64("snapshot_id", snapshot_id)
        with self._limited(data_type, time_limit_seconds) as deadline:
            plans: list[ReadPlan] = []
            for query in queries:
                plans.append(self._plan(record_type, query, snapshot_id))
                snapshot_id = plans[0].snapshot_id
                deadline.check()
            statements = [
                select_rows(record_type, plan.paths, query) if plan.paths else None
                for plan, query in zip(plans, queries, strict=True)
            ]
            tables = self._fetch(statements, deadline, pool_wait_seconds)
            schema = table_schema(record_type)
            return tuple(
                _page(plan, query, schema.empty_table() if rows is None else _with_schema(rows, schema))
                for plan, query, rows in zip(plans, queries, tables, strict=True)
            )

    def get_symbols(
        self,
        data_type: str,
        exchange: str | None = None,
        *,
        time_limit_seconds: float | None = None,
        pool_wait_seconds: float | None = None,
    ) -> QueryResult:
        """Distinct instruments of a table: columns exchange, asset_class, symbol, ordered by them."""
        record_type = _record_type(data_type)
        check_text("exchange", exchange)
        with self._limited("symbols", time_limit_seconds) as deadline:
            plan = self._source.plan(record_type.table, exchange=exchange)
            statement = select_symbols(record_type, plan.paths, exchange) if plan.paths else None
            (rows,) = self._fetch([statement], deadline, pool_wait_seconds)
        schema = pa.schema([(name, pa.string()) for name in SYMBOL_COLUMNS])
        rows = schema.empty_table() if rows is None else rows
        return QueryResult(rows, plan.snapshot_id, plan.snapshot_time_ms, plan.table)

    def list_tables(self) -> tuple[str, ...]:
        """Identifiers of all tables."""
        return self._source.tables()

    def open_gaps(
        self, data_type: str, *, exchange: str | None = None, symbol: str | None = None
    ) -> tuple[OpenGap, ...]:
        """Sequence numbers that are missing as of the table's current snapshot."""
        check_text("exchange", exchange)
        check_text("symbol", symbol)
        return self._source.open_gaps(_record_type(data_type).table, exchange=exchange, symbol=symbol)

    def newest_rows(self, data_type: str) -> tuple[NewestRows, ...]:
        """How new the table is, for each exchange that has ever had a row in it."""
        return self._source.newest_rows(_record_type(data_type).table)

    def check_source(self) -> None:
        """Look the tables up in the catalog.

        Raises:
            UnavailableError: the catalog does not answer.
        """
        for table in self._source.tables():
            self._source.plan(table)

    def get_stats(self) -> dict[str, Any]:
        """{"pool": PoolStatistics, "tables": {table: {"rows", "snapshot_id", "snapshot_time_ms"}}}."""
        tables: dict[str, dict[str, int | None]] = {}
        with self._limited("stats", None) as deadline:
            plans = [self._source.plan(table) for table in self._source.tables()]
            statements = [count_rows(plan.paths) if plan.paths else None for plan in plans]
            for plan, rows in zip(plans, self._fetch(statements, deadline, None), strict=True):
                tables[plan.table] = {
                    "rows": 0 if rows is None else rows.column("rows")[0].as_py(),
                    "snapshot_id": plan.snapshot_id,
                    "snapshot_time_ms": plan.snapshot_time_ms,
                }
        return {"pool": self._pool.statistics(), "tables": tables}

    def _plan(self, record_type: RecordType, query: RowQuery, snapshot_id: int | None) -> ReadPlan:
        starts = [query.start_time_ns, query.after.event_time_ns if query.after else None]
        start_time_ns = max((start for start in starts if start is not None), default=None)
        return self._source.plan(
            record_type.table,
            exchange=query.exchange,
            symbol=query.symbol,
            start_time_ns=start_time_ns,
            end_time_ns=query.end_time_ns,
            snapshot_id=snapshot_id,
        )

    def _fetch(
        self, statements: Sequence[Statement | None], deadline: Deadline, pool_wait_seconds: float | None
    ) -> list[pa.Table | None]:
        if not any(statements):
            return [None for _ in statements]
        with (
            self._object_store.guard(UnreadableFileError),
            self._connection(deadline, pool_wait_seconds) as connection,
        ):
            tables: list[pa.Table | None] = []
            for statement in statements:
                deadline.check()
                tables.append(None if statement is None else connection.fetch(statement.sql, statement.parameters))
            return tables

    @contextmanager
    def _connection(self, deadline: Deadline, pool_wait_seconds: float | None) -> Iterator[QueryConnection]:
        wait_seconds = self._settings.acquire_timeout_seconds if pool_wait_seconds is None else pool_wait_seconds
        with (
            self._pool.acquire(min(wait_seconds, deadline.remaining_seconds())) as connection,
            # Innermost, so that nothing interrupts any more when the connection goes back.
            self._watchdog.watching(deadline, connection.interrupt),
        ):
            yield connection

    @contextmanager
    def _limited(self, query_name: str, time_limit_seconds: float | None) -> Iterator[Deadline]:
        limit_seconds = self._settings.time_limit_seconds if time_limit_seconds is None else time_limit_seconds
        if limit_seconds <= 0:
            raise UsageError(f"time_limit_seconds must be above zero, not {limit_seconds:g}")
        started_ns = self._clock.monotonic_ns()
        labels = {"query": query_name}
        try:
            yield Deadline.after(limit_seconds, self._clock)
        except QueryTimeoutError as error:
            self._metrics.increment("k2_query_timeouts_total", labels)
            raise QueryTimeoutError(
                f"the {query_name} query was stopped at its limit of {limit_seconds:g} s; "
                "ask for one symbol, a shorter time range or fewer rows"
            ) from error
        finally:
            self._metrics.observe("k2_query_seconds", (self._clock.monotonic_ns() - started_ns) / 1e9, labels)


def _record_type(data_type: str) -> RecordType:
    record_type = RECORD_TYPES.get(data_type)
    if record_type is None:
        raise UsageError(f"no table holds {data_type!r}; there are {', '.join(RECORD_TYPES)}")
    return record_type


def _page(plan: ReadPlan, query: RowQuery, rows: pa.Table) -> QueryResult:
    next_position = None
    if rows.num_rows > query.limit:
        rows = rows.slice(0, query.limit)
        last = rows.select(POSITION_COLUMNS).slice(query.limit - 1).to_pylist()[0]
        next_position = Position(**last)
    return QueryResult(rows, plan.snapshot_id, plan.snapshot_time_ms, plan.table, next_position)


def _with_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        column if column.type.equals(field.type) else column.cast(field.type)
        for column, field in zip(rows.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)

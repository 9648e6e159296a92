"""Typed queries over the tables: storage says which files, DuckDB filters and sorts them, a time limit ends it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pyarrow as pa

from k2.clock import Clock
from k2.errors import QueryTimeoutError, UsageError
from k2.observability.freshness import NewestRows
from k2.observability.metrics import Metrics
from k2.query.connection import QueryConnection, UnreadableFileError
from k2.query.deadline import Deadline, Watchdog
from k2.query.pages import check_queries, page_of, record_type_of
from k2.query.pool import DuckDBConnectionPool
from k2.query.result import DEFAULT_LIMIT, Position, QueryPlan, QueryResult, RowQuery, check_text
from k2.query.statements import (
    SYMBOL_COLUMNS,
    Statement,
    count_rows,
    select_rows,
    select_symbols,
)
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE, RecordType
from k2.records.schemas import table_schema
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.settings import BreakerSettings, QuerySettings
from k2.storage.plan import OpenGap, ReadPlan, TableSnapshot, TableSource


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
        columns: tuple[str, ...] | None = None,
        as_of_time_ns: int | None = None,
    ) -> QueryResult:
        """Trades; the arguments are those of `RowQuery` and `query_rows`."""
        query = RowQuery(symbol, exchange, start_time_ns, end_time_ns, limit, after, columns)
        return self._query_one(TRADE, query, snapshot_id, as_of_time_ns, time_limit_seconds)

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
        columns: tuple[str, ...] | None = None,
        as_of_time_ns: int | None = None,
    ) -> QueryResult:
        """Quotes; the arguments are those of `RowQuery` and `query_rows`."""
        query = RowQuery(symbol, exchange, start_time_ns, end_time_ns, limit, after, columns)
        return self._query_one(QUOTE, query, snapshot_id, as_of_time_ns, time_limit_seconds)

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
        columns: tuple[str, ...] | None = None,
        as_of_time_ns: int | None = None,
    ) -> QueryResult:
        """Reference data; the arguments are those of `RowQuery` and `query_rows`."""
        query = RowQuery(symbol, exchange, start_time_ns, end_time_ns, limit, after, columns)
        return self._query_one(REFERENCE_DATA, query, snapshot_id, as_of_time_ns, time_limit_seconds)

    def query_rows(
        self,
        data_type: str,
        queries: Sequence[RowQuery],
        *,
        snapshot_id: int | None = None,
        as_of_time_ns: int | None = None,
        time_limit_seconds: float | None = None,
        pool_wait_seconds: float | None = None,
    ) -> tuple[QueryResult, ...]:
        """Answer several queries on one connection, from one snapshot and within one time limit.

        Args:
            data_type: trades, quotes or reference_data.
            queries: answered in this order.
            snapshot_id: the snapshot to read; None reads the current one.
            as_of_time_ns: read the snapshot that was current at this time, ns since epoch UTC, instead.
            time_limit_seconds: for all of it; None takes the one of the settings.
            pool_wait_seconds: how long to wait for a connection, within the time limit; None takes the pool's own.
        """
        record_type = record_type_of(data_type)
        check_queries(record_type, queries, snapshot_id, as_of_time_ns)
        with self._limited(data_type, time_limit_seconds) as deadline:
            plans = self._plans(record_type, queries, snapshot_id, as_of_time_ns, deadline)
            tables = self._fetch(
                plans,
                lambda number, paths: select_rows(record_type, paths, queries[number]),
                deadline,
                pool_wait_seconds,
            )
            return tuple(
                page_of(plan, query, rows, table_schema(record_type))
                for plan, query, rows in zip(plans, queries, tables, strict=True)
            )

    def stream_rows(
        self,
        data_type: str,
        query: RowQuery,
        *,
        snapshot_id: int | None = None,
        as_of_time_ns: int | None = None,
        total_limit: int | None = None,
        time_limit_seconds: float | None = None,
    ) -> Iterator[QueryResult]:
        """Every row of a query, page by page in order, all from one snapshot; memory does not grow with the answer.

        A page is a query of its own: it has the time limit to itself, and no connection is held between two pages,
        however slowly they are taken.

        Args:
            data_type: trades, quotes or reference_data.
            query: its limit is the size of a page.
            snapshot_id: the snapshot to read; None reads the one that is current at the first page.
            as_of_time_ns: read the snapshot that was current at this time, ns since epoch UTC, instead.
            total_limit: rows at most, of all pages; None for all.
            time_limit_seconds: of each page; None takes the one of the settings.
        """
        remaining = total_limit
        while remaining is None or remaining > 0:
            page = query if remaining is None else replace(query, limit=min(query.limit, remaining))
            (result,) = self.query_rows(
                data_type,
                [page],
                snapshot_id=snapshot_id,
                as_of_time_ns=as_of_time_ns,
                time_limit_seconds=time_limit_seconds,
            )
            yield result
            if result.next_position is None:
                return
            if remaining is not None:
                remaining -= result.rows.num_rows
            snapshot_id, as_of_time_ns = result.snapshot_id, None
            query = replace(query, after=result.next_position)

    def explain_rows(
        self,
        data_type: str,
        query: RowQuery,
        *,
        snapshot_id: int | None = None,
        as_of_time_ns: int | None = None,
        as_json: bool = False,
    ) -> QueryPlan:
        """Answer a query and say how it was done instead of what it found."""
        record_type = record_type_of(data_type)
        check_queries(record_type, [query], snapshot_id, as_of_time_ns)
        with self._limited(data_type, None) as deadline:
            (plan,) = self._plans(record_type, [query], snapshot_id, as_of_time_ns, deadline)
            text = ""
            if plan.paths:
                with (
                    self._source.local_files([plan], deadline.check) as (paths,),
                    self._connection(deadline, None) as connection,
                ):
                    statement = select_rows(record_type, paths, query)
                    text = connection.explain(statement.sql, statement.parameters, as_json=as_json)
        return QueryPlan(plan.snapshot_id, len(plan.paths), plan.snapshot_files, sum(plan.sizes_bytes), text)

    def get_symbols(
        self,
        data_type: str,
        exchange: str | None = None,
        *,
        time_limit_seconds: float | None = None,
        pool_wait_seconds: float | None = None,
    ) -> QueryResult:
        """Distinct instruments of a table: columns exchange, asset_class, symbol, ordered by them."""
        record_type = record_type_of(data_type)
        check_text("exchange", exchange)
        with self._limited("symbols", time_limit_seconds) as deadline:
            plan = self._source.plan(record_type.table, exchange=exchange)
            (rows,) = self._fetch(
                [plan], lambda _, paths: select_symbols(record_type, paths, exchange), deadline, pool_wait_seconds
            )
        schema = pa.schema([(name, pa.string()) for name in SYMBOL_COLUMNS])
        rows = schema.empty_table() if rows is None else rows
        return QueryResult(rows, plan.snapshot_id, plan.snapshot_time_ms, plan.table)

    def list_tables(self) -> tuple[str, ...]:
        """Identifiers of all tables."""
        return self._source.tables()

    def snapshots(self, data_type: str) -> tuple[TableSnapshot, ...]:
        """Every state of a table that can be read, oldest first."""
        return self._source.snapshots(record_type_of(data_type).table)

    def open_gaps(
        self, data_type: str, *, exchange: str | None = None, symbol: str | None = None
    ) -> tuple[OpenGap, ...]:
        """Sequence numbers that are missing as of the table's current snapshot."""
        check_text("exchange", exchange)
        check_text("symbol", symbol)
        return self._source.open_gaps(record_type_of(data_type).table, exchange=exchange, symbol=symbol)

    def newest_rows(self, data_type: str) -> tuple[NewestRows, ...]:
        """How new the table is, for each exchange that has ever had a row in it."""
        return self._source.newest_rows(record_type_of(data_type).table)

    def stop(self) -> None:
        """Interrupt every query, and from now on each that begins."""
        self._watchdog.stop()

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
            counted = self._fetch(plans, lambda _, paths: count_rows(paths), deadline, None)
            for plan, rows in zip(plans, counted, strict=True):
                tables[plan.table] = {
                    "rows": 0 if rows is None else rows.column("rows")[0].as_py(),
                    "snapshot_id": plan.snapshot_id,
                    "snapshot_time_ms": plan.snapshot_time_ms,
                }
        return {"pool": self._pool.statistics(), "tables": tables}

    def _query_one(
        self,
        record_type: RecordType,
        query: RowQuery,
        snapshot_id: int | None,
        as_of_time_ns: int | None,
        time_limit_seconds: float | None,
    ) -> QueryResult:
        (result,) = self.query_rows(
            record_type.data_type,
            [query],
            snapshot_id=snapshot_id,
            as_of_time_ns=as_of_time_ns,
            time_limit_seconds=time_limit_seconds,
        )
        return result

    def _plans(
        self,
        record_type: RecordType,
        queries: Sequence[RowQuery],
        snapshot_id: int | None,
        as_of_time_ns: int | None,
        deadline: Deadline,
    ) -> list[ReadPlan]:
        """One plan a query, all of the snapshot of the first."""
        plans: list[ReadPlan] = []
        for query in queries:
            starts = [query.start_time_ns, query.after.event_time_ns if query.after else None]
            plan = self._source.plan(
                record_type.table,
                exchange=query.exchange,
                symbol=query.symbol,
                start_time_ns=max((start for start in starts if start is not None), default=None),
                end_time_ns=query.end_time_ns,
                snapshot_id=snapshot_id,
                as_of_time_ns=as_of_time_ns,
            )
            plans.append(plan)
            if plan.snapshot_id is not None:
                snapshot_id, as_of_time_ns = plan.snapshot_id, None
            deadline.check()
        return plans

    def _fetch(
        self,
        plans: Sequence[ReadPlan],
        statement_of: Callable[[int, tuple[str, ...]], Statement],
        deadline: Deadline,
        pool_wait_seconds: float | None,
    ) -> list[pa.Table | None]:
        """What each plan's statement answers; None for plans without files.

        `statement_of` gets the plan's number and its files on this machine.
        """
        if not any(plan.paths for plan in plans):
            return [None for _ in plans]
        with (
            self._source.local_files(plans, deadline.check) as local,
            self._reading(plans, local),
            self._connection(deadline, pool_wait_seconds) as connection,
        ):
            tables: list[pa.Table | None] = []
            for number, paths in enumerate(local):
                deadline.check()
                statement = statement_of(number, paths) if paths else None
                tables.append(None if statement is None else connection.fetch(statement.sql, statement.parameters))
            return tables

    def _reading(self, plans: Sequence[ReadPlan], local: Sequence[tuple[str, ...]]) -> AbstractContextManager[None]:
        """Around reading: the object store's breaker where its own files are read; copies of them say nothing of it."""
        if all(plan.paths == paths for plan, paths in zip(plans, local, strict=True)):
            return self._object_store.guard(UnreadableFileError)
        return nullcontext()

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

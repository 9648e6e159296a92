"""Tables for the tests: Parquet files in a folder, each one commit, found by a small implementation of the port."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from k2.clock import SystemClock
from k2.errors import UnavailableError, UsageError
from k2.observability.freshness import NewestRows
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase
from k2.query.engine import QueryEngine
from k2.query.pool import DuckDBConnectionPool
from k2.records.definition import QUOTE, RECORD_TYPES, REFERENCE_DATA, TRADE, RecordType
from k2.records.schemas import table_schema
from k2.settings import QuerySettings
from k2.storage.plan import OpenGap, ReadPlan, TableSnapshot

FIRST_TIME_NS = 1_795_254_300_000_000_000
GAP = OpenGap("BINANCE", "BTCUSDT", 7, 9, "source")


class FileTableSource:
    """Table n of a folder is its sub-folder; file 000001.parquet is snapshot 1, and snapshot n holds files 1 to n."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.readable = True
        self.newest: dict[str, tuple[NewestRows, ...]] = {}

    def commit(self, record_type: RecordType, rows: pa.Table) -> int:
        """Write the next file; gives the snapshot id."""
        table_folder = self.folder / record_type.table
        table_folder.mkdir(parents=True, exist_ok=True)
        snapshot_id = len(list(table_folder.iterdir())) + 1
        pq.write_table(rows, table_folder / f"{snapshot_id:06}.parquet", row_group_size=1_000)
        return snapshot_id

    def tables(self) -> tuple[str, ...]:
        return tuple(record_type.table for record_type in RECORD_TYPES.values())

    def plan(
        self,
        table: str,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        start_time_ns: int | None = None,
        end_time_ns: int | None = None,
        snapshot_id: int | None = None,
        as_of_time_ns: int | None = None,
    ) -> ReadPlan:
        if not self.readable:
            raise UnavailableError("the catalog at sqlite:///secret-place does not answer")
        if as_of_time_ns is not None:
            # Snapshot n was committed n seconds after the epoch.
            committed = len(list((self.folder / table).glob("*.parquet")))
            snapshot_id = min(as_of_time_ns // 10**9, committed) or None
            if snapshot_id is None:
                return ReadPlan(table, None, None, ())
        paths = [str(path) for path in sorted((self.folder / table).glob("*.parquet"))]
        if snapshot_id is not None and not 1 <= snapshot_id <= len(paths):
            raise UsageError(f"table {table} has no snapshot {snapshot_id}")
        paths = paths[:snapshot_id]
        newest = len(paths) or None
        return ReadPlan(table, newest, newest and 1_000 * newest, tuple(paths), (), len(paths))

    @contextmanager
    def local_files(
        self, plans: Sequence[ReadPlan], keep_going: Callable[[], None]
    ) -> Iterator[tuple[tuple[str, ...], ...]]:
        keep_going()
        yield tuple(plan.paths for plan in plans)

    def snapshots(self, table: str) -> tuple[TableSnapshot, ...]:
        if not self.readable:
            raise UnavailableError("the catalog at sqlite:///secret-place does not answer")
        numbers = range(1, 1 + len(list((self.folder / table).glob("*.parquet"))))
        return tuple(
            TableSnapshot(n, n - 1 or None, n, 1_000 * n, "append", 1, None, is_current=n == numbers[-1])
            for n in numbers
        )

    def open_gaps(self, table: str, *, exchange: str | None = None, symbol: str | None = None) -> tuple[OpenGap, ...]:
        if table != TRADE.table or exchange not in (None, GAP.exchange) or symbol not in (None, GAP.symbol):
            return ()
        return (GAP,)

    def newest_rows(self, table: str) -> tuple[NewestRows, ...]:
        if not self.readable:
            raise UnavailableError("the catalog at sqlite:///secret-place does not answer")
        return self.newest.get(table, ())


@dataclass(frozen=True)
class Opened:
    """An engine over a folder, and what it is made of."""

    source: FileTableSource
    pool: DuckDBConnectionPool
    engine: QueryEngine
    metrics: Metrics


def open_engine(folder: Path, settings: QuerySettings | None = None) -> Opened:
    """An engine over the tables of a folder; close its pool."""
    settings = settings or QuerySettings(pool_size=2, threads=2, memory_limit="512MB")
    metrics, clock = Metrics(), SystemClock()
    source = FileTableSource(folder)
    pool = DuckDBConnectionPool(
        DuckDBDatabase(folder, settings), pool_size=settings.pool_size, metrics=metrics, clock=clock
    )
    return Opened(source, pool, QueryEngine(source, pool, settings, metrics, clock), metrics)


def trade_rows(count: int, *, first: int = 0, **columns: Any) -> pa.Table:
    """Trades one millisecond apart, alternating between two symbols; columns given replace the made ones."""
    made: dict[str, Sequence[Any]] = {
        "trade_id": [str(n) for n in range(first, first + count)],
        "price": [Decimal(n + 1) / 8 for n in range(first, first + count)],
        "quantity": [Decimal("0.0125")] * count,
        "side": ["BUY"] * count,
    }
    return _table(TRADE, {**_core(count, first, "trades"), **made, **columns})


def quote_rows(count: int, *, first: int = 0) -> pa.Table:
    """Quotes of which every second has no bid."""
    made: dict[str, Sequence[Any]] = {
        "quote_id": [None] * count,
        "bid_price": [None if n % 2 else Decimal("99.5") for n in range(count)],
        "bid_quantity": [None if n % 2 else Decimal(3) for n in range(count)],
        "ask_price": [Decimal("100.0000000001")] * count,
        "ask_quantity": [Decimal(5)] * count,
    }
    return _table(QUOTE, {**_core(count, first, "quotes"), **made})


def reference_rows(count: int) -> pa.Table:
    """One version of an instrument's reference data after the other, each with a finer tick."""
    made: dict[str, Sequence[Any]] = {
        "name": ["BHP Group Limited"] * count,
        "isin": ["AU000000BHP4"] * count,
        "currency": ["AUD"] * count,
        "tick_size": [Decimal(1).scaleb(-n) for n in range(count)],
        "lot_size": [Decimal(1)] * count,
        "listing_status": ["ACTIVE"] * count,
        "listed_at_ns": [-2_650_924_800 * 10**9] * count,
        "delisted_at_ns": [None] * count,
        "valid_from_ns": [FIRST_TIME_NS] * count,
    }
    core = {**_core(count, 0, "reference_data"), "exchange": ["ASX"] * count, "symbol": ["BHP"] * count}
    return _table(REFERENCE_DATA, {**core, **made})


def _core(count: int, first: int, data_type: str) -> dict[str, Sequence[Any]]:
    numbers = range(first, first + count)
    times_ns = [FIRST_TIME_NS + number * 1_000_000 for number in numbers]
    return {
        "session": ["s-1"] * count,
        "session_sequence": [number + 1 for number in numbers],
        "exchange": ["BINANCE"] * count,
        "symbol": ["ETHUSDT" if number % 2 else "BTCUSDT" for number in numbers],
        "asset_class": ["crypto"] * count,
        "event_time_ns": times_ns,
        "receive_time_ns": times_ns,
        "source_sequence": list(numbers),
        "venue": [None] * count,
        "conditions": [None] * count,
        "vendor_data": [[("stream", "a"), ("id", str(number))] for number in numbers],
        "topic": [f"market.crypto.{data_type}"] * count,
        "kafka_partition": [0] * count,
        "kafka_offset": list(numbers),
        "schema_id": [1] * count,
        "event_time": [time_ns // 1_000 for time_ns in times_ns],
        "receive_time": [time_ns // 1_000 for time_ns in times_ns],
        "sequence_event": ["IN_ORDER"] * count,
        "quality_flags": [0] * count,
    }


def _table(record_type: RecordType, columns: dict[str, Sequence[Any]]) -> pa.Table:
    schema = table_schema(record_type)
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)

"""What is asked of the engine and what it answers, as values."""

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from k2.errors import UsageError

DEFAULT_LIMIT = 1_000
LARGEST_LIMIT = 100_000
_INT64_LOWEST, _INT64_HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Position:
    """Where a row stands in the order of every answer: by event time, then by where in the log it came from.

    The topic is part of it because several topics feed one table, the session because a table may outlive a broker
    whose offsets then begin again.
    """

    event_time_ns: int
    kafka_partition: int
    kafka_offset: int
    topic: str
    session: str


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which rows of a table are wanted.

    Attributes:
        symbol: only this instrument.
        exchange: only this exchange.
        start_time_ns: event time at or after this, ns since epoch UTC.
        end_time_ns: event time before this, ns since epoch UTC.
        limit: rows at most, 1 to 100,000.
        after: only rows that follow this position, to go on where an earlier answer ended.
        columns: only these, in this order; None for all.
    """

    symbol: str | None = None
    exchange: str | None = None
    start_time_ns: int | None = None
    end_time_ns: int | None = None
    limit: int = DEFAULT_LIMIT
    after: Position | None = None
    columns: tuple[str, ...] | None = None

    def check(self, known_columns: Collection[str]) -> None:
        """Raise UsageError, naming the argument, for a value no table can be asked for.

        Args:
            known_columns: those of the table; any other is refused before the engine sees it.
        """
        if not 1 <= self.limit <= LARGEST_LIMIT:
            raise UsageError(f"limit must be between 1 and {LARGEST_LIMIT}, not {self.limit}")
        check_text("symbol", self.symbol)
        check_text("exchange", self.exchange)
        check_int64("start_time_ns", self.start_time_ns)
        check_int64("end_time_ns", self.end_time_ns)
        for name in self.columns or ():
            if name not in known_columns:
                raise UsageError(f"there is no column {name!r:.60}; there are {', '.join(known_columns)}")
        if self.columns is not None and not 0 < len(self.columns) == len(set(self.columns)):
            raise UsageError("columns must name at least one column, and each only once")
        if self.after is not None:
            check_int64("after", self.after.event_time_ns)
            check_int64("after", self.after.kafka_partition)
            check_int64("after", self.after.kafka_offset)
            check_text("after", self.after.topic)
            check_text("after", self.after.session)


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """How a query was answered.

    Attributes:
        snapshot_id: the snapshot it read.
        files: how many data files it was given.
        snapshot_files: how many the snapshot has.
        files_bytes: size of those it was given, together; 0 where that is not known.
        text: DuckDB's plan after the fact: filters, columns, files and row groups read.
    """

    snapshot_id: int | None
    files: int
    snapshot_files: int
    files_bytes: int
    text: str


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows and the snapshot they were read from.

    Attributes:
        rows: columns as in k2.records.schemas.table_schema or those asked for, ordered by `Position`; for symbols see
            `get_symbols`.
        snapshot_id: None for a table that was never written.
        snapshot_time_ms: when the snapshot was committed, ms since epoch UTC.
        table: Iceberg identifier.
        next_position: ask again with `after` set to it for the rows that follow; None when there are none.
    """

    rows: pa.Table
    snapshot_id: int | None
    snapshot_time_ms: int | None
    table: str
    next_position: Position | None = None


def check_text(name: str, value: str | None) -> None:
    """Raise UsageError for text that has no UTF-8 form."""
    if value is not None:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{name} holds a lone surrogate, which is not text") from error


def check_int64(name: str, value: int | None) -> None:
    """Raise UsageError for a number that no column can hold."""
    if value is not None and not _INT64_LOWEST <= value <= _INT64_HIGHEST:
        raise UsageError(f"{name} does not fit 64 bits: {value}")

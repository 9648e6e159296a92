"""What is asked of the engine and what it answers, as values."""

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
    """

    symbol: str | None = None
    exchange: str | None = None
    start_time_ns: int | None = None
    end_time_ns: int | None = None
    limit: int = DEFAULT_LIMIT
    after: Position | None = None

    def check(self) -> None:
        """Raise UsageError, naming the argument, for a value no table can be asked for."""
        if not 1 <= self.limit <= LARGEST_LIMIT:
            raise UsageError(f"limit must be between 1 and {LARGEST_LIMIT}, not {self.limit}")
        check_text("symbol", self.symbol)
        check_text("exchange", self.exchange)
        check_int64("start_time_ns", self.start_time_ns)
        check_int64("end_time_ns", self.end_time_ns)
        if self.after is not None:
            check_int64("after", self.after.event_time_ns)
            check_int64("after", self.after.kafka_partition)
            check_int64("after", self.after.kafka_offset)
            check_text("after", self.after.topic)
            check_text("after", self.after.session)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows and the snapshot they were read from.

    Attributes:
        rows: columns as in k2.records.schemas.table_schema, ordered by `Position`; for symbols see `get_symbols`.
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

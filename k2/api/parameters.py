"""What requests may ask, and the limits of each value. Unknown names are refused."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator

from k2.api.cursor import Cursor
from k2.api.timestamps import EARLIEST_NS, LATEST_NS, parse_time_ns
from k2.query.result import DEFAULT_LIMIT, RowQuery

LARGEST_PAGE = 10_000
MOST_BULK_QUERIES = 100
MOST_BULK_ROWS = 100_000
LISTED_SNAPSHOTS = 100
MOST_LISTED_SNAPSHOTS = 1_000

CURSOR_FORMAT = "k2-cursor"
"""What next_cursor is, in the OpenAPI document."""

DataType = Literal["trades", "quotes", "reference_data"]

# Whole numbers beyond it have lost digits on their way through a JSON float.
_LARGEST_EXACT_FLOAT = 2**53


def _whole(value: object) -> object:
    """JSON knows no integers: 5.0 is one as much as 5, as long as no digit can be lost."""
    is_exact = isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT_FLOAT
    return int(value) if is_exact else value  # type: ignore[call-overload]


TimeNs = Annotated[
    int,
    BeforeValidator(parse_time_ns),
    BeforeValidator(_whole),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "integer", "format": "int64", "minimum": EARLIEST_NS, "maximum": LATEST_NS},
            ]
        }
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=128)]
SnapshotId = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_whole)]
Limit = Annotated[int, Field(ge=1, le=LARGEST_PAGE), BeforeValidator(_whole)]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Selection(_Parameters):
    symbol: Name | None = Field(None, description="Only this instrument.", examples=["BTCUSDT"])
    exchange: Name | None = Field(None, description="Only this exchange.", examples=["BINANCE"])
    start_time: TimeNs | None = Field(
        None, description="Event time at or after this.", examples=["2026-11-21T09:45:00Z"]
    )
    end_time: TimeNs | None = Field(None, description="Event time before this.", examples=["2026-11-21T09:46:00Z"])
    limit: Limit = Field(DEFAULT_LIMIT, description="Rows at most.")

    @field_validator("end_time")
    @classmethod
    def _is_not_before_the_start(cls, end_time_ns: int | None, info: ValidationInfo) -> int | None:
        start_time_ns = info.data.get("start_time")
        if start_time_ns is not None and end_time_ns is not None and end_time_ns < start_time_ns:
            raise ValueError("end_time is before start_time")
        return end_time_ns


class RowParameters(_Selection):
    """Query parameters of /v1/trades, /v1/quotes and /v1/reference."""

    snapshot_id: SnapshotId | None = Field(None, description="Read this snapshot instead of the current one.")
    # No example of it: beside one of snapshot_id it would be refused.
    as_of_time: TimeNs | None = Field(None, description="Read the snapshot that was current then; a time as above.")
    cursor: Annotated[str, Field(max_length=1_024)] | None = Field(
        None, description="next_cursor of the page before.", json_schema_extra={"format": CURSOR_FORMAT}
    )

    @field_validator("as_of_time")
    @classmethod
    def _is_the_only_choice(cls, as_of_time_ns: int | None, info: ValidationInfo) -> int | None:
        if as_of_time_ns is not None and info.data.get("snapshot_id") is not None:
            raise ValueError("snapshot_id names the snapshot already")
        return as_of_time_ns

    @field_validator("cursor")
    @classmethod
    def _was_made_here(cls, cursor: str | None, info: ValidationInfo) -> str | None:
        if cursor is not None:
            decoded, wanted = Cursor.decode(cursor), info.data.get("snapshot_id")
            if wanted is not None and decoded.snapshot_id != wanted:
                raise ValueError("the cursor belongs to another snapshot than snapshot_id")
        return cursor

    def chosen(self) -> "Chosen":
        """What to read (a cursor stays with the snapshot it began in) and what to ask of it."""
        if self.cursor is None:
            return Chosen(self.snapshot_id, self.as_of_time, _row_query(self))
        cursor = Cursor.decode(self.cursor)
        return Chosen(cursor.snapshot_id, None, _row_query(self, cursor))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows a request wants.

    Attributes:
        snapshot_id: of this snapshot; None for the current one, or as_of_time_ns.
        as_of_time_ns: of the snapshot that was current then, ns since epoch UTC.
        query: which rows.
    """

    snapshot_id: int | None
    as_of_time_ns: int | None
    query: RowQuery


class BulkQuery(_Selection):
    """One question of a bulk request."""

    # JSON has numbers of its own: text that looks like one is refused.
    model_config = ConfigDict(strict=True)

    def row_query(self) -> RowQuery:
        """What to ask of the table."""
        return _row_query(self)


class BulkRequest(_Parameters):
    """Body of POST /v1/trades/query."""

    model_config = ConfigDict(strict=True)

    queries: list[BulkQuery] = Field(min_length=1, max_length=MOST_BULK_QUERIES)
    snapshot_id: SnapshotId | None = Field(None, description="Read this snapshot instead of the current one.")

    @field_validator("queries")
    @classmethod
    def _fit_one_answer(cls, queries: list[BulkQuery]) -> list[BulkQuery]:
        rows = sum(query.limit for query in queries)
        if rows > MOST_BULK_ROWS:
            raise ValueError(f"the limits add up to {rows} rows, over {MOST_BULK_ROWS}")
        return queries


class SymbolParameters(_Parameters):
    """Query parameters of /v1/symbols."""

    data_type: DataType = Field(description="Whose symbols.")
    exchange: Name | None = Field(None, description="Only this exchange.", examples=["BINANCE"])


class SnapshotParameters(_Parameters):
    """Query parameters of /v1/snapshots."""

    data_type: DataType = Field(description="Whose snapshots.")
    limit: int = Field(LISTED_SNAPSHOTS, ge=1, le=MOST_LISTED_SNAPSHOTS, description="Snapshots at most.")


class GapParameters(_Parameters):
    """Query parameters of /v1/gaps."""

    data_type: DataType = Field(description="Whose gaps.")
    exchange: Name | None = Field(None, description="Only this exchange.", examples=["BINANCE"])
    symbol: Name | None = Field(None, description="Only this instrument.", examples=["BTCUSDT"])


def _row_query(selection: _Selection, cursor: Cursor | None = None) -> RowQuery:
    values: dict[str, Any] = {
        "symbol": selection.symbol,
        "exchange": selection.exchange,
        "start_time_ns": selection.start_time,
        "end_time_ns": selection.end_time,
        "limit": selection.limit,
    }
    return RowQuery(**values, after=None if cursor is None else cursor.position)

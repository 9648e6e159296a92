"""What the query engine needs of storage: which files hold the answer, and nothing about how they are found."""

from dataclasses import dataclass
from typing import Protocol

from k2.observability.freshness import NewestRows


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The files one query must read.

    Attributes:
        table: Iceberg identifier.
        snapshot_id: the snapshot the plan was made from; None for a table without one.
        snapshot_time_ms: when it was committed, ms since epoch UTC.
        paths: local Parquet files, pruned by partition and column bounds; rows still have to be filtered.
    """

    table: str
    snapshot_id: int | None
    snapshot_time_ms: int | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenGap:
    """Sequence numbers that were skipped and have not arrived yet, both ends included.

    `tracker` says whose numbers: "source" the exchange's own, "session" those the feed counts (a loss inside K2).
    """

    exchange: str
    symbol: str
    first_missing: int
    last_missing: int
    tracker: str


class TableSource(Protocol):
    """Read side of the storage package."""

    def plan(
        self,
        table: str,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        start_time_ns: int | None = None,
        end_time_ns: int | None = None,
        snapshot_id: int | None = None,
    ) -> ReadPlan:
        """Files that may hold matching rows; start is inclusive, end exclusive, both on event time."""

    def tables(self) -> tuple[str, ...]:
        """Identifiers of all tables."""

    def open_gaps(self, table: str, *, exchange: str | None = None, symbol: str | None = None) -> tuple[OpenGap, ...]:
        """Open gaps as of the table's current snapshot."""

    def newest_rows(self, table: str) -> tuple[NewestRows, ...]:
        """How new the table is, for each exchange that has ever had a row in it."""

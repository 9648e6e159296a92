"""What the query engine needs of storage: which files hold the answer, and nothing about how they are found."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
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
        paths: Parquet files, pruned by partition and column bounds; rows still have to be filtered. Where the
            warehouse is not on this machine they are addresses, and `TableSource.local_files` fetches them.
        sizes_bytes: of each of them; empty where the source does not know.
        snapshot_files: how many files the snapshot has before pruning.
    """

    table: str
    snapshot_id: int | None
    snapshot_time_ms: int | None
    paths: tuple[str, ...]
    sizes_bytes: tuple[int, ...] = ()
    snapshot_files: int = 0


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """One state of a table that can still be read.

    Attributes:
        snapshot_id: names it.
        parent_id: the state it was made from; None for the first.
        sequence_number: rises with every commit.
        committed_time_ms: ms since epoch UTC.
        operation: append, overwrite, replace or delete.
        added_records: rows its commit brought.
        total_records: rows it holds; None where its writer did not say.
        is_current: whether queries that name no snapshot read it.
    """

    snapshot_id: int
    parent_id: int | None
    sequence_number: int
    committed_time_ms: int
    operation: str
    added_records: int
    total_records: int | None
    is_current: bool


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
        as_of_time_ns: int | None = None,
    ) -> ReadPlan:
        """Files that may hold matching rows; start is inclusive, end exclusive, both on event time.

        The snapshot is the named one, or the one that was current at `as_of_time_ns`, or the current one.
        """

    def local_files(
        self, plans: Sequence[ReadPlan], keep_going: Callable[[], None]
    ) -> AbstractContextManager[tuple[tuple[str, ...], ...]]:
        """The files of each plan on this machine, there until the block ends.

        `keep_going` is called between pieces of a download and raises to give it up.
        """

    def snapshots(self, table: str) -> tuple[TableSnapshot, ...]:
        """Every state of the table that can be read, oldest first."""

    def tables(self) -> tuple[str, ...]:
        """Identifiers of all tables."""

    def open_gaps(self, table: str, *, exchange: str | None = None, symbol: str | None = None) -> tuple[OpenGap, ...]:
        """Open gaps as of the table's current snapshot."""

    def newest_rows(self, table: str) -> tuple[NewestRows, ...]:
        """How new the table is, for each exchange that has ever had a row in it."""

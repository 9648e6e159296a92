"""How new a table is, kept in its own snapshots beside its progress: "k2.newest" in the summary.

    {"BINANCE": {"event_time_ns": 1, "receive_time_ns": 2, "committed_time_ns": 3}}

The latest event and receive time of any row are carried forward by their maximum, the time of the last commit that
brought rows of the exchange as it is. A rollback of the table rolls all of it back.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table.metadata import TableMetadata

from k2.errors import ProgressError
from k2.observability.freshness import NewestRows
from k2.storage.parquet import distinct_texts
from k2.storage.snapshots import current_property

NEWEST_PROPERTY = "k2.newest"
_TIMES = ("event_time_ns", "receive_time_ns", "committed_time_ns")


@dataclass(frozen=True, slots=True)
class NewestTimes:
    """The latest times among some rows of one exchange, ns since the Unix epoch, UTC."""

    event_time_ns: int
    receive_time_ns: int


def newest_times(rows: pa.Table) -> dict[str, NewestTimes]:
    """The latest times of each exchange.

    Args:
        rows: the table's columns (strings may be dictionary-encoded), any number of rows.
    """
    found: dict[str, NewestTimes] = {}
    exchanges = rows.column("exchange")
    distinct = distinct_texts(exchanges)
    for exchange in distinct:
        chosen = rows if len(distinct) == 1 else rows.filter(pc.equal(exchanges, exchange))
        event, receive = (pc.max(chosen.column(name)).as_py() for name in ("event_time_ns", "receive_time_ns"))
        found[exchange] = NewestTimes(event, receive)
    return found


def carried_forward(
    before: Iterable[NewestRows], brought: Mapping[str, NewestTimes], committed_time_ns: int
) -> tuple[NewestRows, ...]:
    """What a table says after a commit that brings rows with these times."""
    after = {entry.exchange: entry for entry in before}
    for exchange, times in brought.items():
        known = after.get(exchange)
        after[exchange] = NewestRows(
            exchange,
            max(times.event_time_ns, known.event_time_ns if known else times.event_time_ns),
            max(times.receive_time_ns, known.receive_time_ns if known else times.receive_time_ns),
            committed_time_ns,
        )
    return tuple(after[exchange] for exchange in sorted(after))


def table_newest(metadata: TableMetadata) -> tuple[NewestRows, ...]:
    """How new the table is, for each exchange that has ever had a row in it; empty for a table without rows.

    Raises:
        ProgressError: what the table says of it cannot be understood.
    """
    text = current_property(metadata, NEWEST_PROPERTY)
    return () if text is None else newest_from_json(text)


def newest_to_json(newest: Iterable[NewestRows]) -> str:
    """Compact JSON for a snapshot summary."""
    document = {entry.exchange: {name: getattr(entry, name) for name in _TIMES} for entry in newest}
    return json.dumps(document, separators=(",", ":"))


def newest_from_json(text: str) -> tuple[NewestRows, ...]:
    """Read what `newest_to_json` wrote.

    Raises:
        ProgressError: the text is damaged.
    """
    try:
        return tuple(
            NewestRows(exchange, *(_whole_number(times[name]) for name in _TIMES))
            for exchange, times in json.loads(text).items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProgressError(
            f"what the table says of its newest rows cannot be read ({error}): roll the table back to its last good "
            "snapshot"
        ) from error


def _whole_number(value: object) -> int:
    # A number that had to be converted would be a guess.
    if type(value) is int:
        return value
    raise ValueError(f"{value!r:.60} is no whole number")

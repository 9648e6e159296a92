"""Whether the tables still get new rows: what /health says of it and /metrics shows.

What was read of the tables is kept, and everything else is computed against the clock when it is asked for. So a number
grows while nothing comes, and also while the catalog does not answer.

An exchange is stale in a table once no row of it was committed for longer than the limit. That goes by the consumer's
clock, not by what records say of themselves: a recording that is played again is old and yet not silent. The age of
the newest record is shown beside it. What has never come at all is said to be so, and is no alarm. Reference data is
shown and never stale: it comes once a day, or when something changes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from k2.clock import Clock
from k2.observability.freshness import NewestRows
from k2.observability.metrics import Metrics
from k2.query.engine import QueryEngine
from k2.records.definition import RECORD_TYPES

FRESH, STALE, NEVER = "fresh", "stale", "never"


@dataclass(frozen=True, slots=True)
class FreshnessReport:
    """Freshness at one moment.

    Attributes:
        stale: each stale exchange in words, "trades of BINANCE: no row for 412 s".
        tables: by data type and exchange, as /health shows them.
    """

    stale: tuple[str, ...]
    tables: Mapping[str, Mapping[str, Mapping[str, Any]]]


class TableFreshness:
    """How new the tables are; safe to share between threads.

    Args:
        engine: reads the tables.
        clock: says what is now.
        limit_seconds: how long an exchange may be silent.
        metrics: shows k2_table_freshness_seconds and k2_table_silence_seconds.
    """

    def __init__(self, engine: QueryEngine, clock: Clock, limit_seconds: float, metrics: Metrics) -> None:
        self._engine = engine
        self._clock = clock
        self._limit_seconds = limit_seconds
        # Replaced as a whole, so that nobody sees half of it.
        self._newest: Mapping[str, tuple[NewestRows, ...]] = {}
        metrics.compute("k2_table_freshness_seconds", lambda: self._samples(NewestRows.age_seconds))
        metrics.compute("k2_table_silence_seconds", lambda: self._samples(NewestRows.silence_seconds))

    def look(self) -> None:
        """Read the tables anew.

        Raises:
            UnavailableError: the catalog does not answer; what was read before stays.
            ProgressError: what a table says of its newest rows cannot be understood.
        """
        self._newest = {data_type: self._engine.newest_rows(data_type) for data_type in RECORD_TYPES}

    def report(self) -> FreshnessReport:
        """What is fresh and what is not, as of now."""
        now_ns = self._clock.wall_ns()
        newest = self._newest
        exchanges = sorted({entry.exchange for entries in newest.values() for entry in entries})
        stale: list[str] = []
        tables: dict[str, dict[str, Mapping[str, Any]]] = {}
        for data_type, entries in newest.items():
            shown = tables[data_type] = {exchange: {"status": NEVER} for exchange in exchanges}
            for entry in entries:
                is_stale = RECORD_TYPES[data_type].is_continuous and self._is_silent(entry, now_ns)
                shown[entry.exchange] = {"status": STALE if is_stale else FRESH, **_described(entry, now_ns)}
                if is_stale:
                    stale.append(f"{data_type} of {entry.exchange}: {_silence(entry.silence_seconds(now_ns))}")
        return FreshnessReport(tuple(stale), tables)

    def _is_silent(self, entry: NewestRows, now_ns: int) -> bool:
        # Ahead of this clock by more than the limit: how long it has been silent cannot be told.
        return abs(entry.silence_seconds(now_ns)) > self._limit_seconds

    def _samples(self, measure: Callable[[NewestRows, int], float]) -> Iterator[tuple[Mapping[str, str], float]]:
        now_ns = self._clock.wall_ns()
        for data_type, entries in self._newest.items():
            for entry in entries:
                yield {"data_type": data_type, "exchange": entry.exchange}, measure(entry, now_ns)


def _described(entry: NewestRows, now_ns: int) -> Mapping[str, Any]:
    return {
        "silence_seconds": round(entry.silence_seconds(now_ns), 3),
        "age_seconds": round(entry.age_seconds(now_ns), 3),
        "newest_event_time_ns": entry.event_time_ns,
        "newest_receive_time_ns": entry.receive_time_ns,
    }


def _silence(seconds: float) -> str:
    if seconds < 0:
        return f"its consumer's clock is {-seconds:.0f} s ahead"
    return f"no row for {seconds:.0f} s"

"""What each level sheds, as a table, and the counting of it. Nothing is shed that is not in the table or not counted.

Records are never shed here: a consumer takes every message into its table or keeps it as a dead letter at every level.
What a producer does with records that the broker does not take is told in docs/producer.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

from k2.resilience.circuit_breaker import Recorder
from k2.resilience.degradation import Level, LevelReport
from k2.resilience.signals import Component

LARGEST_PAGE_ROWS = 1_000
MOST_BULK_QUERIES = 10
WIDEST_WINDOW_SECONDS = 3_600

LARGE_PAGES, WIDE_QUERIES, LARGE_BULK = "large_pages", "wide_queries", "large_bulk"
BULK, LISTINGS, UNBOUNDED_QUERIES = "bulk", "listings", "unbounded_queries"
REQUESTS, RECORD_AGE, BATCHES = "requests", "record_age", "batches"


@dataclass(frozen=True, slots=True)
class Shed:
    """One kind of work that is shed.

    Attributes:
        component: who does it.
        level: from this level on.
        what: its name, the `what` label of k2_shed_total.
        effect: what becomes of it.
    """

    component: Component
    level: Level
    what: str
    effect: str


SHEDS = (
    Shed(
        Component.API,
        Level.DEGRADED,
        LARGE_PAGES,
        f"a `limit` above {LARGEST_PAGE_ROWS:,} is lowered to it; `next_cursor` leads to the rest, so nothing is lost",
    ),
    Shed(
        Component.API,
        Level.DEGRADED,
        WIDE_QUERIES,
        f"rows of all symbols over more than {WIDEST_WINDOW_SECONDS // 3600} h, or without both times, are refused",
    ),
    Shed(
        Component.API,
        Level.DEGRADED,
        LARGE_BULK,
        f"bulk requests of more than {MOST_BULK_QUERIES} queries are refused",
    ),
    Shed(Component.API, Level.CRITICAL, BULK, "every bulk request is refused"),
    Shed(Component.API, Level.CRITICAL, LISTINGS, "/v1/symbols and /v1/gaps are refused"),
    Shed(
        Component.API,
        Level.CRITICAL,
        UNBOUNDED_QUERIES,
        "rows are given of one symbol within a window of at most "
        f"{WIDEST_WINDOW_SECONDS // 3600} h; every other query for rows is refused",
    ),
    Shed(
        Component.API,
        Level.SHUTDOWN,
        REQUESTS,
        "everything under /v1 is refused before its body is read; /health says not ready; /metrics goes on",
    ),
    Shed(
        Component.CONSUMER,
        Level.CRITICAL,
        RECORD_AGE,
        "k2_consumer_lag_seconds is left out: it reads the table's metadata at every scrape",
    ),
    Shed(
        Component.CONSUMER,
        Level.SHUTDOWN,
        BATCHES,
        "no further batch is begun: the process ends with exit code 75 between two batches and is started again",
    ),
)
_LEVELS = {(shed.component, shed.what): shed.level for shed in SHEDS}


class Shedding:
    """What one process sheds now; safe to share between threads.

    Args:
        component: whose part of the table holds.
        report: the level now.
        metrics: receives k2_shed_total.
    """

    def __init__(self, component: Component, report: Callable[[], LevelReport], metrics: Recorder) -> None:
        self._component = component
        self._report = report
        self._metrics = metrics

    @property
    def level(self) -> Level:
        """The level now."""
        return self._report().level

    def sheds(self, what: str) -> bool:
        """Whether a kind of work is to be shed now.

        Raises:
            KeyError: it is not in the table, so it never may.
        """
        return self.level >= _LEVELS[self._component, what]

    def count(self, what: str) -> None:
        """Count one piece of work that was shed."""
        self._metrics.increment("k2_shed_total", {"what": what, "level": self.level.name})

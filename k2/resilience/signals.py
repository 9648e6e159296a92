"""What the levels follow from: the signals, who has them, and how far each may take it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from k2.clock import Clock
from k2.resilience.degradation import Level, Threshold
from k2.settings import DegradationSettings, LevelBands


class Component(StrEnum):
    """A process that has a level; the values are the `component` label of the metrics."""

    API = "api"
    CONSUMER = "consumer"


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal; its bands are the entry of the same name in DegradationSettings.

    Attributes:
        name: as it is called in settings, metrics and /health.
        meaning: what the number is.
        most: who has it, and the most severe level it can demand there.
    """

    name: str
    meaning: str
    most: dict[Component, Level]


DEPENDENCY_AWAY, POOL_BUSY, POOL_REJECTIONS = "dependency_away_seconds", "pool_busy_share", "pool_rejections"
LAG, STALL, MEMORY = "lag_messages", "stall_seconds", "memory_share"

SIGNALS = (
    Signal(
        DEPENDENCY_AWAY,
        "for how long the breaker of a dependency has not been closed; of several the longest",
        # A consumer that ended would only be started again, and wait for the same dependency.
        {Component.API: Level.SHUTDOWN, Component.CONSUMER: Level.CRITICAL},
    ),
    Signal(
        POOL_BUSY,
        "share of the query connections in use; the lowest seen within the window",
        {Component.API: Level.SHUTDOWN},
    ),
    Signal(
        POOL_REJECTIONS,
        "requests within the window that found no query connection in time",
        {Component.API: Level.SHUTDOWN},
    ),
    Signal(
        LAG,
        "messages in the log that are not in the table; the lowest seen within the window",
        # Ending would make it worse.
        {Component.CONSUMER: Level.CRITICAL},
    ),
    Signal(
        STALL,
        "for how long the table has taken nothing in although messages wait",
        {Component.CONSUMER: Level.CRITICAL},
    ),
    Signal(
        MEMORY,
        "resident memory as a share of what the process may use",
        {Component.API: Level.SHUTDOWN, Component.CONSUMER: Level.SHUTDOWN},
    ),
)


def thresholds_of(component: Component, settings: DegradationSettings) -> tuple[Threshold, ...]:
    """Every reason for a level that a component has."""
    return tuple(
        Threshold(signal.name, level, *band)
        for signal in SIGNALS
        for level in (Level.DEGRADED, Level.CRITICAL, Level.SHUTDOWN)
        if level <= signal.most.get(component, Level.NOMINAL)
        and (band := getattr(_bands(settings, signal), level.name.lower())) is not None
    )


def _bands(settings: DegradationSettings, signal: Signal) -> LevelBands:
    bands: LevelBands = getattr(settings, signal.name)
    return bands


class SlidingWindow:
    """Numbers of the last seconds. Not safe to share between threads.

    Args:
        read: gives the number now.
        seconds: how far back it reaches.
        clock: measures that.
    """

    def __init__(self, read: Callable[[], float], seconds: float, clock: Clock) -> None:
        self._read = read
        self._window_ns = int(seconds * 1e9)
        self._clock = clock
        self._seen: deque[tuple[int, float]] = deque()
        self._first_look_ns = 0

    def lowest(self) -> float:
        """Look now; the lowest number within the window, 0 until it has been looked at for so long."""
        self._look()
        if self._seen[-1][0] - self._first_look_ns < self._window_ns:
            return 0.0
        return min(value for _, value in self._seen)

    def growth(self) -> float:
        """Look now; by how much the number has grown within the window."""
        self._look()
        return self._seen[-1][1] - self._seen[0][1]

    def _look(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if not self._seen:
            self._first_look_ns = now_ns
        self._seen.append((now_ns, self._read()))
        while self._seen[0][0] < now_ns - self._window_ns:
            self._seen.popleft()


class StallTimer:
    """For how long something has stood still that should move. Not safe to share between threads.

    Args:
        read: gives how far it has come, and how much is waiting.
        clock: measures the time.
    """

    def __init__(self, read: Callable[[], tuple[int, int]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._reached: int | None = None
        self._moved_at_ns = 0

    def seconds(self) -> float:
        """Look now; 0 while it moves or nothing waits."""
        reached, waiting = self._read()
        now_ns = self._clock.monotonic_ns()
        if reached != self._reached or waiting <= 0:
            self._reached, self._moved_at_ns = reached, now_ns
        return (now_ns - self._moved_at_ns) / 1e9

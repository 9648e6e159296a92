"""The four levels of service, and the rule by which they change. Pure: values and a clock in, a level out.

A signal is a number; a threshold says from which value on it demands a level, and at or below which other value it no
longer does. In between a threshold stays as it was, so a signal that swings inside its band changes nothing.

The level wanted is the most severe that any threshold demands. On the way up it is taken at once, on the way down one
step at a time, because load returns with each step. A level lasts at least `hold_seconds`, so however the signals
behave there is at most one change in that time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from k2.clock import Clock


class Level(IntEnum):
    """How much of its work a process does; the numbers are those of k2_degradation_level."""

    NOMINAL = 0
    DEGRADED = 1
    CRITICAL = 2
    SHUTDOWN = 3


@dataclass(frozen=True, slots=True)
class Threshold:
    """One reason for one level.

    Attributes:
        signal: whose value decides.
        level: what is demanded.
        enter: from this value on.
        leave: until the value has fallen to this one or below it.
    """

    signal: str
    level: Level
    enter: float
    leave: float


@dataclass(frozen=True, slots=True)
class LevelReport:
    """The level at one moment.

    Attributes:
        level: in force.
        reasons: why, each in words; empty for NOMINAL.
    """

    level: Level
    reasons: tuple[str, ...] = ()


class Degradation:
    """The level of one process. Not safe to share between threads.

    Args:
        thresholds: every reason for a level.
        hold_seconds: how long a level lasts at least.
        clock: measures it.
    """

    def __init__(self, thresholds: Iterable[Threshold], hold_seconds: float, clock: Clock) -> None:
        self._thresholds = tuple(thresholds)
        self._hold_ns = int(hold_seconds * 1e9)
        self._clock = clock
        self._demanding: set[Threshold] = set()
        self._level = Level.NOMINAL
        self._held_until_ns: int | None = None

    def step(self, values: Mapping[str, float]) -> LevelReport:
        """Look at the signals and change the level if that is due.

        Args:
            values: the signals' values now; one that is missing could not be read, and its thresholds stay as they are.
        """
        for threshold in self._thresholds:
            value = values.get(threshold.signal)
            if value is None:
                continue
            if value >= threshold.enter:
                self._demanding.add(threshold)
            elif value <= threshold.leave:
                self._demanding.discard(threshold)
        wanted = max((threshold.level for threshold in self._demanding), default=Level.NOMINAL)
        if wanted is not self._level and self._may_change():
            self._level = wanted if wanted > self._level else Level(self._level - 1)
            self._held_until_ns = self._clock.monotonic_ns() + self._hold_ns
        return LevelReport(self._level, self._reasons(values, wanted))

    def _may_change(self) -> bool:
        return self._held_until_ns is None or self._clock.monotonic_ns() >= self._held_until_ns

    def _reasons(self, values: Mapping[str, float], wanted: Level) -> tuple[str, ...]:
        if self._level is Level.NOMINAL:
            return ()
        given = [
            f"{threshold.signal} {_value(values, threshold)}: {threshold.level.name} from {threshold.enter:g} on, "
            f"until {threshold.leave:g}"
            for threshold in self._thresholds
            if threshold in self._demanding and threshold.level >= min(wanted, self._level)
        ]
        if wanted < self._level:
            given.append(f"held: it falls one level every {self._hold_ns / 1e9:g} s")
        return tuple(given)


def _value(values: Mapping[str, float], threshold: Threshold) -> str:
    value = values.get(threshold.signal)
    return "cannot be read" if value is None else f"is {value:.6g}"

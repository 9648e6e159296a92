"""What a partition's log makes of an empty state, by runs of numbers that are settled: they came, or were given up.

The holes between the runs of a key are what it waits for. This is the ruling of sequence_model.py once more, with what
a checkpoint holds of it: also the numbers before the first one, what was given up, and which keys are known at all.

Each record is judged twice. Its session number is known, and the record a repeat, if it came and nothing at or above it
was given up; session numbers never start over. What is no repeat and has a source number is judged by that. Both
trackers know a bounded number of keys: a new one takes the place of the one that was judged longest ago.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from conformance.checkers.sequence_model import (
    DUPLICATE,
    EVENTS,
    GAP,
    IN_ORDER,
    OUT_OF_ORDER,
    SESSION_RESET,
    TOO_OLD,
    Ruling,
)

SESSION, SOURCE = "session", "source"
DEFAULT_MAX_KEYS = 10_000
_LARGEST = 2**63 - 1
_COUNTS = {
    "in_order": IN_ORDER,
    "gaps": GAP,
    "out_of_order": OUT_OF_ORDER,
    "duplicates": DUPLICATE,
    "session_resets": SESSION_RESET,
    "too_old": TOO_OLD,
}

Key = tuple[str, ...]
Fields = dict[str, Any]
"""The columns of a checkpoint's row, without its key."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The ruling, and how many keys each tracker knows."""

    ruling: Ruling
    max_keys: int

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Limits":
        """Those of a header's parameter `sequence`, with the defaults where it is silent."""
        given = parameters.get("sequence", {})
        return cls(Ruling.of(parameters), int(given.get("max_keys", DEFAULT_MAX_KEYS)))


class KeyModel:
    """One key, number by number."""

    def __init__(self, number: int, ruling: Ruling, *, resets: bool) -> None:
        self._ruling = ruling
        self._resets = resets
        self._begin(number)
        self._lost = 0
        self._counts = {**dict.fromkeys(EVENTS, 0), IN_ORDER: 1}

    def take(self, number: int) -> None:
        """The next number of the key."""
        event = self._event(number)
        self._counts[event] += 1
        if event == SESSION_RESET:
            self._begin(number)
            return
        self._settle(number)
        while len(self._runs) - 1 > self._ruling.max_open_ranges:
            self._give_up_lowest()

    def knows(self, number: int) -> bool:
        """Whether the number came for certain."""
        position = self._run_of(number)
        return position is not None and (self._given_up is None or number > self._given_up)

    def fields(self) -> Fields:
        """What a checkpoint holds of the key, its place among the others left out."""
        holes = [(low[1] + 1, high[0] - 1) for low, high in pairwise(self._runs)]
        return {
            "first": self._first,
            "lowest": self._runs[0][0],
            "last": self._runs[-1][1],
            "highest_evicted": self._given_up,
            "total_messages": sum(self._counts.values()),
            **{name: self._counts[event] for name, event in _COUNTS.items()},
            "lost_in_evicted_ranges": self._lost,
            "open_ranges": [hole for hole in holes if hole[0] > self._first],
            "holes_before_first": [hole for hole in holes if hole[0] < self._first],
        }

    def _begin(self, number: int) -> None:
        self._first = number
        self._given_up: int | None = None
        self._runs = [[number, number]]

    def _event(self, number: int) -> str:
        last = self._runs[-1][1]
        if number > last:
            return IN_ORDER if number == last + 1 else GAP
        if number > self._first and self._run_of(number) is None:
            return OUT_OF_ORDER
        behind = last - number
        low_enough = number <= self._ruling.reset_highest_number and behind >= self._ruling.reset_lowest_distance
        if self._resets and low_enough:
            return SESSION_RESET
        return DUPLICATE if behind < self._ruling.duplicate_window else TOO_OLD

    def _run_of(self, number: int) -> int | None:
        position = bisect_right(self._runs, number, key=lambda run: run[0]) - 1
        return position if position >= 0 and number <= self._runs[position][1] else None

    def _settle(self, number: int) -> None:
        if self._run_of(number) is not None:
            return
        position = bisect_right(self._runs, number, key=lambda run: run[0])
        self._runs.insert(position, [number, number])
        # Runs that meet become one.
        for left in (position, position - 1):
            if 0 <= left < len(self._runs) - 1 and self._runs[left][1] + 1 == self._runs[left + 1][0]:
                self._runs[left][1] = self._runs.pop(left + 1)[1]

    def _give_up_lowest(self) -> None:
        low, high = self._runs[0], self._runs.pop(1)
        hole_first, hole_last = low[1] + 1, high[0] - 1
        if hole_first > self._first:
            self._lost = min(self._lost + hole_last - hole_first + 1, _LARGEST)
        self._given_up = hole_last if self._given_up is None else max(self._given_up, hole_last)
        low[1] = high[1]


class TrackerModel:
    """One of a partition's trackers.

    Attributes:
        judged: how many numbers it has judged.
    """

    def __init__(self, limits: Limits, *, resets: bool) -> None:
        self._limits = limits
        self._resets = resets
        self._keys: dict[Key, KeyModel] = {}
        self._arrivals: dict[Key, int] = {}
        self._positions: dict[Key, int] = {}
        self._arrived = 0
        self.judged = 0

    def take(self, key: Key, number: int) -> bool:
        """The next number; returns whether it was known to have come."""
        self.judged += 1
        known = key in self._keys and self._keys[key].knows(number)
        if key in self._keys:
            self._keys[key].take(number)
        else:
            while len(self._keys) >= self._limits.max_keys:
                oldest = min(self._positions, key=lambda one: self._positions[one])
                del self._keys[oldest], self._arrivals[oldest], self._positions[oldest]
            self._arrived += 1
            self._arrivals[key] = self._arrived
            self._keys[key] = KeyModel(number, self._limits.ruling, resets=self._resets)
        self._positions[key] = self.judged
        return known

    def rows(self) -> dict[Key, Fields]:
        """The rows of its checkpoint, by key."""
        return {
            key: {
                **model.fields(),
                "arrival_number": self._arrivals[key],
                "last_position": self._positions[key],
            }
            for key, model in self._keys.items()
        }


class PartitionModel:
    """Both trackers of a partition."""

    def __init__(self, limits: Limits) -> None:
        self.trackers = {SOURCE: TrackerModel(limits, resets=True), SESSION: TrackerModel(limits, resets=False)}

    def take(self, record: Mapping[str, Any]) -> None:
        """The next sound record of the log."""
        exchange, symbol = record["exchange"], record["symbol"]
        repeat = self.trackers[SESSION].take((record["session"], exchange, symbol), record["session_sequence"])
        if not repeat and record["source_sequence"] is not None:
            self.trackers[SOURCE].take((exchange, symbol), record["source_sequence"])

    def rows(self) -> dict[tuple[str, Key], Fields]:
        """The rows of the partition's checkpoint, by tracker and key."""
        return {(name, key): fields for name, one in self.trackers.items() for key, fields in one.rows().items()}

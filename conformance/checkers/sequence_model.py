"""The ruling on sequence numbers, by sets: slow, plain, and sharing nothing with the tracker it judges.

Of one key, `last` is the highest number seen, and a number between `floor` and `last` is open unless it was seen.
The tests, in this order: the first number is the baseline and IN_ORDER; last + 1 is IN_ORDER; beyond it is a GAP; an
open number is OUT_OF_ORDER; a low number far behind is a SESSION_RESET and the new baseline; a number a little behind
is a DUPLICATE; the rest are TOO_OLD. Where more ranges would be open than may be, the lowest is given up: `floor`
rises to its end and its numbers are lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

IN_ORDER = "IN_ORDER"
GAP = "GAP"
OUT_OF_ORDER = "OUT_OF_ORDER"
SESSION_RESET = "SESSION_RESET"
DUPLICATE = "DUPLICATE"
TOO_OLD = "TOO_OLD"
EVENTS = (IN_ORDER, GAP, OUT_OF_ORDER, SESSION_RESET, DUPLICATE, TOO_OLD)


@dataclass(frozen=True, slots=True)
class Ruling:
    """The numbers of the ruling; a run that sets others says so in the parameter `sequence` of its header."""

    reset_highest_number: int = 10
    reset_lowest_distance: int = 1_000
    duplicate_window: int = 128
    max_open_ranges: int = 1_024

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Ruling":
        """The ruling of a header's parameters, with the defaults where they are silent."""
        given = parameters.get("sequence", {})
        return cls(**{field.name: int(given[field.name]) for field in fields(cls) if field.name in given})


class SequenceModel:
    """The ruling for one key, number by number.

    Attributes:
        counts: how often each event was ruled.
        lost: numbers of ranges that were given up.
    """

    def __init__(self, ruling: Ruling) -> None:
        self._ruling = ruling
        self._seen: set[int] = set()
        self._floor = 0
        self._last = 0
        self._open_ranges = 0
        self.counts = dict.fromkeys(EVENTS, 0)
        self.lost = 0

    def judge(self, number: int) -> str:
        """The event of the next number to arrive."""
        event = self._event(number)
        self.counts[event] += 1
        if event == SESSION_RESET:
            self._seen = set()
            self._open_ranges = 0
        if not self._seen:
            self._floor = number
        if event == GAP:
            self._open_ranges += 1
        if event == OUT_OF_ORDER:
            self._open_ranges += self._is_open(number - 1) + self._is_open(number + 1) - 1
        if event in (SESSION_RESET, IN_ORDER, GAP):
            self._last = number
        self._seen.add(number)
        if self._open_ranges > self._ruling.max_open_ranges:
            self._give_up_lowest()
        return event

    def has_seen(self, number: int) -> bool:
        """Whether the number arrived since the numbering began, whatever was ruled."""
        return number in self._seen

    def is_settled(self, number: int) -> bool:
        """Whether the number lies above all that a bounded memory may have given up."""
        return number > self._floor

    def gaps(self) -> list[tuple[int, int]]:
        """The open ranges, both ends included, lowest first."""
        seen = [self._floor, *sorted(number for number in self._seen if number > self._floor)]
        return [(low + 1, high - 1) for low, high in pairwise(seen) if high > low + 1]

    def _event(self, number: int) -> str:
        if not self._seen or number == self._last + 1:
            return IN_ORDER
        if number > self._last:
            return GAP
        if self._is_open(number):
            return OUT_OF_ORDER
        behind = self._last - number
        if number <= self._ruling.reset_highest_number and behind >= self._ruling.reset_lowest_distance:
            return SESSION_RESET
        return DUPLICATE if behind < self._ruling.duplicate_window else TOO_OLD

    def _is_open(self, number: int) -> bool:
        return self._floor < number < self._last and number not in self._seen

    def _give_up_lowest(self) -> None:
        first = self._floor + 1
        while first in self._seen:
            first += 1
        last = min(number for number in self._seen if number > first) - 1
        self.lost += last - first + 1
        self._floor = last
        self._open_ranges -= 1

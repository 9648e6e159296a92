"""What a sequence number says about the messages around it: the ruling, as a plain reference model.

Each key (exchange and symbol) is judged alone. `first` is the number its numbering began with, `last` the highest seen.
A number n is judged by the first line that applies; the limits are in k2.settings.SequenceSettings:

    the key's first number                                     IN_ORDER       first = last = n
    n = last + 1                                               IN_ORDER       last = n
    n > last + 1                                               GAP            opens last+1 .. n-1; last = n
    n inside an open range                                     OUT_OF_ORDER   fills it, or splits it in two
    n <= reset_highest_number and
        last - n >= reset_lowest_distance                      SESSION_RESET  numbering begins anew: first = last = n
    last - n < duplicate_window                                DUPLICATE
    otherwise                                                  TOO_OLD

Open ranges are bounded per key. When there are more than max_open_ranges, after a gap or a split, the lowest is evicted
and its numbers are counted in lost_in_evicted_ranges. A session reset forgets the key's open ranges, which are not
counted there, and keeps every statistic.

Beside the event, each judgement says what is known of the number itself, before this arrival and within the current
numbering. DUPLICATE and TOO_OLD go by distance alone, so they do not prove that the number was seen:

    NEW       never seen: above `last`, in an open range, or older than `first` and not arrived before
    KNOWN     seen before
    UNKNOWN   at or below the highest evicted number, where seen and missing can no longer be told apart

To keep this exact, numbers older than `first` that arrive are remembered: `lowest` is the least number seen, and the
holes between `lowest` and `first` are ranges like the open ones. They are not gaps (nothing says those numbers were
ever meant for us), never change an event, and are always evicted before any gap. Their numbers are not counted as lost.

Keys are bounded too. A key that arrives where max_keys are known takes the place of the one whose last number lies
furthest back, of whatever key the numbers since were. Nothing of that one is kept: should it come again, it is a key
never seen. Which keys are known is so decided by the numbers and their order alone.

Whoever knows that a message is not the newest of its feed, as one that is sent again, says that it may not reset: then
the line on SESSION_RESET does not apply to it.

Not decided here: a number of the previous session that arrives after a reset is far above `last`, so it is a GAP; the
ruling cannot tell it from a real one. Numbers are signed 64-bit; lost_in_evicted_ranges stops at 2**63 - 1.

k2.ingestion.sequence_batch applies the same ruling to Arrow columns and agrees with this model result for result.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from threading import Lock
from typing import NamedTuple, TypedDict

from k2.settings import SequenceSettings

DEFAULT_SETTINGS = SequenceSettings()
LARGEST_COUNT = 2**63 - 1


class SequenceEvent(IntEnum):
    """The verdict on one number. The codes are stored in arrays: never renumber them."""

    IN_ORDER = 0
    GAP = 1
    OUT_OF_ORDER = 2
    DUPLICATE = 3
    SESSION_RESET = 4
    TOO_OLD = 5


class Knowledge(IntEnum):
    """Whether the number had been seen before it was judged. The codes are stored in arrays: never renumber them."""

    NEW = 0
    KNOWN = 1
    UNKNOWN = 2


class Judgement(NamedTuple):
    """What is said about one number: its event, and whether it had been seen before."""

    event: SequenceEvent
    seen: Knowledge


class SequenceStatistics(TypedDict):
    """Counts of one key since it was first seen, session resets included."""

    total_messages: int
    in_order: int
    gaps: int
    out_of_order: int
    duplicates: int
    session_resets: int
    too_old: int
    lost_in_evicted_ranges: int


def sequence_statistics(counts: Sequence[int], lost_in_evicted_ranges: int) -> SequenceStatistics:
    """Statistics from the number of judgements of each event, indexed by its code."""
    return SequenceStatistics(
        total_messages=sum(counts),
        in_order=counts[SequenceEvent.IN_ORDER],
        gaps=counts[SequenceEvent.GAP],
        out_of_order=counts[SequenceEvent.OUT_OF_ORDER],
        duplicates=counts[SequenceEvent.DUPLICATE],
        session_resets=counts[SequenceEvent.SESSION_RESET],
        too_old=counts[SequenceEvent.TOO_OLD],
        lost_in_evicted_ranges=lost_in_evicted_ranges,
    )


class SequenceTracker:
    """The reference model. Safe to call from several threads."""

    def __init__(self, settings: SequenceSettings = DEFAULT_SETTINGS) -> None:
        self._settings = settings
        # The key that is forgotten next comes first.
        self._states: OrderedDict[tuple[str, str], _KeyState] = OrderedDict()
        self._keys_forgotten = 0
        self._lock = Lock()

    def check_sequence(self, exchange: str, symbol: str, sequence: int) -> SequenceEvent:
        """Judge the next number of a key."""
        return self.judge(exchange, symbol, sequence).event

    def judge(self, exchange: str, symbol: str, sequence: int, may_reset: bool = True) -> Judgement:
        """Judge the next number of a key, and say whether it had been seen before.

        Args:
            exchange: first part of the key.
            symbol: second part of the key.
            sequence: the number.
            may_reset: whether it may begin the key's numbering anew.
        """
        key = (exchange, symbol)
        with self._lock:
            state = self._states.get(key)
            if state is not None:
                self._states.move_to_end(key)
                judgement = state.judge(sequence, may_reset, self._settings)
            else:
                self._make_room()
                state = self._states[key] = _KeyState(sequence, sequence, sequence)
                judgement = _IN_ORDER
            state.counts[judgement.event] += 1
            return judgement

    def seen_before(self, exchange: str, symbol: str, sequence: int) -> Knowledge:
        """Whether the number has been seen up to now, without judging it.

        After the number itself was judged the answer includes that arrival; `judge` gives the one before it.
        """
        with self._lock:
            state = self._states.get((exchange, symbol))
            return Knowledge.NEW if state is None else state.knowledge(sequence)

    def get_gaps(self, exchange: str, symbol: str) -> list[tuple[int, int]]:
        """Missing numbers as inclusive ranges, ascending; empty for a key that was never seen."""
        with self._lock:
            state = self._states.get((exchange, symbol))
            return [] if state is None else state.gaps()

    def get_statistics(self, exchange: str, symbol: str) -> SequenceStatistics:
        """Counts of the key; all zero for a key that was never seen."""
        with self._lock:
            state = self._states.get((exchange, symbol))
            if state is None:
                return sequence_statistics([0] * len(SequenceEvent), 0)
            return sequence_statistics(state.counts, state.lost)

    @property
    def keys_forgotten(self) -> int:
        """How often a key was forgotten."""
        return self._keys_forgotten

    def _make_room(self) -> None:
        while len(self._states) >= self._settings.max_keys:
            self._states.popitem(last=False)
            self._keys_forgotten += 1


@dataclass(slots=True)
class _KeyState:
    """One key. `unseen` holds ascending, disjoint, inclusive ranges: first the holes below `first`, then the gaps."""

    first: int
    lowest: int
    last: int
    unseen: list[tuple[int, int]] = field(default_factory=list)
    highest_evicted: int | None = None
    lost: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * len(SequenceEvent))

    def judge(self, number: int, may_reset: bool, settings: SequenceSettings) -> Judgement:
        if number == self.last + 1:
            self.last = number
            return _IN_ORDER
        if number > self.last:
            self.unseen.append((self.last + 1, number - 1))
            self._evict(settings)
            self.last = number
            return Judgement(SequenceEvent.GAP, Knowledge.NEW)
        position = self._position(number)
        if position is not None and number > self.first:
            self._fill(position, number, settings)
            return Judgement(SequenceEvent.OUT_OF_ORDER, Knowledge.NEW)
        distance = self.last - number
        far_behind = distance >= settings.reset_lowest_distance
        if may_reset and number <= settings.reset_highest_number and far_behind:
            self._restart(number)
            return Judgement(SequenceEvent.SESSION_RESET, Knowledge.NEW)
        seen = self.knowledge(number)
        if position is not None:
            self._fill(position, number, settings)
        elif number < self.lowest:
            self._extend_below(number, settings)
        event = SequenceEvent.DUPLICATE if distance < settings.duplicate_window else SequenceEvent.TOO_OLD
        return Judgement(event, seen)

    def knowledge(self, number: int) -> Knowledge:
        if not self.lowest <= number <= self.last or self._position(number) is not None:
            return Knowledge.NEW
        if self.highest_evicted is not None and number <= self.highest_evicted:
            return Knowledge.UNKNOWN
        return Knowledge.KNOWN

    def gaps(self) -> list[tuple[int, int]]:
        return [unseen for unseen in self.unseen if unseen[0] > self.first]

    def _position(self, number: int) -> int | None:
        """Index of the unseen range that holds the number."""
        position = bisect_right(self.unseen, number, key=lambda unseen: unseen[0]) - 1
        return position if position >= 0 and number <= self.unseen[position][1] else None

    def _fill(self, position: int, number: int, settings: SequenceSettings) -> None:
        first, last = self.unseen[position]
        left, right = (first, number - 1), (number + 1, last)
        self.unseen[position : position + 1] = [part for part in (left, right) if part[0] <= part[1]]
        self._evict(settings)

    def _extend_below(self, number: int, settings: SequenceSettings) -> None:
        if number + 1 < self.lowest:
            self.unseen.insert(0, (number + 1, self.lowest - 1))
        self.lowest = number
        self._evict(settings)

    def _evict(self, settings: SequenceSettings) -> None:
        while len(self.unseen) > settings.max_open_ranges:
            first, last = self.unseen.pop(0)
            if self.highest_evicted is None or last > self.highest_evicted:
                self.highest_evicted = last
            if first > self.first:
                self.lost = min(self.lost + last - first + 1, LARGEST_COUNT)

    def _restart(self, number: int) -> None:
        self.first = self.lowest = self.last = number
        self.unseen.clear()
        self.highest_evicted = None


_IN_ORDER = Judgement(SequenceEvent.IN_ORDER, Knowledge.NEW)

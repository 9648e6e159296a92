"""The ruling on sequences once more, from sets of numbers: every one that arrived, and every one given up."""

from itertools import chain

from k2.ingestion.sequence_batch import NOT_JUDGED, Key
from k2.ingestion.sequence_tracker import Judgement, Knowledge, SequenceEvent
from k2.settings import SequenceSettings
from tests.ingestion.sequence_rows import Row

IN_ORDER, GAP, OUT_OF_ORDER, DUPLICATE, SESSION_RESET, TOO_OLD = SequenceEvent
NEW, KNOWN, UNKNOWN = Knowledge


class Oracle:
    """The ruling for one key."""

    def __init__(self, sequence_settings: SequenceSettings) -> None:
        self._settings = sequence_settings
        self._first = 0
        self._arrived: set[int] = set()
        self._given_up: set[int] = set()
        self.lost = 0
        self.counts = dict.fromkeys(SequenceEvent, 0)

    def judge(self, number: int, may_reset: bool = True) -> Judgement:
        judgement = Judgement(self._event(number, may_reset), NEW)
        if judgement.event is SESSION_RESET or not self._arrived:
            self._arrived, self._given_up, self._first = set(), set(), number
        else:
            judgement = Judgement(judgement.event, self._knowledge(number))
        self._arrived.add(number)
        while len(ranges := self._unseen_ranges()) > self._settings.max_open_ranges:
            self._given_up.update(ranges[0])
            self.lost += len(ranges[0]) if ranges[0][0] > self._first else 0
        self.counts[judgement.event] += 1
        return judgement

    def gaps(self) -> list[tuple[int, int]]:
        return [(numbers[0], numbers[-1]) for numbers in self._unseen_ranges() if numbers[0] > self._first]

    def last(self) -> int:
        return max(self._arrived)

    def _event(self, number: int, may_reset: bool) -> SequenceEvent:
        if not self._arrived:
            return IN_ORDER
        behind = max(self._arrived) - number
        if behind < 0:
            return IN_ORDER if behind == -1 else GAP
        if any(first <= number <= last for first, last in self.gaps()):
            return OUT_OF_ORDER
        far_behind = behind >= self._settings.reset_lowest_distance
        if may_reset and number <= self._settings.reset_highest_number and far_behind:
            return SESSION_RESET
        return DUPLICATE if behind < self._settings.duplicate_window else TOO_OLD

    def _knowledge(self, number: int) -> Knowledge:
        if number < min(self._arrived) or number in chain.from_iterable(self._unseen_ranges()):
            return NEW
        if self._given_up and number <= max(self._given_up):
            return UNKNOWN
        return KNOWN if number in self._arrived else NEW

    def _unseen_ranges(self) -> list[list[int]]:
        ranges: list[list[int]] = []
        for number in range(min(self._arrived), max(self._arrived)):
            if number in self._arrived or number in self._given_up:
                continue
            if ranges and ranges[-1][-1] == number - 1:
                ranges[-1].append(number)
            else:
                ranges.append([number])
        return ranges


class BoundedOracle:
    """The bound once more, from the list of all keys that numbers came for."""

    def __init__(self, sequence_settings: SequenceSettings) -> None:
        self._settings = sequence_settings
        self._log: list[Key] = []
        self.known: dict[Key, Oracle] = {}
        self.arrival_numbers: dict[Key, int] = {}
        self.keys_forgotten = 0
        self.numbers_lost = 0

    def judge(self, row: Row) -> tuple[int, int]:
        if row.number is None:
            return NOT_JUDGED, NOT_JUDGED
        if row.key not in self.known:
            if len(self.known) == self._settings.max_keys:
                del self.known[min(self.known, key=self.last_position)]
                self.keys_forgotten += 1
            self.known[row.key] = Oracle(self._settings)
            self.arrival_numbers[row.key] = self.keys_forgotten + len(self.known)
        self._log.append(row.key)
        known = self.known[row.key]
        lost_before = known.lost
        judgement = known.judge(row.number, row.may_reset)
        self.numbers_lost += known.lost - lost_before
        return judgement

    def last_position(self, key: Key) -> int:
        return max(place for place, logged in enumerate(self._log, start=1) if logged == key)

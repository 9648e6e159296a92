"""The ruling on sequences once more, from sets of numbers: every one that arrived, and every one given up."""

from itertools import chain

from k2.ingestion.sequence_tracker import Judgement, Knowledge, SequenceEvent
from k2.settings import SequenceSettings

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

    def judge(self, number: int) -> Judgement:
        judgement = Judgement(self._event(number), NEW)
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

    def _event(self, number: int) -> SequenceEvent:
        if not self._arrived:
            return IN_ORDER
        behind = max(self._arrived) - number
        if behind < 0:
            return IN_ORDER if behind == -1 else GAP
        if any(first <= number <= last for first, last in self.gaps()):
            return OUT_OF_ORDER
        if number <= self._settings.reset_highest_number and behind >= self._settings.reset_lowest_distance:
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

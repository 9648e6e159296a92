"""The reference model of the ruling against sets of numbers: every number that arrived, and every number given up."""

import random
from collections.abc import Iterable
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.sequence_tracker import Judgement, Knowledge, SequenceEvent, SequenceTracker
from k2.settings import SequenceSettings

IN_ORDER, GAP, OUT_OF_ORDER, DUPLICATE, SESSION_RESET, TOO_OLD = SequenceEvent
NEW, KNOWN, UNKNOWN = Knowledge
SMALL = SequenceSettings(reset_highest_number=3, reset_lowest_distance=12, duplicate_window=4, max_open_ranges=2)


class Oracle:
    """The ruling once more, from sets: every number that arrived, and every number given up."""

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


def assert_model_follows_oracle(
    sequence_settings: SequenceSettings, numbers: Iterable[int]
) -> tuple[Oracle, set[Knowledge]]:
    oracle, tracker, knowledge = Oracle(sequence_settings), SequenceTracker(sequence_settings), set()
    for number in numbers:
        expected = oracle.judge(number)
        assert tracker.judge("ASX", "BHP", number) == expected
        assert tracker.get_gaps("ASX", "BHP") == oracle.gaps()
        knowledge.add(expected.seen)
    statistics = tracker.get_statistics("ASX", "BHP")
    assert statistics["lost_in_evicted_ranges"] == oracle.lost
    assert list(statistics.values())[1:-1] == [oracle.counts[event] for event in SequenceEvent]
    return oracle, knowledge


@given(
    numbers=st.lists(st.integers(-3, 30), min_size=5, max_size=60),
    max_open_ranges=st.integers(1, 4),
)
@settings(max_examples=300, deadline=None)
def test_the_model_agrees_with_sets_of_numbers(numbers: list[int], max_open_ranges: int) -> None:
    assert_model_follows_oracle(SMALL.model_copy(update={"max_open_ranges": max_open_ranges}), numbers)


def test_a_long_walk_reaches_every_verdict_and_agrees_with_sets_of_numbers() -> None:
    chance, numbers = random.Random(20_240_607), [20]
    while len(numbers) < 3_000:
        number = max(numbers[-8:]) + chance.choice([1, 1, 1, 2, 3, -1, -2, -3, -6, -9, -20])
        numbers.append(chance.randint(1, 3) if number > 40 else number)
    oracle, knowledge = assert_model_follows_oracle(SMALL, numbers)
    assert min(oracle.counts.values()) > 10
    assert oracle.lost > 10
    assert knowledge == set(Knowledge)

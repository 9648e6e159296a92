"""The reference model of the ruling against sets of numbers: every number that arrived, and every number given up."""

import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.sequence_tracker import Knowledge, SequenceEvent, SequenceTracker
from k2.settings import SequenceSettings
from tests.ingestion.sequence_oracle import Oracle
from tests.ingestion.sequence_rows import SMALL


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

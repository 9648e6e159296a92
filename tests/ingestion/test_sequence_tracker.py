"""The ruling: its worked examples on both implementations, and the reference model under threads."""

import random
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import pyarrow as pa
import pytest

from k2.ingestion.sequence_batch import SequenceBatchResult, SequenceBatchTracker
from k2.ingestion.sequence_tracker import (
    LARGEST_COUNT,
    Judgement,
    Knowledge,
    SequenceEvent,
    SequenceStatistics,
    SequenceTracker,
)
from k2.settings import SequenceSettings

IN_ORDER, GAP, OUT_OF_ORDER, DUPLICATE, SESSION_RESET, TOO_OLD = SequenceEvent
NEW, KNOWN, UNKNOWN = Knowledge

NARROW = SequenceSettings(max_open_ranges=2)
LARGEST_NUMBER = 2**63 - 1


class Implementation(Protocol):
    """What both implementations can be asked."""

    def judge(self, numbers: Iterable[int], exchange: str = "ASX", symbol: str = "BHP") -> list[Judgement]:
        """Judge the numbers of one key in order."""

    def judge_without_reset(self, number: int) -> Judgement:
        """Judge a number of the one key that may not begin its numbering anew."""

    def gaps(self, exchange: str = "ASX", symbol: str = "BHP") -> list[tuple[int, int]]:
        """Open gaps of a key."""

    def statistics(self, exchange: str = "ASX", symbol: str = "BHP") -> SequenceStatistics:
        """Statistics of a key."""


class Model:
    def __init__(self, sequence_settings: SequenceSettings) -> None:
        self._tracker = SequenceTracker(sequence_settings)

    def judge(self, numbers: Iterable[int], exchange: str = "ASX", symbol: str = "BHP") -> list[Judgement]:
        return [self._tracker.judge(exchange, symbol, number) for number in numbers]

    def judge_without_reset(self, number: int) -> Judgement:
        return self._tracker.judge("ASX", "BHP", number, may_reset=False)

    def gaps(self, exchange: str = "ASX", symbol: str = "BHP") -> list[tuple[int, int]]:
        return self._tracker.get_gaps(exchange, symbol)

    def statistics(self, exchange: str = "ASX", symbol: str = "BHP") -> SequenceStatistics:
        return self._tracker.get_statistics(exchange, symbol)


def judgements(result: SequenceBatchResult) -> list[Judgement]:
    return [
        Judgement(SequenceEvent(event), Knowledge(seen))
        for event, seen in zip(result.events.tolist(), result.seen.tolist(), strict=True)
    ]


class Kernel:
    def __init__(self, sequence_settings: SequenceSettings) -> None:
        self._tracker = SequenceBatchTracker(sequence_settings)

    def judge(self, numbers: Iterable[int], exchange: str = "ASX", symbol: str = "BHP") -> list[Judgement]:
        column = pa.array(list(numbers), pa.int64())
        keys = [pa.array([part] * len(column)).dictionary_encode() for part in (exchange, symbol)]
        return judgements(self._tracker.check(keys, column))

    def judge_without_reset(self, number: int) -> Judgement:
        keys = [pa.array([part]).dictionary_encode() for part in ("ASX", "BHP")]
        result = self._tracker.check(keys, pa.array([number]), np.zeros(1, np.bool_))
        return judgements(result)[0]

    def gaps(self, exchange: str = "ASX", symbol: str = "BHP") -> list[tuple[int, int]]:
        return [(first, last) for key, first, last in self._tracker.open_gaps() if key == (exchange, symbol)]

    def statistics(self, exchange: str = "ASX", symbol: str = "BHP") -> SequenceStatistics:
        return self._tracker.statistics((exchange, symbol))


IMPLEMENTATIONS: dict[str, type[Model] | type[Kernel]] = {"model": Model, "kernel": Kernel}


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def tracker(request: pytest.FixtureRequest) -> Implementation:
    return IMPLEMENTATIONS[request.param](SequenceSettings())


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def narrow_tracker(request: pytest.FixtureRequest) -> Implementation:
    return IMPLEMENTATIONS[request.param](NARROW)


def events(judgements: Iterable[Judgement]) -> list[SequenceEvent]:
    return [judgement.event for judgement in judgements]


def seen(judgements: Iterable[Judgement]) -> list[Knowledge]:
    return [judgement.seen for judgement in judgements]


def test_the_codes_are_those_that_stored_arrays_hold() -> None:
    assert {event.name: event.value for event in SequenceEvent} == {
        "IN_ORDER": 0,
        "GAP": 1,
        "OUT_OF_ORDER": 2,
        "DUPLICATE": 3,
        "SESSION_RESET": 4,
        "TOO_OLD": 5,
    }
    assert {knowledge.name: knowledge.value for knowledge in Knowledge} == {"NEW": 0, "KNOWN": 1, "UNKNOWN": 2}


def test_consecutive_numbers_are_in_order(tracker: Implementation) -> None:
    assert events(tracker.judge([1, 2, 3])) == [IN_ORDER] * 3
    assert tracker.gaps() == []


@pytest.mark.parametrize(
    ("numbers", "gap"),
    [
        ([1, 2, 4], (3, 3)),
        ([1, 2, 10], (3, 9)),
        ([5129698195, 5129698197], (5129698196, 5129698196)),
        ([1684952, 1687081], (1684953, 1687080)),
        ([-5, -2], (-4, -3)),
        ([0, LARGEST_NUMBER], (1, LARGEST_NUMBER - 1)),
        ([-(2**63), LARGEST_NUMBER], (-(2**63) + 1, LARGEST_NUMBER - 1)),
    ],
)
def test_a_skipped_number_opens_a_gap(tracker: Implementation, numbers: list[int], gap: tuple[int, int]) -> None:
    assert events(tracker.judge(numbers))[-1] is GAP
    assert tracker.gaps() == [gap]


def test_a_late_number_closes_its_gap(tracker: Implementation) -> None:
    assert events(tracker.judge([1, 2, 4, 3])) == [IN_ORDER, IN_ORDER, GAP, OUT_OF_ORDER]
    assert tracker.gaps() == []


def test_a_late_number_splits_the_open_range(tracker: Implementation) -> None:
    assert events(tracker.judge([1, 5])) == [IN_ORDER, GAP]
    assert tracker.gaps() == [(2, 4)]
    assert events(tracker.judge([3])) == [OUT_OF_ORDER]
    assert tracker.gaps() == [(2, 2), (4, 4)]
    assert events(tracker.judge([2, 4])) == [OUT_OF_ORDER] * 2
    assert tracker.gaps() == []


def test_a_late_number_at_either_end_shortens_the_open_range(tracker: Implementation) -> None:
    tracker.judge([1, 10, 20])
    assert events(tracker.judge([2, 9, 19])) == [OUT_OF_ORDER] * 3
    assert tracker.gaps() == [(3, 8), (11, 18)]


def test_a_repeated_number_is_a_duplicate(tracker: Implementation) -> None:
    assert tracker.judge([1, 2, 2])[-1] == (DUPLICATE, KNOWN)


def test_a_number_that_filled_a_gap_is_a_duplicate_the_second_time(tracker: Implementation) -> None:
    assert tracker.judge([1, 5, 3, 3])[-1] == (DUPLICATE, KNOWN)


def test_a_session_that_starts_again_is_followed(tracker: Implementation) -> None:
    tracker.judge(range(1, 10_001))
    assert events(tracker.judge([1, 2])) == [SESSION_RESET, IN_ORDER]


def test_a_session_reset_forgets_open_ranges_and_keeps_the_statistics(tracker: Implementation) -> None:
    tracker.judge([1, 2000, 2])
    assert tracker.gaps() == [(3, 1999)]
    assert events(tracker.judge([1, 2])) == [SESSION_RESET, IN_ORDER]
    assert tracker.gaps() == []
    statistics = tracker.statistics()
    assert (statistics["gaps"], statistics["session_resets"], statistics["lost_in_evicted_ranges"]) == (1, 1, 0)
    assert statistics["total_messages"] == 5


def test_a_number_that_may_not_reset_leaves_the_numbering_where_it_is(tracker: Implementation) -> None:
    tracker.judge([2, *range(3, 2_001)])
    assert tracker.judge_without_reset(1) == Judgement(TOO_OLD, NEW)
    assert events(tracker.judge([2_001])) == [IN_ORDER]
    assert (tracker.gaps(), tracker.statistics()["session_resets"]) == ([], 0)


@pytest.mark.parametrize(
    ("last", "number", "event"),
    [
        (1_010, 10, SESSION_RESET),
        (1_009, 10, TOO_OLD),
        (5_000, 11, TOO_OLD),
        (1_001, 1, SESSION_RESET),
        (1_000, 1, TOO_OLD),
        (1_000, 873, DUPLICATE),
        (1_000, 872, TOO_OLD),
        (1_000, 500, TOO_OLD),
    ],
)
def test_the_limits_of_reset_and_duplicate_are_where_the_ruling_says(
    tracker: Implementation, last: int, number: int, event: SequenceEvent
) -> None:
    tracker.judge(range(1, last + 1))
    assert tracker.judge([number])[0].event is event


def test_a_low_number_inside_an_open_range_fills_it_and_resets_nothing(tracker: Implementation) -> None:
    assert events(tracker.judge([1, 5_000, 5])) == [IN_ORDER, GAP, OUT_OF_ORDER]


def test_symbols_and_exchanges_are_judged_apart(tracker: Implementation) -> None:
    tracker.judge([1, 2], "ASX", "BHP")
    tracker.judge([100, 101], "ASX", "CBA")
    tracker.judge([7, 9], "BINANCE", "BHP")
    assert events(tracker.judge([3], "ASX", "BHP")) == [IN_ORDER]
    assert events(tracker.judge([102], "ASX", "CBA")) == [IN_ORDER]
    assert tracker.gaps("ASX", "BHP") == tracker.gaps("ASX", "CBA") == []
    assert tracker.gaps("BINANCE", "BHP") == [(8, 8)]
    assert tracker.statistics("ASX", "BHP")["total_messages"] == 3


def test_statistics_count_every_event(tracker: Implementation) -> None:
    tracker.judge([1, 2, 4, 3, 5, 5])
    assert tracker.statistics() == {
        "total_messages": 6,
        "in_order": 3,
        "gaps": 1,
        "out_of_order": 1,
        "duplicates": 1,
        "session_resets": 0,
        "too_old": 0,
        "lost_in_evicted_ranges": 0,
    }


def test_a_key_never_seen_has_no_gaps_and_empty_statistics(tracker: Implementation) -> None:
    tracker.judge([1, 3])
    assert tracker.gaps("ASX", "CBA") == []
    assert set(tracker.statistics("ASX", "CBA").values()) == {0}


def test_a_gap_too_many_evicts_the_lowest_and_counts_it_as_lost(narrow_tracker: Implementation) -> None:
    narrow_tracker.judge([1, 5, 7, 9])
    assert narrow_tracker.gaps() == [(6, 6), (8, 8)]
    assert narrow_tracker.statistics()["lost_in_evicted_ranges"] == 3


def test_a_split_too_many_evicts_the_lowest_as_well(narrow_tracker: Implementation) -> None:
    assert events(narrow_tracker.judge([1, 5, 9, 7])) == [IN_ORDER, GAP, GAP, OUT_OF_ORDER]
    assert narrow_tracker.gaps() == [(6, 6), (8, 8)]
    assert narrow_tracker.statistics()["lost_in_evicted_ranges"] == 3


def test_below_the_highest_evicted_number_nothing_is_claimed(narrow_tracker: Implementation) -> None:
    narrow_tracker.judge([1, 2, 5, 7, 9])
    assert narrow_tracker.judge([2, 3, 4, 5, 6]) == [
        (DUPLICATE, UNKNOWN),
        (DUPLICATE, UNKNOWN),
        (DUPLICATE, UNKNOWN),
        (DUPLICATE, KNOWN),
        (OUT_OF_ORDER, NEW),
    ]


def test_a_session_reset_ends_the_uncertainty(narrow_tracker: Implementation) -> None:
    narrow_tracker.judge([1, 2005, 2007, 2009, 1, 2, 3])
    assert narrow_tracker.judge([2]) == [(DUPLICATE, KNOWN)]


def test_lost_numbers_stop_counting_at_the_largest_integer(narrow_tracker: Implementation) -> None:
    for _ in range(3):
        narrow_tracker.judge([1, LARGEST_NUMBER // 2, LARGEST_NUMBER - 4, LARGEST_NUMBER - 2, LARGEST_NUMBER])
    assert narrow_tracker.statistics()["lost_in_evicted_ranges"] == LARGEST_COUNT


def test_numbers_older_than_the_first_are_new_once_and_known_after(tracker: Implementation) -> None:
    tracker.judge([1_000])
    assert tracker.judge([990, 500, 990, 500, 995, 995, 991]) == [
        (DUPLICATE, NEW),
        (TOO_OLD, NEW),
        (DUPLICATE, KNOWN),
        (TOO_OLD, KNOWN),
        (DUPLICATE, NEW),
        (DUPLICATE, KNOWN),
        (DUPLICATE, NEW),
    ]
    assert tracker.gaps() == []


def test_holes_before_the_first_number_never_push_out_a_gap(narrow_tracker: Implementation) -> None:
    narrow_tracker.judge([100, 102, 104])
    assert seen(narrow_tracker.judge([90, 80, 70])) == [NEW] * 3
    assert narrow_tracker.gaps() == [(101, 101), (103, 103)]
    assert narrow_tracker.statistics()["lost_in_evicted_ranges"] == 0
    assert seen(narrow_tracker.judge([85, 80, 60])) == [UNKNOWN, UNKNOWN, NEW]


def test_seen_before_answers_without_judging() -> None:
    tracker = SequenceTracker(NARROW)
    assert tracker.seen_before("ASX", "BHP", 1) is NEW
    for number in (10, 12, 14, 16):
        tracker.check_sequence("ASX", "BHP", number)
    asked = {number: tracker.seen_before("ASX", "BHP", number) for number in (9, 10, 11, 12, 13, 16, 17)}
    assert asked == {9: NEW, 10: UNKNOWN, 11: UNKNOWN, 12: KNOWN, 13: NEW, 16: KNOWN, 17: NEW}
    assert tracker.get_statistics("ASX", "BHP")["total_messages"] == 4


def test_two_threads_on_two_symbols_leave_no_gaps() -> None:
    tracker = SequenceTracker()

    def feed(symbol: str) -> None:
        for number in range(1, 5_001):
            tracker.check_sequence("ASX", symbol, number)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(feed, ["BHP", "CBA"]))
    for symbol in ("BHP", "CBA"):
        assert tracker.get_gaps("ASX", symbol) == []
        assert tracker.get_statistics("ASX", symbol)["in_order"] == 5_000


def test_threads_that_share_a_symbol_lose_no_number_and_no_count() -> None:
    tracker = SequenceTracker(SequenceSettings(max_open_ranges=100_000))
    tracker.check_sequence("ASX", "BHP", 0)
    threads_count, per_thread = 4, 2_000

    def feed(offset: int) -> None:
        numbers = [1 + offset + threads_count * step for step in range(per_thread)]
        random.Random(offset).shuffle(numbers)
        for number in numbers:
            tracker.check_sequence("ASX", "BHP", number)

    interval_seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads_count) as threads:
            list(threads.map(feed, range(threads_count)))
    finally:
        sys.setswitchinterval(interval_seconds)
    assert tracker.get_gaps("ASX", "BHP") == []
    statistics = tracker.get_statistics("ASX", "BHP")
    assert statistics["total_messages"] == threads_count * per_thread + 1
    assert statistics["duplicates"] == statistics["too_old"] == 0

"""The vectorised tracker: the same results as the reference model on any batches, within the memory it states."""

import gc
import random
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher

from k2.ingestion import sequence_kernel
from k2.ingestion.sequence_batch import SequenceBatchTracker, warm_up
from k2.ingestion.sequence_kernel import judge_rows
from k2.ingestion.sequence_tracker import Knowledge, SequenceEvent
from k2.settings import SequenceSettings
from tests.ingestion.sequence_rows import (
    SMALL,
    Column,
    ReferenceModel,
    Row,
    check,
    check_one_key,
    encoded,
    key_columns,
    rows_of,
)

EXTREMES = [-(2**63), -(2**63) + 1, -1, 0, 2**62, 2**63 - 2, 2**63 - 1]
MEGABYTE = 2**20
MEMORY_LIMIT_BYTES = 64 * MEGABYTE


def assert_agrees_with_model(
    rows: Sequence[Row], batch_ends: Sequence[int], checkpoint_after: int, sequence_settings: SequenceSettings
) -> list[tuple[int, int]]:
    model, tracker = ReferenceModel(sequence_settings), SequenceBatchTracker(sequence_settings)
    judged: list[tuple[int, int]] = []
    bounds = [0, *sorted(min(end, len(rows)) for end in batch_ends), len(rows)]
    for batch, (start, end) in enumerate(pairwise(bounds)):
        result = check(tracker, rows[start:end], chunk_at=(end - start) // 2 if batch % 2 else None)
        expected = [model.judge(row) for row in rows[start:end]]
        assert list(zip(result.events.tolist(), result.seen.tolist(), strict=True)) == expected
        assert list(result.counts.values()) == [sum(event == e for e, _ in expected) for event in SequenceEvent]
        judged += expected
        if batch == checkpoint_after:
            tracker = SequenceBatchTracker.from_arrow(tracker.to_arrow(), sequence_settings)
    assert tracker.open_gaps() == model.open_gaps()
    for key in model.keys:
        assert tracker.statistics(key) == model.statistics(key)
    return judged


@given(
    rows=rows_of(st.integers(-3, 30)),
    batch_ends=st.lists(st.integers(0, 80), max_size=5),
    checkpoint_after=st.integers(0, 5),
    max_open_ranges=st.integers(1, 4),
)
@settings(max_examples=300, deadline=None)
def test_any_interleaving_and_any_batches_agree_with_the_reference_model(
    rows: list[Row], batch_ends: list[int], checkpoint_after: int, max_open_ranges: int
) -> None:
    limits = SMALL.model_copy(update={"max_open_ranges": max_open_ranges})
    assert_agrees_with_model(rows, batch_ends, checkpoint_after, limits)


@given(
    rows=rows_of(st.sampled_from(EXTREMES) | st.integers(-(2**63), 2**63 - 1)),
    batch_ends=st.lists(st.integers(0, 80), max_size=3),
    max_open_ranges=st.integers(1, 3),
)
@settings(max_examples=100, deadline=None)
def test_the_whole_range_of_numbers_agrees_with_the_reference_model(
    rows: list[Row], batch_ends: list[int], max_open_ranges: int
) -> None:
    assert_agrees_with_model(rows, batch_ends, 1, SequenceSettings(max_open_ranges=max_open_ranges))


@pytest.mark.parametrize("max_open_ranges", [3, 1_024])
def test_a_long_walk_over_many_keys_reaches_every_verdict_and_agrees(max_open_ranges: int) -> None:
    chance, highest = random.Random(1_684_952), dict.fromkeys(range(150), 20)
    rows: list[Row] = []
    while len(rows) < 12_000:
        symbol = chance.randrange(150)
        number = highest[symbol] + chance.choice([1, 1, 1, 2, 3, 9, -1, -2, -3, -6, -9, -20, -60])
        number = chance.randint(1, 3) if number > 90 else number
        highest[symbol] = number if number > highest[symbol] or number < 4 else highest[symbol]
        rows.append(Row(("s1", "ASX", f"S{symbol}"), number))
    limits = SMALL.model_copy(update={"max_open_ranges": max_open_ranges})
    judged = assert_agrees_with_model(rows, [100, 4_000, 4_000, 4_001, 9_000], 3, limits)
    reached_events = {event for event, _ in judged}
    reached_knowledge = {seen for _, seen in judged}
    assert reached_events == set(SequenceEvent)
    assert reached_knowledge == (set(Knowledge) if max_open_ranges == 3 else {Knowledge.NEW, Knowledge.KNOWN})


def test_rows_without_a_number_leave_no_trace() -> None:
    tracker = SequenceBatchTracker()
    result = check_one_key(tracker, [None, 1, None, 3, None])
    assert result.events.tolist() == [-1, SequenceEvent.IN_ORDER, -1, SequenceEvent.GAP, -1]
    assert result.seen.tolist() == [-1, Knowledge.NEW, -1, Knowledge.NEW, -1]
    assert tracker.statistics(("s1", "ASX", "BHP"))["total_messages"] == 2
    check(tracker, [Row(("s1", "ASX", "CBA"), None)])
    assert tracker.to_arrow()["key"].to_pylist() == [["s1", "ASX", "BHP"]]


def test_an_empty_batch_changes_nothing() -> None:
    tracker = SequenceBatchTracker()
    result = check(tracker, [])
    assert len(result.events) == len(result.seen) == sum(result.counts.values()) == 0
    assert tracker.to_arrow().num_rows == 0
    no_chunks = pa.chunked_array([], pa.dictionary(pa.int32(), pa.string()))
    assert len(tracker.check([no_chunks], pa.chunked_array([], pa.int64())).events) == 0


def test_events_have_names_and_null_where_there_was_no_number() -> None:
    names = check_one_key(SequenceBatchTracker(), [1, None, 3, 2, 2]).event_names()
    assert names.to_pylist() == ["IN_ORDER", None, "GAP", "OUT_OF_ORDER", "DUPLICATE"]
    assert names.type == pa.dictionary(pa.int32(), pa.string())


def test_a_dictionary_may_hold_unused_and_repeated_values() -> None:
    dictionary = pa.array(["unused", "BHP", "BHP", "CBA"])
    symbols = pa.DictionaryArray.from_arrays(pa.array([1, 2, 3, 1], pa.int32()), dictionary)
    tracker = SequenceBatchTracker()
    result = tracker.check([encoded(["ASX"] * 4), symbols], pa.array([1, 2, 2, 3]))
    assert result.counts[SequenceEvent.IN_ORDER] == 4
    assert tracker.to_arrow()["key"].to_pylist() == [["ASX", "BHP"], ["ASX", "CBA"]]


def test_key_parts_are_never_run_together() -> None:
    tracker = SequenceBatchTracker()
    tracker.check([encoded(["AB", "A"]), encoded(["C", "BC"])], pa.array([1, 5]))
    assert tracker.statistics(("AB", "C"))["in_order"] == tracker.statistics(("A", "BC"))["in_order"] == 1


def test_sliced_columns_are_read_from_their_offset() -> None:
    rows = [Row(("s1", "ASX", symbol), number) for symbol, number in [("X", 9), ("BHP", 1), ("CBA", 1), ("BHP", 3)]]
    tracker = SequenceBatchTracker()
    numbers = pa.array([row.number for row in rows])
    tracker.check([column.slice(1) for column in key_columns(rows)], numbers.slice(1))
    assert tracker.open_gaps() == [(("s1", "ASX", "BHP"), 2, 2)]
    assert tracker.statistics(("s1", "ASX", "X"))["total_messages"] == 0


def test_a_pool_that_fills_up_in_the_middle_of_a_batch_is_enlarged() -> None:
    tracker = SequenceBatchTracker(SequenceSettings(max_open_ranges=5_000))
    odd_numbers = list(range(1, 6_001, 2))
    result = check_one_key(tracker, odd_numbers)
    assert result.counts[SequenceEvent.GAP] == len(odd_numbers) - 1
    assert [first for _, first, _ in tracker.open_gaps()] == list(range(2, 5_999, 2))


def test_slots_of_closed_ranges_are_used_again() -> None:
    tracker = SequenceBatchTracker()
    numbers = [number + late for number in range(1, 40_001, 2) for late in (1, 0)]
    check_one_key(tracker, numbers[:2_000])
    bytes_before = tracker.state_bytes
    check_one_key(tracker, numbers[2_000:])
    assert tracker.statistics(("s1", "ASX", "BHP"))["gaps"] == len(numbers) // 2 - 1
    assert tracker.state_bytes == bytes_before


def test_slots_of_ranges_forgotten_at_a_session_reset_are_used_again() -> None:
    tracker = SequenceBatchTracker()
    session = [1, *range(2_003, 2_103, 2)]
    check_one_key(tracker, session)
    bytes_before = tracker.state_bytes
    check_one_key(tracker, session * 20)
    statistics = tracker.statistics(("s1", "ASX", "BHP"))
    assert (statistics["session_resets"], statistics["gaps"]) == (20, 21 * 50)
    assert tracker.state_bytes == bytes_before


@pytest.mark.parametrize(
    ("keys", "numbers", "message"),
    [
        ([], pa.array([1]), "at least one key column"),
        ([encoded(["ASX"])], pa.array([1], pa.int32()), "int64, not int32"),
        ([pa.array(["ASX"])], pa.array([1]), "not string"),
        ([encoded(["ASX", "ASX"])], pa.array([1]), "has 2 rows, the numbers have 1"),
        ([pa.array([None, "ASX"]).dictionary_encode()], pa.array([1, 2]), "holds 1 nulls"),
        (
            [pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int32()), pa.array([None, "ASX"]))],
            pa.array([1, 2]),
            "holds a null",
        ),
    ],
)
def test_columns_that_cannot_be_judged_are_refused_and_change_nothing(
    keys: list[Column], numbers: pa.Array, message: str
) -> None:
    tracker = SequenceBatchTracker()
    with pytest.raises(ValueError, match=message):
        tracker.check(keys, numbers)
    assert tracker.to_arrow().num_rows == 0


def test_chunked_plain_and_nullable_columns_share_one_compilation() -> None:
    tracker = SequenceBatchTracker()
    rows = [Row(("s1", "ASX", "BHP"), number) for number in (1, 2, 3, 4)]
    check(tracker, rows)
    check(tracker, rows, chunk_at=2)
    check(tracker, rows, chunk_at=0)
    check_one_key(tracker, [None, 1])
    check(SequenceBatchTracker.from_arrow(tracker.to_arrow()), rows)
    assert len(judge_rows.signatures) == 1


def test_ten_thousand_keys_stay_below_64_megabytes() -> None:
    symbols = [f"SYMBOL-{position:05}" for position in range(10_000)]
    # Eight numbers a key with a gap before each but the first.
    numbers = pa.array([1 + 3 * step for step in range(8) for _ in symbols])
    codes = pa.array(list(range(len(symbols))) * 8, pa.int32())
    keys = [encoded(["BINANCE"] * len(numbers)), pa.DictionaryArray.from_arrays(codes, pa.array(symbols))]
    check_one_key(SequenceBatchTracker(), [1])
    gc.collect()
    tracemalloc.start()
    try:
        tracker = SequenceBatchTracker()
        result = tracker.check(keys, numbers)
        gaps_opened = result.counts[SequenceEvent.GAP]
        del result
        gc.collect()
        held_bytes, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert gaps_opened == 7 * len(symbols)
    assert tracker.to_arrow().num_rows == len(symbols)
    assert tracker.state_bytes < held_bytes < peak_bytes < MEMORY_LIMIT_BYTES


def test_a_warm_tracker_compiles_nothing_more():
    """A second specialisation would cost seconds of compiling in the middle of consuming."""
    loops = [loop for loop in vars(sequence_kernel).values() if isinstance(loop, Dispatcher)]
    warm_up()
    compiled = [len(loop.signatures) for loop in loops]
    tracker = SequenceBatchTracker(SMALL)
    check_one_key(tracker, [1, 5, None, 3, 3, 900, 1])
    check_one_key(SequenceBatchTracker.from_arrow(tracker.to_arrow(), SMALL), [2, 9])
    assert any(compiled)
    assert [len(loop.signatures) for loop in loops] == compiled

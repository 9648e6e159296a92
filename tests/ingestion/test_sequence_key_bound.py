"""The bound on keys: which is forgotten, what that means, and that the log alone decides it."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.ingestion.sequence_tracker import Judgement, Knowledge, SequenceEvent, SequenceTracker
from k2.settings import SequenceSettings
from tests.ingestion.sequence_oracle import BoundedOracle
from tests.ingestion.sequence_rows import SMALL, ReferenceModel, Row, check, rows_of

IN_ORDER, GAP, OUT_OF_ORDER, DUPLICATE, SESSION_RESET, TOO_OLD = SequenceEvent
NEW, KNOWN, UNKNOWN = Knowledge


def assert_all_agree(
    rows: Sequence[Row], batch_rows: Sequence[int], checkpoints: Sequence[bool], sequence_settings: SequenceSettings
) -> BoundedOracle:
    oracle, model = BoundedOracle(sequence_settings), ReferenceModel(sequence_settings)
    tracker = SequenceBatchTracker(sequence_settings)
    start = 0
    for size, checkpoint in zip([*batch_rows, len(rows)], [*checkpoints, True], strict=True):
        batch = rows[start : start + size]
        start += len(batch)
        result = check(tracker, batch)
        expected = [oracle.judge(row) for row in batch]
        assert [model.judge(row) for row in batch] == expected
        assert list(zip(result.events.tolist(), result.seen.tolist(), strict=True)) == expected
        if checkpoint:
            tracker = SequenceBatchTracker.from_arrow(tracker.to_arrow(), sequence_settings)
    table = tracker.to_arrow()
    assert [tuple(key) for key in table["key"].to_pylist()] == list(oracle.known)
    assert table["last_position"].to_pylist() == [oracle.last_position(key) for key in oracle.known]
    assert table["arrival_number"].to_pylist() == [oracle.arrival_numbers[key] for key in oracle.known]
    assert tracker.keys_forgotten == model.tracker.keys_forgotten == oracle.keys_forgotten
    gaps = [(key, *gap) for key, known in oracle.known.items() for gap in known.gaps()]
    assert tracker.open_gaps() == model.open_gaps() == gaps
    for key in {row.key for row in rows}:
        assert tracker.statistics(key) == model.statistics(key)
        counts = oracle.known[key].counts if key in oracle.known else dict.fromkeys(SequenceEvent, 0)
        assert list(tracker.statistics(key).values())[1:-1] == list(counts.values())
    return oracle


@given(
    rows=rows_of(st.integers(-3, 30)),
    batches=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=8),
    max_keys=st.integers(1, 5),
    max_open_ranges=st.integers(1, 3),
)
@settings(max_examples=300, deadline=None)
def test_however_the_log_is_split_and_checkpointed_the_same_keys_are_known(
    rows: list[Row], batches: list[tuple[int, bool]], max_keys: int, max_open_ranges: int
) -> None:
    limits = SMALL.model_copy(update={"max_keys": max_keys, "max_open_ranges": max_open_ranges})
    assert_all_agree(rows, [size for size, _ in batches], [checkpoint for _, checkpoint in batches], limits)


def test_a_long_walk_through_more_keys_than_are_known_agrees() -> None:
    chance = random.Random(20_251_009)
    rows: list[Row] = []
    highest = dict.fromkeys(range(40), 10)
    while len(rows) < 1_500:
        symbol = min(39, int(chance.expovariate(0.12)))
        highest[symbol] += chance.choice([1, 1, 1, 2, 3, 0, -1, -4])
        rows.append(Row(("s1", "ASX", f"S{symbol}"), highest[symbol] if chance.random() < 0.9 else None))
    limits = SMALL.model_copy(update={"max_keys": 12})
    sizes = [chance.randint(0, 90) for _ in range(30)]
    oracle = assert_all_agree(rows, sizes, [chance.random() < 0.5 for _ in sizes], limits)
    assert oracle.keys_forgotten > 100
    assert len(oracle.known) == 12


def rows_in_order(text: str) -> list[Row]:
    """ "A1 B7" is 1 of A, then 7 of B; "A" is a record of A without a number."""
    return [Row(("s1", "ASX", word[0]), int(word[1:]) if word[1:] else None) for word in text.split()]


def known_keys(tracker: SequenceBatchTracker) -> list[str]:
    return [key[-1] for key in tracker.to_arrow()["key"].to_pylist()]


def bounded(max_keys: int, text: str = "") -> SequenceBatchTracker:
    tracker = SequenceBatchTracker(SequenceSettings(max_keys=max_keys))
    check(tracker, rows_in_order(text))
    return tracker


def test_as_many_keys_as_are_allowed_are_all_kept() -> None:
    tracker = bounded(3, "A1 B1 C1 A2 B2 C2")
    assert known_keys(tracker) == ["A", "B", "C"]
    assert tracker.keys_forgotten == 0


def test_the_key_whose_last_number_lies_furthest_back_is_forgotten() -> None:
    tracker = bounded(3, "A1 B1 C1 A2 D1")
    assert known_keys(tracker) == ["A", "C", "D"]
    assert tracker.keys_forgotten == 1


def test_a_late_or_repeated_number_keeps_its_key_as_any_other() -> None:
    assert known_keys(bounded(2, "A9 B1 A9 C1")) == ["A", "C"]
    assert known_keys(bounded(2, "A9 B1 A3 C1")) == ["A", "C"]


def test_a_record_without_a_number_keeps_no_key() -> None:
    assert known_keys(bounded(2, "A1 B1 A C1")) == ["B", "C"]


def test_a_forgotten_key_begins_anew_even_within_the_same_batch() -> None:
    tracker = SequenceBatchTracker(SequenceSettings(max_keys=2))
    result = check(tracker, rows_in_order("A1 A5 B1 C1 A3 A3 A7"))
    judged = [Judgement(SequenceEvent(e), Knowledge(s)) for e, s in zip(result.events, result.seen, strict=True)]
    assert judged[4:] == [(IN_ORDER, NEW), (DUPLICATE, KNOWN), (GAP, NEW)]
    assert known_keys(tracker) == ["C", "A"]
    assert tracker.open_gaps() == [(("s1", "ASX", "A"), 4, 6)]
    assert tracker.statistics(("s1", "ASX", "A"))["total_messages"] == 3


def test_nothing_of_a_forgotten_key_is_left() -> None:
    tracker = bounded(1, "A1 A5 A9 B1")
    assert tracker.open_gaps() == []
    assert set(tracker.statistics(("s1", "ASX", "A")).values()) == {0}
    assert tracker.to_arrow().num_rows == 1


def test_the_scalar_tracker_knows_nothing_of_a_forgotten_number() -> None:
    tracker = SequenceTracker(SequenceSettings(max_keys=1))
    tracker.judge("ASX", "BHP", 5)
    assert tracker.seen_before("ASX", "BHP", 5) is KNOWN
    tracker.judge("ASX", "CBA", 1)
    assert tracker.seen_before("ASX", "BHP", 5) is NEW
    assert tracker.judge("ASX", "BHP", 5) == (IN_ORDER, NEW)
    assert tracker.keys_forgotten == 2


def test_many_times_the_bound_takes_no_more_memory_than_the_bound() -> None:
    limits = SequenceSettings(max_keys=500)
    tracker = SequenceBatchTracker(limits)
    bytes_held, rows_written = [], []
    for session in range(40):
        rows = [Row((f"s{session}", "ASX", f"S{symbol}"), number) for number in (1, 3, 6) for symbol in range(250)]
        check(tracker, rows)
        bytes_held.append(tracker.state_bytes)
        rows_written.append(tracker.to_arrow().num_rows)
    assert max(bytes_held[2:]) == bytes_held[2]
    assert max(rows_written) == limits.max_keys
    assert tracker.keys_forgotten == 40 * 250 - limits.max_keys

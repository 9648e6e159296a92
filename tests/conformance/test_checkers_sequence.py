"""The ruling by sets gives the verdicts that are written down, and the checker of sequences uses nothing else."""

from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.checkers import sequence
from conformance.checkers.sequence_model import EVENTS, Ruling, SequenceModel
from conformance.checkers.verdict import Outcome, run_checker
from conformance.history import Header, History, Observation

SHORT = {
    "IN_ORDER": "=",
    "GAP": ">",
    "OUT_OF_ORDER": "<",
    "SESSION_RESET": "R",
    "DUPLICATE": "D",
    "TOO_OLD": "O",
}


def ruled(numbers: Sequence[int], ruling: Ruling | None = None) -> tuple[str, SequenceModel]:
    model = SequenceModel(ruling or Ruling())
    return "".join(SHORT[model.judge(number)] for number in numbers), model


@pytest.mark.parametrize(
    ("numbers", "events", "gaps"),
    [
        ([1, 2, 4, 3, 5, 5], "==><=D", []),
        ([1, 5], "=>", [(2, 4)]),
        ([1, 5, 3], "=><", [(2, 2), (4, 4)]),
        ([1, 5, 3, 3], "=><D", [(2, 2), (4, 4)]),
        ([7], "=", []),
        ([100, 50], "=D", []),
        ([1_000, 872], "=O", []),
        ([1_000, 873], "=D", []),
        ([10_000, 1, 2], "=R=", []),
        ([10_000, 11], "=O", []),
        ([1_010, 10], "=R", []),
        ([1_009, 10], "=O", []),
        ([100, 10], "=D", []),
        ([10_000, 10_005, 3], "=>R", []),
        ([1, 2_000, 5], "=><", [(2, 4), (6, 1_999)]),
    ],
)
def test_the_ruling_is_as_written(numbers: list[int], events: str, gaps: list[tuple[int, int]]) -> None:
    found, model = ruled(numbers)
    assert (found, model.gaps()) == (events, gaps)


def test_five_hundred_after_a_thousand_in_order_is_too_old() -> None:
    found, _ = ruled([*range(1, 1_001), 500])
    assert found == "=" * 1_000 + "O"


def test_one_range_too_many_gives_up_the_lowest_and_counts_its_numbers() -> None:
    _, model = ruled([1, 4, 6, 8], Ruling(max_open_ranges=2))
    assert model.gaps() == [(5, 5), (7, 7)]
    assert model.lost == 2


def test_a_split_gives_up_the_lowest_range_too() -> None:
    events, model = ruled([1, 5, 10, 7, 3], Ruling(max_open_ranges=2))
    assert events == "=>><D"
    assert model.gaps() == [(6, 6), (8, 9)]
    assert model.lost == 3


def test_a_number_is_known_as_seen_within_its_numbering_alone() -> None:
    _, model = ruled([5_000, 4_999, 3])
    assert model.has_seen(3)
    assert not model.has_seen(5_000)


@given(st.lists(st.integers(1, 30), max_size=40))
def test_seen_and_open_numbers_share_what_lies_between_the_first_and_the_last(numbers: list[int]) -> None:
    _, model = ruled(numbers)
    baseline = numbers[0] if numbers else 0
    last = max(numbers, default=0)
    missing = {number for first, end in model.gaps() for number in range(first, end + 1)}
    assert missing == set(range(baseline + 1, last)) - set(numbers)
    assert sum(model.counts.values()) == len(numbers)
    assert model.counts["GAP"] + model.counts["IN_ORDER"] + model.counts["OUT_OF_ORDER"] == len(
        {number for number in numbers if number >= baseline}
    )


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 4))
def test_open_ranges_stay_bounded_and_every_gap_number_is_open_filled_or_lost(numbers: list[int], bound: int) -> None:
    model = SequenceModel(Ruling(max_open_ranges=bound))
    last, skipped = None, 0
    for number in numbers:
        event = model.judge(number)
        assert event in EVENTS
        assert len(model.gaps()) <= bound
        skipped += number - last - 1 if event == "GAP" and last is not None else 0
        last = number if last is None or number > last else last
    still_open = sum(end - first + 1 for first, end in model.gaps())
    assert skipped == still_open + model.counts["OUT_OF_ORDER"] + model.lost


def history(rows: list[tuple[str, int, str]], **stages: list[dict[str, object]]) -> History:
    verdicts = [{"exchange": "X", "symbol": symbol, "number": number, "event": event} for symbol, number, event in rows]
    observed = {"verdicts": verdicts, **stages}
    return History(
        Header("clause", (), "sequence", 1, "embedded", 0, {"sequence": {"duplicate_window": 2}}),
        observations=tuple(Observation(stage, pa.Table.from_pylist(rows)) for stage, rows in observed.items()),
    )


ROWS = [("A", 1, "IN_ORDER"), ("B", 7, "IN_ORDER"), ("A", 3, "GAP"), ("A", 1, "TOO_OLD"), ("B", 6, "DUPLICATE")]


def test_keys_are_ruled_on_apart_and_by_the_settings_of_the_run() -> None:
    assert run_checker(sequence.check, history(ROWS)).outcome is Outcome.PASS


def test_one_row_of_statistics_is_held_against_all_keys() -> None:
    totals: dict[str, object] = {"total_messages": 5, "in_order": 2, "gaps": 1, "duplicates": 1, "too_old": 1}
    assert run_checker(sequence.check, history(ROWS, statistics=[totals])).outcome is Outcome.PASS
    wrong = run_checker(sequence.check, history(ROWS, statistics=[{**totals, "too_old": 0}]))
    assert wrong.findings[0].example == "all keys: too_old is 0, the ruling says 1"


def test_no_open_range_is_an_observation_too() -> None:
    verdict = run_checker(sequence.check, history(ROWS, gaps=[]))
    assert verdict.findings[0].kind == "wrong_gaps"
    assert verdict.findings[0].example == "X:A 2..2: open, and not reported"


def test_a_range_reported_twice_is_wrong() -> None:
    gap: dict[str, object] = {"exchange": "X", "symbol": "A", "first_missing": 2, "last_missing": 2}
    assert run_checker(sequence.check, history(ROWS, gaps=[gap])).outcome is Outcome.PASS
    assert run_checker(sequence.check, history(ROWS, gaps=[gap, gap])).findings[0].kind == "wrong_gaps"


def test_a_session_is_part_of_the_key_where_the_tracker_has_it() -> None:
    rows = [
        {"session": session, "exchange": "X", "symbol": "A", "number": 1, "event": "IN_ORDER"}
        for session in ("morning", "noon")
    ]
    observation = Observation("verdicts", pa.Table.from_pylist(rows))
    one = History(Header("clause", (), "sequence", 1, "embedded", 0), observations=(observation,))
    assert run_checker(sequence.check, one).outcome is Outcome.PASS

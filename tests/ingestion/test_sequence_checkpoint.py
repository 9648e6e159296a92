"""The checkpoint: one readable row a key, every format that ever was, and nothing that no tracker can have written."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.drivers.golden_checkpoints import GoldenCheckpoint, golden_checkpoints, take_in
from k2.errors import ProgressError
from k2.ingestion.judging import PartitionState
from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.ingestion.sequence_checkpoint import FORMAT_KEY, FORMAT_VERSION, POSITION_COLUMNS, SCHEMA
from k2.settings import SequenceSettings
from tests.ingestion.sequence_rows import SMALL, Row, check, check_one_key

GOLDEN = golden_checkpoints()
EACH_FORMAT = pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"format_{golden.format}")
CURRENT = GOLDEN[-1]
WHOLE_NUMBERS = [field.name for field in SCHEMA if field.type == pa.int64()]
BITCOIN, MINER, _, SOLANA = range(4)
FURTHER_STEPS = [
    {"tracker": "source", "key": ["BINANCE", "BTCUSDT"], "numbers": [117, 112, 95, 131, 90, 140, 60]},
    {"tracker": "source", "key": ["ASX", "BHP"], "numbers": [6, 2, 9, 10, 2000, 1]},
    {"tracker": "session", "key": ["2025-10-09-noon", "ASX", "BHP"], "numbers": [4, 10, 4, 12]},
    {"tracker": "session", "key": ["2025-10-11-noon", "ASX", "BHP"], "numbers": [1, 2]},
]


def test_a_checkpoint_holds_one_readable_row_a_key() -> None:
    tracker = SequenceBatchTracker(SMALL)
    check_one_key(tracker, [20, 25, 18, 30, 32, 32])
    table = tracker.to_arrow()
    assert table.schema.metadata == {FORMAT_KEY: b"2"}
    assert table.to_pylist() == [
        {
            "key": ["s1", "ASX", "BHP"],
            "first": 20,
            "lowest": 18,
            "last": 32,
            "highest_evicted": 24,
            "total_messages": 6,
            "in_order": 1,
            "gaps": 3,
            "out_of_order": 0,
            "duplicates": 1,
            "session_resets": 0,
            "too_old": 1,
            "lost_in_evicted_ranges": 4,
            "open_ranges": [{"first": 26, "last": 29}, {"first": 31, "last": 31}],
            "holes_before_first": [],
            "arrival_number": 1,
            "last_position": 6,
        }
    ]


def test_holes_before_the_first_number_travel_apart_from_the_gaps() -> None:
    tracker = SequenceBatchTracker()
    check_one_key(tracker, [20, 15, 10, 25])
    [row] = tracker.to_arrow().to_pylist()
    assert row["holes_before_first"] == [{"first": 11, "last": 14}, {"first": 16, "last": 19}]
    assert row["open_ranges"] == [{"first": 21, "last": 24}]
    assert row["highest_evicted"] is None
    assert SequenceBatchTracker.from_arrow(tracker.to_arrow()).to_arrow() == tracker.to_arrow()


def test_a_checkpoint_read_back_in_pieces_continues() -> None:
    tracker = SequenceBatchTracker()
    rows = [Row(("s1", "ASX", f"S{symbol}"), number) for symbol in range(300) for number in (50, 40, 60, 70)]
    check(tracker, rows)
    table = tracker.to_arrow()
    in_pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 200), table.slice(207)])
    restored = SequenceBatchTracker.from_arrow(in_pieces)
    assert restored.to_arrow() == table
    part = SequenceBatchTracker.from_arrow(table.slice(100, 50))
    assert part.open_gaps() == tracker.open_gaps()[200:300]


def test_a_checkpoint_does_not_change_with_the_tracker() -> None:
    tracker = SequenceBatchTracker()
    check_one_key(tracker, [1, 3])
    table = tracker.to_arrow()
    before = table.to_pylist()
    check_one_key(tracker, [7, 2])
    assert table.to_pylist() == before


def test_fewer_open_ranges_than_the_checkpoint_has_are_reached_at_the_next_one() -> None:
    tracker = SequenceBatchTracker()
    check_one_key(tracker, [1, 3, 5, 7, 9])
    narrowed = SequenceBatchTracker.from_arrow(tracker.to_arrow(), SequenceSettings(max_open_ranges=2))
    check_one_key(narrowed, [11])
    assert [first for _, first, _ in narrowed.open_gaps()] == [8, 10]
    assert narrowed.statistics(("s1", "ASX", "BHP"))["lost_in_evicted_ranges"] == 3


def test_with_a_lower_bound_keys_are_forgotten_when_the_next_one_arrives() -> None:
    tracker = SequenceBatchTracker()
    check(tracker, [Row(("s1", "ASX", symbol), 1) for symbol in "ABCDEA"])
    narrowed = SequenceBatchTracker.from_arrow(tracker.to_arrow(), SequenceSettings(max_keys=3))
    assert (narrowed.to_arrow(), narrowed.keys_forgotten) == (tracker.to_arrow(), 0)
    check(narrowed, [Row(("s1", "ASX", "C"), 2), Row(("s1", "ASX", "F"), 1)])
    assert [key[-1] for key in narrowed.to_arrow()["key"].to_pylist()] == ["A", "C", "F"]
    assert narrowed.keys_forgotten == 3
    restored = SequenceBatchTracker.from_arrow(narrowed.to_arrow(), SequenceSettings(max_keys=3))
    for tracker in (narrowed, restored):
        check(tracker, [Row(("s1", "ASX", symbol), 5) for symbol in "CGA"])
    assert narrowed.to_arrow() == restored.to_arrow()
    assert narrowed.open_gaps() == [(("s1", "ASX", "C"), 3, 4)]


def test_every_format_has_a_checkpoint_that_was_kept() -> None:
    assert [golden.format for golden in GOLDEN] == list(range(1, FORMAT_VERSION + 1))


@EACH_FORMAT
def test_a_checkpoint_that_was_kept_loads_into_what_it_holds(golden: GoldenCheckpoint) -> None:
    assert golden.table.to_pylist() == golden.rows
    loaded = PartitionState.from_arrow(golden.table, golden.settings).to_arrow()
    assert loaded.schema.metadata == {FORMAT_KEY: str(FORMAT_VERSION).encode()}
    assert loaded.select(golden.table.column_names).to_pylist() == golden.rows


@EACH_FORMAT
def test_a_state_from_a_checkpoint_that_was_kept_continues_as_if_it_had_seen_all(golden: GoldenCheckpoint) -> None:
    loaded = take_in(PartitionState.from_arrow(golden.table, golden.settings), FURTHER_STEPS).to_arrow()
    straight = take_in(PartitionState.empty(golden.settings), [*golden.steps, *FURTHER_STEPS]).to_arrow()
    not_in_the_first = POSITION_COLUMNS if golden.format == 1 else []
    assert loaded.drop_columns(not_in_the_first).to_pylist() == straight.drop_columns(not_in_the_first).to_pylist()


def test_keys_of_the_first_format_are_forgotten_in_the_order_they_had_arrived() -> None:
    golden = GOLDEN[0]
    few = golden.settings.model_copy(update={"max_keys": 4})
    state = take_in(
        PartitionState.from_arrow(golden.table, few),
        [{"tracker": "source", "key": ["ASX", symbol], "numbers": [1]} for symbol in ("NEW", "NEWER")],
    )
    known = [row["key"][-1] for row in state.to_arrow().to_pylist() if row["tracker"] == "source"]
    assert known == ["BHP", "BRK.B é", "NEW", "NEWER"]
    assert state.keys_forgotten == 2


def test_what_is_written_now_is_the_kept_checkpoint_of_the_current_format() -> None:
    written = take_in(PartitionState.empty(CURRENT.settings), CURRENT.steps).to_arrow()
    assert written.equals(CURRENT.table, check_metadata=True)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({FORMAT_KEY: b"3"}, "has format version 3, this release reads versions 1 to 2"),
        ({FORMAT_KEY: b"0"}, "has format version 0, this release reads versions 1 to 2"),
        ({FORMAT_KEY: b"\xff"}, "this release reads versions 1 to 2"),
        ({FORMAT_KEY: b"1"}, "does not have the columns of format version 1"),
        (None, "has no format version"),
    ],
)
def test_a_checkpoint_of_another_format_is_refused(metadata: dict[bytes, bytes] | None, message: str) -> None:
    table = CURRENT.table.replace_schema_metadata(metadata)
    with pytest.raises(ProgressError, match=message) as raised:
        PartitionState.from_arrow(table, CURRENT.settings)
    assert "\n" not in str(raised.value)


def with_rows(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=CURRENT.table.schema)


def changed(row: int, **values: object) -> Callable[[], pa.Table]:
    """The kept checkpoint with some values of one row replaced."""
    rows = [dict(row) for row in CURRENT.rows]
    rows[row] |= values
    return lambda: with_rows(rows)


def ranges(*ends: tuple[int | None, int | None]) -> list[dict[str, int | None]]:
    return [{"first": first, "last": last} for first, last in ends]


def column_replaced(name: str, column: pa.Array) -> Callable[[], pa.Table]:
    return lambda: CURRENT.table.set_column(CURRENT.table.column_names.index(name), name, column)


def rows_swapped() -> pa.Table:
    return CURRENT.table.take([1, 0, *range(2, len(CURRENT.rows))])


WRAPPED = dict.fromkeys(("in_order", "gaps", "out_of_order", "duplicates"), 2**62)
DAMAGES: dict[str, tuple[Callable[[], pa.Table], str]] = {
    "column missing": (lambda: CURRENT.table.drop_columns("last"), "does not have the columns"),
    "column too many": (lambda: CURRENT.table.append_column("x", CURRENT.table["last"]), "does not have the columns"),
    "column twice": (lambda: CURRENT.table.append_column("last", CURRENT.table["last"]), "does not have the columns"),
    "wrong type": (column_replaced("last", pa.array(["1"] * 8)), "has string in column last"),
    "null": (
        column_replaced("last", pa.array([130, 9, None, 62, 2000, 18, 4, 5], pa.int64())),
        "has 1 nulls in column last",
    ),
    "null in a key": (changed(MINER, key=["ASX", None]), "a null within a key"),
    "null in a range": (changed(MINER, open_ranges=ranges((5, None))), "a null within open_ranges"),
    "null for a range": (changed(SOLANA, holes_before_first=[None]), "a null within holes_before_first"),
    "key twice": (changed(MINER, key=["BINANCE", "BTCUSDT"]), "holds a key twice"),
    "key of another tracker": (changed(MINER, key=["s1", "ASX", "BHP"]), "keys of another kind"),
    "keys all of another tracker": (lambda: only("source").replace_schema_metadata(SCHEMA.metadata), "another kind"),
    "empty key": (changed(MINER, key=[]), "keys of another kind"),
    "first above last": (changed(MINER, first=10), "first is above last"),
    "lowest above first": (changed(MINER, lowest=4), "lowest above first"),
    "negative count": (changed(BITCOIN, gaps=-1, in_order=10), "a count is negative"),
    "negative lost": (changed(BITCOIN, lost_in_evicted_ranges=-1), "a count is negative"),
    "total too high": (changed(BITCOIN, total_messages=13), "do not add up"),
    "counts that add up only in 64 bits": (
        changed(BITCOIN, **{name: count + CURRENT.rows[BITCOIN][name] for name, count in WRAPPED.items()}),
        "do not add up",
    ),
    "no first number": (changed(BITCOIN, in_order=0, duplicates=4), "no number was the first"),
    "evicted at last": (changed(BITCOIN, highest_evicted=130), "does not lie between lowest and last"),
    "evicted at lowest": (changed(BITCOIN, highest_evicted=90), "does not lie between lowest and last"),
    "evicted in an open range": (changed(BITCOIN, highest_evicted=117), "holds a number that was evicted"),
    "lost without eviction": (changed(BITCOIN, highest_evicted=None), "numbers were lost and nothing was evicted"),
    "range backwards": (changed(MINER, open_ranges=ranges((7, 5))), "ends before it begins"),
    "range at last": (changed(MINER, open_ranges=ranges((5, 9))), "open_ranges lies outside its limits"),
    "range at first": (changed(MINER, open_ranges=ranges((3, 7))), "open_ranges lies outside its limits"),
    "hole at first": (changed(SOLANA, holes_before_first=ranges((46, 50))), "holes_before_first lies outside"),
    "hole at lowest": (changed(SOLANA, holes_before_first=ranges((40, 43))), "holes_before_first lies outside"),
    "ranges overlap": (changed(SOLANA, open_ranges=ranges((51, 59), (58, 61))), "overlap, touch or are not"),
    "ranges touch": (changed(SOLANA, open_ranges=ranges((51, 59), (60, 61))), "overlap, touch or are not"),
    "ranges unsorted": (changed(SOLANA, open_ranges=ranges((61, 61), (51, 59))), "overlap, touch or are not"),
    "ranges without cause": (changed(SOLANA, open_ranges=ranges((51, 51), (53, 53), (55, 55))), "more ranges than"),
    "holes without cause": (
        changed(SOLANA, holes_before_first=ranges((45, 45), (47, 47), (49, 49))),
        "holes_before_first has more ranges than",
    ),
    "rows not in order": (rows_swapped, "not in order of arrival"),
    "arrival number twice": (changed(MINER, arrival_number=1), "not in order of arrival"),
    "arrival number zero": (changed(BITCOIN, arrival_number=0), "not in order of arrival"),
    "position too early": (changed(BITCOIN, last_position=11), "came before so many can have come"),
    "more numbers than positions": (changed(MINER, total_messages=15, in_order=11), "came before so many can have"),
    "position twice": (changed(MINER, last_position=31), "two keys came last with the same number"),
    "fewer numbers than were forgotten": (changed(SOLANA, arrival_number=40), "not those of the keys known and"),
    "tracker unknown": (column_replaced("tracker", pa.array(["sauce"] * 8)), "rows of no known tracker"),
    "tracker null": (column_replaced("tracker", pa.array([None] * 8, pa.string())), "rows of no known tracker"),
    "no tracker": (lambda: CURRENT.table.drop_columns("tracker"), "has no tracker column"),
    "something else": (lambda: pa.table({"tracker": ["source"]}), "has no format version"),
}


def only(tracker: str) -> pa.Table:
    """The rows of one tracker under the other's name."""
    rows = [row for row in CURRENT.rows if row["tracker"] == tracker]
    return with_rows([{**row, "tracker": "session"} for row in rows])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_one_line(damage: str) -> None:
    make, message = DAMAGES[damage]
    with pytest.raises(ProgressError, match=message) as raised:
        PartitionState.from_arrow(make(), CURRENT.settings)
    assert "\n" not in str(raised.value)


def test_numbers_that_no_key_accounts_for_are_refused_where_none_was_forgotten() -> None:
    tracker = SequenceBatchTracker()
    check_one_key(tracker, [1, 2])
    rows = tracker.to_arrow().to_pylist()
    table = pa.Table.from_pylist([{**rows[0], "last_position": 3}], schema=SCHEMA)
    with pytest.raises(ProgressError, match="not those of the keys known and forgotten"):
        SequenceBatchTracker.from_arrow(table)


@given(
    row=st.integers(0, len(CURRENT.rows) - 1),
    column=st.sampled_from(WHOLE_NUMBERS),
    value=st.integers(-3, 200) | st.sampled_from([-(2**63), 2**62, 2**63 - 1]) | st.none(),
)
@settings(max_examples=300, deadline=None)
def test_whatever_one_number_is_changed_to_is_refused_or_kept(row: int, column: str, value: int | None) -> None:
    position = CURRENT.table.column_names.index(column)
    values = CURRENT.table[column].to_pylist()
    values[row] = value
    table = CURRENT.table.set_column(position, CURRENT.table.field(position), pa.array(values, pa.int64()))
    try:
        state = PartitionState.from_arrow(table, CURRENT.settings)
    except ProgressError:
        return
    assert state.to_arrow() == table

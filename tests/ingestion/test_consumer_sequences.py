"""What a consumer says of sequences: in the table's rows and in its counts, over a stop in the middle."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k2.embedded.broker import EmbeddedBroker
from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.records.validation import QualityFlag
from k2.settings import SequenceSettings
from tests.ingestion.market_records import trade
from tests.ingestion.stage import PARTITIONS, TOPICS, Stage

KIND = {"data_type": "trades"}
LATE = int(QualityFlag.LATE)
FIRST_HALF = {
    "GAP": [1, 2, 6, 7],
    "LATE": [1, 5, 3],
    "TWICE": [1, 2, 2, 3, 1],
    "RESET": [9_999, 10_000, 1, 2],
    "APART": [70, 71, 72],
    "RESTART": [1_200, 1_201, 1_203],
    "OLD": [1_000, 1_001, 500],
    "MANY": [1, 3, 5, 7],
}
SECOND_HALF = {"APART": [73], "RESTART": [1_202, 1_201, 1_204], "OLD": [500], "MANY": [9, 11]}
LIMITS = SequenceSettings(max_open_ranges=4)


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A table that one consumer began and another went on with; each symbol is one example."""
    with EmbeddedBroker(TOPICS, PARTITIONS) as broker:
        stage = Stage(Path(tmp_path_factory.mktemp("sequences")), broker)
        stage.settings = stage.settings.model_copy(update={"sequence": LIMITS})
        positions: dict[str, int] = {}
        sent = 0
        for half in (FIRST_HALF, SECOND_HALF):
            records = [record for symbol, numbers in half.items() for record in of(symbol, numbers, positions)]
            stage.produce(*records)
            sent += len(records)
            stage.take_in(sent)
        yield stage
        stage.catalog.close()


def of(symbol: str, numbers: list[int], positions: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Trades of a symbol with these numbers of the exchange, each a record of its own for the feed."""
    for number in numbers:
        positions[symbol] = positions.get(symbol, 0) + 1
        yield trade(positions[symbol], number, symbol=symbol)


def events(stage: Stage, symbol: str) -> list[tuple[int, str]]:
    """Number and event of each row of a symbol, in the order of the log."""
    return [(row["source_sequence"], row["sequence_event"]) for row in stage.rows() if row["symbol"] == symbol]


def gaps(stage: Stage) -> dict[str, list[tuple[int, int]]]:
    """Open gaps of each symbol, from the state that the table names."""
    writer = stage.writer()
    (place,) = writer.progress().partitions.values()
    state = writer.read_state(str(place.state_path))
    source = state.filter([tracker == "source" for tracker in state["tracker"].to_pylist()])
    tracker = SequenceBatchTracker.from_arrow(source.drop_columns(["tracker"]), LIMITS, key_parts=2)
    found: dict[str, list[tuple[int, int]]] = {}
    for (_, symbol), first, last in tracker.open_gaps():
        found.setdefault(symbol, []).append((first, last))
    return found


def test_a_gap_is_named_in_its_row_and_stays_open(taken_in: Stage) -> None:
    assert events(taken_in, "GAP") == [(1, "IN_ORDER"), (2, "IN_ORDER"), (6, "GAP"), (7, "IN_ORDER")]
    assert gaps(taken_in)["GAP"] == [(3, 5)]


def test_a_late_number_is_kept_and_splits_the_gap(taken_in: Stage) -> None:
    assert events(taken_in, "LATE") == [(1, "IN_ORDER"), (5, "GAP"), (3, "OUT_OF_ORDER")]
    assert gaps(taken_in)["LATE"] == [(2, 2), (4, 4)]


def test_a_repeated_number_reaches_the_table_once(taken_in: Stage) -> None:
    assert events(taken_in, "TWICE") == [(1, "IN_ORDER"), (2, "IN_ORDER"), (3, "IN_ORDER")]
    repeated = {"TWICE": 2, "RESTART": 1, "OLD": 1}
    assert taken_in.metrics.value("k2_duplicates_detected_total", KIND) == sum(repeated.values())


def test_a_session_that_starts_again_is_followed(taken_in: Stage) -> None:
    assert events(taken_in, "RESET")[2:] == [(1, "SESSION_RESET"), (2, "IN_ORDER")]
    assert "RESET" not in gaps(taken_in)


def test_each_symbol_is_judged_by_its_own_numbers(taken_in: Stage) -> None:
    assert [event for _, event in events(taken_in, "APART")] == ["IN_ORDER"] * 4
    by_event = "k2_sequence_events_total"
    assert taken_in.metrics.value(by_event, {**KIND, "event": "SESSION_RESET"}) == 1


def test_the_next_consumer_goes_on_with_the_numbers_of_the_one_before(taken_in: Stage) -> None:
    assert events(taken_in, "RESTART")[2:] == [(1_203, "GAP"), (1_202, "OUT_OF_ORDER"), (1_204, "IN_ORDER")]


def test_a_number_far_behind_is_kept_once_and_flagged_late(taken_in: Stage) -> None:
    rows = [row for row in taken_in.rows() if row["symbol"] == "OLD"]
    assert [(row["source_sequence"], row["sequence_event"], row["quality_flags"]) for row in rows] == [
        (1_000, "IN_ORDER", 0),
        (1_001, "IN_ORDER", 0),
        (500, "TOO_OLD", LATE),
    ]


def test_numbers_of_a_range_too_many_are_given_up_and_counted(taken_in: Stage) -> None:
    assert gaps(taken_in)["MANY"] == [(4, 4), (6, 6), (8, 8), (10, 10)]
    lost = {
        tracker: taken_in.metrics.value("k2_sequence_numbers_lost_total", {**KIND, "tracker": tracker})
        for tracker in ("source", "session")
    }
    assert lost == {"source": 1, "session": 0}

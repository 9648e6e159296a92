"""How new a table is: carried from commit to commit, for each exchange, and rolled back with it."""

import pyarrow as pa
import pytest

from k2.errors import ProgressError
from k2.observability.freshness import NewestRows
from k2.records.definition import TRADE
from k2.storage.freshness import (
    NEWEST_PROPERTY,
    NewestTimes,
    carried_forward,
    newest_from_json,
    newest_times,
    newest_to_json,
)
from k2.storage.reader import TableReader
from k2.storage.writer import NO_FILES, Advance, TableWriter
from tests.storage.warehouse_tables import (
    FIRST_TIME_NS,
    STATE,
    TOPICS,
    Warehouse,
    advance,
    key,
    table_of,
    trade,
    with_dictionaries,
)

BINANCE = NewestRows("BINANCE", 50, 60, 70)


class Ticking:
    """A clock whose wall time is set by hand."""

    now_ns = 1_000

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def writer(warehouse: Warehouse, clock: Ticking) -> TableWriter:
    return TableWriter(
        TRADE, warehouse.open_catalog(), warehouse.audit, warehouse.metrics, clock, new_id=warehouse._new_id
    )


@pytest.fixture
def reader(warehouse: Warehouse) -> TableReader:
    return TableReader(warehouse.open_catalog())


@pytest.mark.parametrize("as_dictionaries", [False, True])
def test_the_latest_times_are_found_for_each_exchange(as_dictionaries: bool) -> None:
    rows = table_of(
        [
            trade(0, time_ns=7_000_000_000),
            trade(1, time_ns=9_000_000_000, exchange="ASX"),
            trade(2, time_ns=8_000_000_000),
            trade(3, time_ns=5_000_000_000, exchange="ASX"),
        ]
    )
    found = newest_times(with_dictionaries(rows) if as_dictionaries else rows)
    assert found == {
        "BINANCE": NewestTimes(8_000_000_000, 8_000_001_000),
        "ASX": NewestTimes(9_000_000_000, 9_000_001_000),
    }
    assert newest_times(rows.slice(0, 0)) == {}


def test_parts_with_dictionaries_of_their_own_are_read_alike() -> None:
    parts = [with_dictionaries(table_of([trade(n, exchange=name)])) for n, name in enumerate(("ASX", "BINANCE"))]
    assert set(newest_times(pa.concat_tables(parts))) == {"ASX", "BINANCE"}


def test_times_go_forward_only_and_the_commits_time_is_the_last_ones() -> None:
    after = carried_forward([BINANCE], {"BINANCE": NewestTimes(40, 90), "ASX": NewestTimes(1, 2)}, 65)
    # A clock that was set back is told as it is.
    assert after == (NewestRows("ASX", 1, 2, 65), NewestRows("BINANCE", 50, 90, 65))


def test_an_exchange_without_rows_in_a_commit_stays_as_it_was() -> None:
    assert carried_forward([BINANCE], {}, 99) == (BINANCE,)


def test_it_reads_what_it_writes() -> None:
    newest = (NewestRows("ASX", 1, 2**62, 3), BINANCE)
    assert newest_from_json(newest_to_json(newest)) == newest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"BINANCE": 3}',
        '{"BINANCE": {}}',
        '{"BINANCE": {"event_time_ns": 1, "receive_time_ns": 2}}',
        '{"BINANCE": {"event_time_ns": 1, "receive_time_ns": 2, "committed_time_ns": "3"}}',
        '{"BINANCE": {"event_time_ns": 1, "receive_time_ns": 2, "committed_time_ns": 3.5}}',
        '{"BINANCE": {"event_time_ns": 1, "receive_time_ns": 2, "committed_time_ns": true}}',
    ],
)
def test_damage_is_one_clear_error(text: str) -> None:
    with pytest.raises(ProgressError, match=r"what the table says of its newest rows cannot be read .* roll the table"):
        newest_from_json(text)


def test_a_table_without_rows_says_nothing(reader: TableReader) -> None:
    assert reader.newest_rows(TRADE.table) == ()


def test_a_commit_leaves_its_newest_times_in_the_snapshot(
    writer: TableWriter, reader: TableReader, clock: Ticking, warehouse: Warehouse
) -> None:
    advance(writer, 0, None, 3)
    newest_ns = FIRST_TIME_NS + 2_000
    expected = NewestRows("BINANCE", newest_ns, newest_ns + 1_000, clock.now_ns)
    assert reader.newest_rows(TRADE.table) == (expected,)
    assert writer.newest_rows() == (expected,)
    snapshot = warehouse.table().metadata.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    assert snapshot.summary.additional_properties[NEWEST_PROPERTY] == (
        f'{{"BINANCE":{{"event_time_ns":{newest_ns},"receive_time_ns":{newest_ns + 1_000},"committed_time_ns":1000}}}}'
    )


def test_silence_goes_on_through_commits_without_rows_and_those_of_other_exchanges(
    writer: TableWriter, reader: TableReader, clock: Ticking
) -> None:
    advance(writer, 0, None, 3)
    clock.now_ns = 2_000
    writer.commit(NO_FILES, {key(0): Advance(3, 5, writer.write_state(STATE, key(0), 5))}, TOPICS, "rejects alone")
    clock.now_ns = 3_000
    advance(writer, 1, None, 2, exchange="ASX")
    committed = {entry.exchange: entry.committed_time_ns for entry in reader.newest_rows(TRADE.table)}
    assert committed == {"BINANCE": 1_000, "ASX": 3_000}


def test_a_rollback_rolls_it_back_too(
    warehouse: Warehouse, writer: TableWriter, reader: TableReader, clock: Ticking
) -> None:
    first = advance(writer, 0, None, 2)
    before = reader.newest_rows(TRADE.table)
    clock.now_ns = 2_000
    advance(writer, 0, 2, 4)
    assert reader.newest_rows(TRADE.table) != before
    warehouse.table().manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    assert reader.newest_rows(TRADE.table) == before


def test_a_snapshot_of_somebody_else_leaves_the_last_word_standing(
    warehouse: Warehouse, writer: TableWriter, reader: TableReader
) -> None:
    advance(writer, 0, None, 2)
    before = reader.newest_rows(TRADE.table)
    transaction = warehouse.table().transaction()
    transaction.update_snapshot().fast_append().commit()
    transaction.commit_transaction()
    assert reader.newest_rows(TRADE.table) == before


def test_age_and_silence_are_told_against_a_clock() -> None:
    assert BINANCE.age_seconds(2_000_000_060) == 2.0
    assert BINANCE.silence_seconds(2_000_000_070) == 2.0
    assert BINANCE.silence_seconds(70 - 10**9) == -1.0

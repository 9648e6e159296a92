"""Plans leave out files that cannot hold an answer and never one that does, and they see every commit at once."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import RefusedError, StateLostError, UnavailableError, UsageError
from k2.ingestion.judging import PartitionState
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE
from k2.storage.plan import OpenGap, ReadPlan
from k2.storage.reader import TableReader, local_path
from k2.storage.writer import Advance, TableWriter, WrittenFiles
from tests.storage.warehouse_tables import (
    DAY_NS,
    DEFAULT_SEQUENCES,
    FIRST_TIME_NS,
    STATE,
    TOPIC,
    TOPICS,
    Warehouse,
    advance,
    key,
    table_of,
    trade,
    trades,
)

LONG = "x" * 64
EXCHANGES = ["ASX", "BINANCE", "größer"]
SYMBOLS = ["", "A", "BHP", "BTCUSDT", "Ж", "\U0001f680", LONG, LONG + "a", LONG + "b", "\U0010ffff" * 65, "x" * 5_000]
TIMES = [FIRST_TIME_NS + day * DAY_NS + offset for day in (-1, 0, 1) for offset in (-1_001, -1, 0, 1, 1_000, 12**12)]
ROWS = st.lists(
    st.tuples(st.sampled_from(EXCHANGES), st.sampled_from(SYMBOLS), st.sampled_from(TIMES)), min_size=1, max_size=4
)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a plan is asked for."""

    exchange: str | None
    symbol: str | None
    start_time_ns: int | None
    end_time_ns: int | None

    def matches(self, exchange: str, symbol: str, time_ns: int) -> bool:
        return (
            self.exchange in (None, exchange)
            and self.symbol in (None, symbol)
            and (self.start_time_ns is None or time_ns >= self.start_time_ns)
            and (self.end_time_ns is None or time_ns < self.end_time_ns)
        )

    def plan(self, reader: TableReader) -> ReadPlan:
        return reader.plan(
            TRADE.table,
            exchange=self.exchange,
            symbol=self.symbol,
            start_time_ns=self.start_time_ns,
            end_time_ns=self.end_time_ns,
        )


MOMENTS = st.none() | st.builds(int.__add__, st.sampled_from(TIMES), st.sampled_from([-1, 0, 1]))
FILTERS = st.builds(
    Filter, st.none() | st.sampled_from([*EXCHANGES, "NYSE"]), st.none() | st.sampled_from(SYMBOLS), MOMENTS, MOMENTS
)


@pytest.fixture
def writer(warehouse: Warehouse) -> TableWriter:
    return warehouse.writer()


@pytest.fixture
def reader(warehouse: Warehouse) -> TableReader:
    return TableReader(warehouse.open_catalog())


def commit_files(writer: TableWriter, files_rows: Iterable[list[tuple[str, str, int]]]) -> None:
    """One commit of files that hold these (exchange, symbol, time)."""
    written = [
        writer.write_rows(table_of([trade(i, exchange=e, symbol=s, time_ns=t) for i, (e, s, t) in enumerate(rows)]))
        for rows in files_rows
    ]
    together = WrittenFiles(tuple(file for each in written for file in each.files), 0, "several", "crypto")
    writer.commit(together, {key(0): Advance(None, 1, writer.write_state(STATE, key(0), 1))}, TOPICS, "files")


def rows_in(path: str) -> list[tuple[str, str, int]]:
    table = pq.read_table(path, columns=["exchange", "symbol", "event_time_ns"])
    return [(row["exchange"], row["symbol"], row["event_time_ns"]) for row in table.to_pylist()]


def rows_of(paths: Iterable[str]) -> list[tuple[str, str, int]]:
    return sorted(row for path in paths for row in rows_in(path))


def offsets_of(plan: ReadPlan) -> list[int]:
    return sorted(offset for path in plan.paths for offset in pq.read_table(path)["kafka_offset"].to_pylist())


@given(st.lists(ROWS, min_size=1, max_size=4), st.lists(FILTERS, min_size=10, max_size=40))
@settings(max_examples=15)
def test_no_file_that_holds_a_match_is_left_out(files_rows: list[Any], filters: list[Filter]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder))
        catalog = warehouse.open_catalog()
        catalog.create_tables()
        commit_files(warehouse.writer(catalog), files_rows)
        reader = TableReader(catalog)
        contents = {path: rows_in(path) for path in reader.plan(TRADE.table).paths}
        warehouse_files = {str(path) for path in Path(folder).glob("warehouse/market_data/trades_v2/data/*")}
        assert contents.keys() == warehouse_files
        for wanted in filters:
            holding = {path for path, rows in contents.items() if any(wanted.matches(*row) for row in rows)}
            assert holding <= set(wanted.plan(reader).paths)
        warehouse.close()


DAY_ONE, DAY_TWO = FIRST_TIME_NS, FIRST_TIME_NS + DAY_NS
FILES = {
    "asx": [("ASX", "BHP", DAY_ONE)],
    "early": [("BINANCE", "BTCUSDT", DAY_ONE), ("BINANCE", "ETHUSDT", DAY_ONE + 10)],
    "solana": [("BINANCE", "SOLUSDT", DAY_ONE + 5)],
    "next day": [("BINANCE", "BTCUSDT", DAY_TWO)],
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {"asx", "early", "solana", "next day"}),
        ({"exchange": "ASX"}, {"asx"}),
        ({"exchange": "BINANCE"}, {"early", "solana", "next day"}),
        ({"exchange": "NYSE"}, set()),
        ({"symbol": "SOLUSDT"}, {"solana"}),
        ({"symbol": "DOGEUSDT"}, {"early"}),
        ({"exchange": "BINANCE", "symbol": "BTCUSDT"}, {"early", "next day"}),
        ({"symbol": "A"}, set()),
        ({"start_time_ns": DAY_ONE + 5}, {"early", "solana", "next day"}),
        ({"start_time_ns": DAY_ONE + 10}, {"early", "next day"}),
        ({"start_time_ns": DAY_ONE + 11}, {"next day"}),
        ({"start_time_ns": DAY_TWO + 1}, set()),
        ({"end_time_ns": DAY_ONE}, set()),
        ({"end_time_ns": DAY_ONE + 1}, {"asx", "early"}),
        ({"end_time_ns": DAY_TWO}, {"asx", "early", "solana"}),
        ({"start_time_ns": DAY_ONE + 1, "end_time_ns": DAY_ONE + 5}, {"early"}),
    ],
)
def test_bounds_leave_files_out(
    writer: TableWriter, reader: TableReader, wanted: Mapping[str, Any], expected: set[str]
) -> None:
    commit_files(writer, FILES.values())
    planned = reader.plan(TRADE.table, **wanted).paths
    assert rows_of(planned) == sorted(row for name in expected for row in FILES[name])


def test_symbols_longer_than_their_bounds_are_found(writer: TableWriter, reader: TableReader) -> None:
    commit_files(writer, [[("ASX", LONG + "b", DAY_ONE)]])
    assert len(reader.plan(TRADE.table, symbol=LONG + "b").paths) == 1
    assert reader.plan(TRADE.table, symbol="y").paths == ()
    assert reader.plan(TRADE.table, symbol="x").paths == ()


def test_a_table_without_a_snapshot_has_an_empty_plan(reader: TableReader) -> None:
    assert reader.plan(TRADE.table) == ReadPlan(TRADE.table, None, None, ())
    assert reader.open_gaps(TRADE.table) == ()
    assert reader.next_offsets(TRADE.table) == {}
    assert reader.tables() == (TRADE.table, QUOTE.table, REFERENCE_DATA.table)


def test_a_commit_is_seen_at_once(warehouse: Warehouse, writer: TableWriter, reader: TableReader) -> None:
    assert offsets_of(reader.plan(TRADE.table)) == []
    for step in range(3):
        committed = advance(writer, 0, 2 * step or None, 2 * step + 2)
        plan = reader.plan(TRADE.table)
        snapshot = warehouse.table().current_snapshot()
        assert snapshot is not None
        assert (plan.snapshot_id, plan.snapshot_time_ms) == (committed.snapshot_id, snapshot.timestamp_ms)
        assert offsets_of(plan) == list(range(2 * step + 2))
        assert reader.next_offsets(TRADE.table) == {(TOPIC, 0): 2 * step + 2}
    assert reader.plan(QUOTE.table).paths == ()


def test_an_older_snapshot_is_read_as_it_was(writer: TableWriter, reader: TableReader) -> None:
    commits = [advance(writer, 0, None, 2), advance(writer, 1, None, 3), advance(writer, 0, 2, 4)]
    expected = [[0, 1], [0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2, 3]]
    for committed, offsets in [*zip(commits, expected, strict=True)] * 2:
        plan = reader.plan(TRADE.table, snapshot_id=committed.snapshot_id)
        assert plan.snapshot_id == committed.snapshot_id
        assert offsets_of(plan) == offsets


def test_an_unknown_snapshot_is_refused(writer: TableWriter, reader: TableReader) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match=r"market_data\.trades_v2 has no snapshot 12: it never existed"):
            reader.plan(TRADE.table, snapshot_id=12)
        advance(writer, 0, len(reader.plan(TRADE.table).paths) or None, 1 + len(reader.plan(TRADE.table).paths))


def test_an_unknown_table_is_refused(reader: TableReader) -> None:
    with pytest.raises(UsageError, match=r"there is no table market_data\.candles"):
        reader.plan("market_data.candles")


def test_a_rollback_is_seen_at_once(warehouse: Warehouse, writer: TableWriter, reader: TableReader) -> None:
    first = advance(writer, 0, None, 2)
    second = advance(writer, 0, 2, 4)
    assert offsets_of(reader.plan(TRADE.table)) == [0, 1, 2, 3]
    warehouse.table().manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    assert offsets_of(reader.plan(TRADE.table)) == [0, 1]
    assert reader.next_offsets(TRADE.table) == {(TOPIC, 0): 2}
    assert offsets_of(reader.plan(TRADE.table, snapshot_id=second.snapshot_id)) == [0, 1, 2, 3]


def test_merged_manifests_lose_no_file(writer: TableWriter, reader: TableReader) -> None:
    for step in range(22):
        advance(writer, 0, step or None, step + 1)
    assert offsets_of(reader.plan(TRADE.table)) == list(range(22))


def state_with_gaps(exchange: str, symbol: str, source: list[int], session: list[int]) -> pa.Table:
    state = PartitionState.empty(DEFAULT_SEQUENCES)
    for tracker, names, numbers in (
        (state.source, (exchange, symbol), source),
        (state.session, ("morning", exchange, symbol), session),
    ):
        tracker.check(
            [pa.array([name] * len(numbers)).dictionary_encode() for name in names], pa.array(numbers, pa.int64())
        )
    return state.to_arrow()


def test_open_gaps_are_those_of_the_current_state(writer: TableWriter, reader: TableReader) -> None:
    first = state_with_gaps("BINANCE", "BTCUSDT", [1, 2, 5, 9], [1, 3])
    advance(writer, 0, None, 2, state=first)
    advance(writer, 1, None, 2, state=state_with_gaps("ASX", "BHP", [7, 9], [1, 2]))
    bitcoin = [
        OpenGap("BINANCE", "BTCUSDT", 2, 2, "session"),
        OpenGap("BINANCE", "BTCUSDT", 3, 4, "source"),
        OpenGap("BINANCE", "BTCUSDT", 6, 8, "source"),
    ]
    miner = OpenGap("ASX", "BHP", 8, 8, "source")
    assert reader.open_gaps(TRADE.table) == (miner, *bitcoin)
    assert reader.open_gaps(TRADE.table, exchange="ASX") == (miner,)
    assert reader.open_gaps(TRADE.table, symbol="BTCUSDT") == tuple(bitcoin)
    assert reader.open_gaps(TRADE.table, exchange="ASX", symbol="BTCUSDT") == ()
    advance(writer, 0, 2, 4, state=state_with_gaps("BINANCE", "BTCUSDT", [1, 2, 5, 9, 3, 4, 6, 7, 8], [1, 3, 2]))
    assert reader.open_gaps(TRADE.table) == (miner,)


def test_a_lost_state_checkpoint_is_named(warehouse: Warehouse, writer: TableWriter, reader: TableReader) -> None:
    advance(writer, 0, None, 2)
    for path in (warehouse.folder / "warehouse/market_data/trades_v2/state").iterdir():
        path.unlink()
    with pytest.raises(StateLostError, match=r"state checkpoint .* is gone"):
        reader.open_gaps(TRADE.table)


@pytest.mark.parametrize("lost", ["snap-*.avro", "*-m0.avro"])
def test_a_lost_manifest_is_unavailable(
    warehouse: Warehouse, writer: TableWriter, reader: TableReader, lost: str
) -> None:
    advance(writer, 0, None, 2)
    for path in (warehouse.folder / "warehouse/market_data/trades_v2/metadata").glob(lost):
        path.unlink()
    with pytest.raises(UnavailableError, match=r"the manifests of .*trades_v2.* cannot be read"):
        reader.plan(TRADE.table)


@pytest.mark.parametrize("damaged", ["snap-*.avro", "*-m0.avro"])
def test_a_damaged_manifest_is_said_to_be_so(
    warehouse: Warehouse, writer: TableWriter, reader: TableReader, damaged: str
) -> None:
    advance(writer, 0, None, 2)
    for path in (warehouse.folder / "warehouse/market_data/trades_v2/metadata").glob(damaged):
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RefusedError, match=r"a manifest of .*trades_v2.* is damaged"):
        reader.plan(TRADE.table)


def test_next_offsets_name_every_partition(writer: TableWriter, reader: TableReader) -> None:
    advance(writer, 0, None, 2)
    advance(writer, 3, None, 7)
    assert reader.next_offsets(TRADE.table) == {(TOPIC, 0): 2, (TOPIC, 3): 7}


@pytest.mark.parametrize(
    ("address", "path"),
    [("file:///a b/c%20d", "/a b/c%20d"), ("/plain/path", "/plain/path"), ("file:/short", "/short")],
)
def test_local_addresses_are_paths(address: str, path: str) -> None:
    assert local_path(address) == path


def test_an_address_elsewhere_is_no_path() -> None:
    with pytest.raises(UsageError, match=r"s3://bucket/file\.parquet is not on this machine"):
        local_path("s3://bucket/file.parquet")


def test_a_plan_says_how_many_files_the_snapshot_has_and_how_large_those_chosen_are(
    writer: TableWriter, reader: TableReader
) -> None:
    commit_files(writer, FILES.values())
    plan = reader.plan(TRADE.table, exchange="ASX")
    assert (len(plan.paths), plan.snapshot_files) == (1, 4)
    assert plan.sizes_bytes == tuple(Path(path).stat().st_size for path in plan.paths)


def test_rows_of_a_plan_are_those_that_were_written(writer: TableWriter, reader: TableReader) -> None:
    advance(writer, 0, None, 3)
    (path,) = reader.plan(TRADE.table).paths
    assert pq.read_table(path).to_pylist() == trades(range(3)).to_pylist()

"""The files K2 writes: split by partition, exact, and described so that queries can skip them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.types import LongType, StringType

from k2.records.definition import TRADE, VENDOR_DATA_KEY_ID, VENDOR_DATA_VALUE_ID
from k2.records.schemas import DECIMAL_TYPE, table_schema
from k2.storage.parquet import split_by_partition, write_data_file
from tests.storage.warehouse_tables import DAY_NS, FIRST_TIME_NS, Warehouse, table_of, trade, trades, with_dictionaries

MIDNIGHT_NS = FIRST_TIME_NS // DAY_NS * DAY_NS
SPELLINGS = [pytest.param(lambda rows: rows, id="plain"), pytest.param(with_dictionaries, id="dictionaries")]


def written(warehouse: Warehouse, rows: pa.Table) -> tuple[DataFile, Path]:
    path = warehouse.folder / "file.parquet"
    table = warehouse.table()
    return write_data_file(rows, f"file://{path}", table.io, table.metadata), path


def offsets(rows: pa.Table) -> list[int]:
    return list(rows["kafka_offset"].to_pylist())


@pytest.mark.parametrize("spelled", SPELLINGS)
class TestSplitting:
    def test_a_single_partition_is_not_copied(self, spelled: Any) -> None:
        rows = spelled(trades(range(5)))
        (part,) = split_by_partition(rows)
        assert part is rows

    def test_the_last_nanosecond_of_a_day_is_apart_from_midnight(self, spelled: Any) -> None:
        times = [MIDNIGHT_NS, MIDNIGHT_NS - 1, MIDNIGHT_NS + 1, MIDNIGHT_NS + DAY_NS - 1, MIDNIGHT_NS - DAY_NS]
        rows = spelled(table_of([trade(offset, time_ns=time_ns) for offset, time_ns in enumerate(times)]))
        assert [offsets(part) for part in split_by_partition(rows)] == [[1, 4], [0, 2, 3]]

    def test_days_before_1970_are_told_apart(self, spelled: Any) -> None:
        rows = spelled(table_of([trade(offset, time_ns=time_ns) for offset, time_ns in enumerate([0, -1, 1, -DAY_NS])]))
        assert [offsets(part) for part in split_by_partition(rows)] == [[1, 3], [0, 2]]

    def test_exchanges_and_days_are_split_and_each_part_keeps_its_order(self, spelled: Any) -> None:
        where = [("B", 0), ("A", 1), ("A", 0), ("B", 1), ("A", 0), ("B", 0), ("A", 1)]
        rows = spelled(
            table_of(
                [trade(i, exchange=name, time_ns=MIDNIGHT_NS + day * DAY_NS) for i, (name, day) in enumerate(where)]
            )
        )
        parts = list(split_by_partition(rows))
        assert sorted(offsets(part) for part in parts) == [[0, 5], [1, 6], [2, 4], [3]]
        assert all(part.schema.equals(rows.schema, check_metadata=True) for part in parts)

    def test_chunks_with_their_own_dictionaries_are_split_by_value(self, spelled: Any) -> None:
        chunks = [spelled(trades(range(2), exchange="A")), spelled(trades(range(2, 4), exchange="B"))]
        rows = pa.concat_tables([*chunks, chunks[0]])
        assert sorted(offsets(part) for part in split_by_partition(rows)) == [[0, 1, 0, 1], [2, 3]]


@pytest.mark.parametrize("spelled", SPELLINGS)
class TestWriting:
    def test_bounds_partition_and_counts_describe_the_rows(self, warehouse: Warehouse, spelled: Any) -> None:
        symbols = ["ETHUSDT", "BTCUSDT", "SOLUSDT"]
        rows = table_of([trade(i, symbol=s, time_ns=MIDNIGHT_NS + i * 1_001) for i, s in enumerate(symbols)])
        file, path = written(warehouse, spelled(rows))
        schema = warehouse.table().schema()
        bounds = {
            name: (from_bytes(kind, file.lower_bounds[number]), from_bytes(kind, file.upper_bounds[number]))
            for name, kind in (("symbol", StringType()), ("exchange", StringType()), ("event_time_ns", LongType()))
            for number in [schema.find_field(name).field_id]
        }
        assert bounds == {
            "symbol": ("BTCUSDT", "SOLUSDT"),
            "exchange": ("BINANCE", "BINANCE"),
            "event_time_ns": (MIDNIGHT_NS, MIDNIGHT_NS + 2_002),
        }
        assert (file.partition[0], file.partition[1]) == (MIDNIGHT_NS // DAY_NS, "BINANCE")
        assert (file.record_count, file.file_size_in_bytes) == (3, path.stat().st_size)
        venue = schema.find_field("venue").field_id
        assert file.null_value_counts[venue] == 3

    def test_columns_carry_the_tables_field_ids(self, warehouse: Warehouse, spelled: Any) -> None:
        _, path = written(warehouse, spelled(trades(range(3))))
        in_file = pq.read_schema(path)
        ids = {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in in_file}
        assert ids == {field.name: field.field_id for field in warehouse.table().schema().fields}
        entry = in_file.field("vendor_data").type
        assert [int(f.metadata[b"PARQUET:field_id"]) for f in (entry.key_field, entry.item_field)] == [
            VENDOR_DATA_KEY_ID,
            VENDOR_DATA_VALUE_ID,
        ]

    def test_rows_come_back_exactly(self, warehouse: Warehouse, spelled: Any) -> None:
        highest, finest = Decimal("999999999999999999.9999999999"), Decimal("0.0000000001")
        extremes = [
            trade(0) | {"price": highest, "quantity": finest, "vendor_data": []},
            trade(1) | {"price": -highest, "quantity": -finest, "trade_id": None, "source_sequence": None},
            trade(2) | {"symbol": "größte/\U0001f680", "venue": "", "sequence_event": None},
            trade(3) | {"source_sequence": 2**63 - 1, "session_sequence": -(2**63), "receive_time_ns": 2**63 - 1},
        ]
        rows = table_of(extremes)
        _, path = written(warehouse, spelled(rows))
        read = pq.read_table(path)
        assert read.schema.field("price").type == DECIMAL_TYPE
        assert read.to_pylist() == rows.to_pylist()


def test_many_rows_make_row_groups_of_fifty_thousand(warehouse: Warehouse) -> None:
    rows = pa.concat_tables([trades(range(1_000))] * 51).combine_chunks()
    file, path = written(warehouse, rows)
    groups = pq.read_metadata(path)
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [50_000, 1_000]
    assert file.record_count == 51_000
    assert len(file.split_offsets or []) == 2


def test_the_tables_columns_are_those_of_the_definition(warehouse: Warehouse) -> None:
    assert [field.name for field in warehouse.table().schema().fields] == table_schema(TRADE).names

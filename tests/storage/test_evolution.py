"""A definition grows: the table with its rows grows with it, and what would change its rows is refused."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table

from k2.clock import SystemClock
from k2.errors import RefusedError
from k2.query.connection import DuckDBDatabase
from k2.query.pool import DuckDBConnectionPool
from k2.query.result import RowQuery
from k2.query.statements import select_rows
from k2.records.definition import TRADE, Field, Kind, RecordType
from k2.records.schemas import table_schema
from k2.settings import QuerySettings
from k2.storage.reader import TableReader
from k2.storage.writer import Advance, TableWriter
from tests.storage.warehouse_tables import STATE, TOPICS, Warehouse, advance, key, trades

TAPE = Field(50, "tape", Kind.STRING, "Tape of the trade.", nullable=True, since=2)
FEE = Field(51, "fee", Kind.DECIMAL, "Fee of the venue.", nullable=True, since=2)


def grown(*fields: Field, without: str = "") -> RecordType:
    """The trades' definition with more fields, or fewer."""
    kept = tuple(field for field in TRADE.fields if field.name != without)
    return replace(TRADE, fields=(*kept, *fields))


def writer_of(warehouse: Warehouse, record_type: RecordType) -> TableWriter:
    return TableWriter(
        record_type, warehouse.open_catalog(), warehouse.audit, warehouse.metrics, SystemClock(), warehouse._new_id
    )


def with_new_columns(rows: pa.Table, record_type: RecordType, tape: str) -> pa.Table:
    """Rows as a consumer of a later revision hands them over: in the order of its definition."""
    columns: dict[str, Any] = {name: rows.column(name) for name in rows.column_names}
    columns |= {
        "tape": pa.array([tape] * rows.num_rows, pa.string()),
        "fee": pa.array([Decimal("0.25")] * rows.num_rows, pa.decimal128(28, 10)),
    }
    schema = table_schema(record_type)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def commit_rows(writer: TableWriter, rows: pa.Table, expected: int, next_offset: int) -> None:
    state_path = writer.write_state(STATE, key(0), next_offset)
    advances = {key(0): Advance(expected, next_offset, state_path)}
    writer.commit(writer.write_rows(rows), advances, TOPICS, "grown")


def column_of(warehouse: Warehouse, name: str) -> list[Any]:
    """A column in the order of the log, read by PyIceberg's own scan."""
    rows = warehouse.table().scan(selected_fields=("kafka_offset", name)).to_arrow().sort_by("kafka_offset")
    values: list[Any] = rows.column(name).to_pylist()
    return values


def queried(warehouse: Warehouse, record_type: RecordType) -> list[dict[str, Any]]:
    """What the query engine's statement over the table's files answers under a definition."""
    plan = TableReader(warehouse.open_catalog()).plan(TRADE.table)
    statement = select_rows(record_type, plan.paths, RowQuery())
    database = DuckDBDatabase(warehouse.folder / "warehouse", QuerySettings(pool_size=1, threads=1))
    pool = DuckDBConnectionPool(database, pool_size=1, metrics=warehouse.metrics, clock=SystemClock())
    with pool, pool.acquire(10) as connection:
        rows: list[dict[str, Any]] = connection.fetch(statement.sql, statement.parameters).to_pylist()
    return rows


def test_a_table_with_rows_gets_the_columns_it_lacks_under_their_own_ids(warehouse: Warehouse) -> None:
    advance(warehouse.writer(), 0, None, 3)
    later = grown(TAPE, FEE)
    assert warehouse.open_catalog().evolve_table(later) == ("tape", "fee")
    added = {field.name: field.field_id for field in warehouse.table().schema().fields if field.name in ("tape", "fee")}
    assert added == {"tape": 50, "fee": 51}
    assert column_of(warehouse, "tape") == [None, None, None]
    assert column_of(warehouse, "price") == [Decimal("64000.0000000001")] * 3


def test_growing_again_changes_nothing(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    catalog.evolve_table(grown(TAPE))
    before = catalog.metadata_location(TRADE.table)
    assert catalog.evolve_table(grown(TAPE)) == ()
    assert catalog.evolve_table(TRADE) == ()
    assert catalog.metadata_location(TRADE.table) == before


def test_creating_the_tables_lets_those_grow_that_exist(warehouse: Warehouse) -> None:
    advance(warehouse.writer(), 0, None, 2)
    warehouse.open_catalog().create_tables([grown(TAPE)])
    assert "tape" in warehouse.table().schema().column_names
    assert warehouse.offsets() == [(0, 0), (0, 1)]


def test_old_rows_and_new_rows_are_read_together_by_old_and_new_code(warehouse: Warehouse) -> None:
    later = grown(TAPE, FEE)
    advance(warehouse.writer(), 0, None, 2)
    warehouse.open_catalog().evolve_table(later)
    commit_rows(writer_of(warehouse, later), with_new_columns(trades(range(2, 4)), later, "A"), 2, 4)
    assert column_of(warehouse, "tape") == [None, None, "A", "A"]
    assert [row["tape"] for row in queried(warehouse, later)] == [None, None, "A", "A"]
    assert [row["fee"] for row in queried(warehouse, later)] == [None, None, Decimal("0.25"), Decimal("0.25")]
    old_view = queried(warehouse, TRADE)
    assert [row["kafka_offset"] for row in old_view] == [0, 1, 2, 3]
    assert "tape" not in old_view[0]


def test_a_consumer_of_the_earlier_version_goes_on_writing(warehouse: Warehouse) -> None:
    earlier = warehouse.writer()
    advance(earlier, 0, None, 2)
    warehouse.open_catalog().evolve_table(grown(TAPE))
    advance(earlier, 0, 2, 4)
    advance(warehouse.writer(), 0, 4, 5)
    assert column_of(warehouse, "tape") == [None] * 5
    assert warehouse.offsets() == [(0, offset) for offset in range(5)]


def test_a_snapshot_from_before_the_growth_is_still_read(warehouse: Warehouse) -> None:
    later = grown(TAPE, FEE)
    first = advance(warehouse.writer(), 0, None, 2)
    warehouse.open_catalog().evolve_table(later)
    commit_rows(writer_of(warehouse, later), with_new_columns(trades(range(2, 3)), later, "A"), 2, 3)
    plan = TableReader(warehouse.open_catalog()).plan(TRADE.table, snapshot_id=first.snapshot_id)
    assert [pq.read_metadata(path).num_rows for path in plan.paths] == [2]


def test_progress_and_state_survive_the_growth(warehouse: Warehouse) -> None:
    advance(warehouse.writer(), 0, None, 3)
    before = warehouse.writer().progress()
    warehouse.open_catalog().evolve_table(grown(TAPE))
    assert warehouse.writer().progress() == before


@pytest.mark.parametrize(("meanwhile", "added"), [("rows", ("tape",)), ("the same growth", ())])
def test_a_commit_in_between_is_no_obstacle(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, meanwhile: str, added: tuple[str, ...]
) -> None:
    catalog, other, writer = warehouse.open_catalog(), warehouse.open_catalog(), warehouse.writer()
    load = catalog.load

    def load_then_lose_the_race(table: str) -> Table:
        loaded = load(table)
        monkeypatch.setattr(catalog, "load", load)
        if meanwhile == "rows":
            advance(writer, 0, None, 2)
        else:
            other.evolve_table(grown(TAPE))
        return loaded

    monkeypatch.setattr(catalog, "load", load_then_lose_the_race)
    assert catalog.evolve_table(grown(TAPE)) == added
    assert warehouse.table().schema().column_names[-1] == "tape"
    assert column_of(warehouse, "tape") == ([None, None] if meanwhile == "rows" else [])


def test_two_versions_may_grow_a_table_one_after_the_other(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    catalog.evolve_table(grown(TAPE))
    assert catalog.evolve_table(grown(TAPE, FEE)) == ("fee",)
    names = warehouse.table().schema().column_names
    assert names[-2:] == ["tape", "fee"]


CONTRADICTIONS: dict[str, tuple[RecordType, str]] = {
    "a new field that cannot be null": (
        grown(replace(TAPE, nullable=False)),
        "column tape string does not fit the table market_data.trades_v2: rows already there do not have it",
    ),
    "another type": (
        grown(Field(11, "price", Kind.STRING, "Price."), without="price"),
        "column price string does not fit .*: the table has price decimal\\(28, 10\\) under its id 11",
    ),
    "another name": (grown(Field(13, "aggressor", Kind.STRING, "Side."), without="side"), "the table has side string"),
    "another id": (
        grown(replace(TRADE.field("venue"), field_id=60), without="venue"),
        "the table has its name under the id 30",
    ),
    "null where it was not": (
        grown(replace(TRADE.field("price"), nullable=True), without="price"),
        "column price decimal\\(28, 10\\), nullable does not fit",
    ),
    "an id of the provenance": (grown(replace(TAPE, field_id=101)), "under its id 101"),
    "a field dropped that no row can do without": (grown(without="price"), "this version does not know it"),
}


@pytest.mark.parametrize(("record_type", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_contradicts_the_table_is_refused_and_changes_nothing(
    warehouse: Warehouse, record_type: RecordType, message: str
) -> None:
    advance(warehouse.writer(), 0, None, 1)
    catalog = warehouse.open_catalog()
    before = catalog.metadata_location(TRADE.table)
    with pytest.raises(RefusedError, match=message) as caught:
        catalog.evolve_table(record_type)
    assert "\n" not in str(caught.value)
    assert catalog.metadata_location(TRADE.table) == before


def test_an_id_that_a_dropped_column_had_is_not_given_to_another(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    catalog.evolve_table(grown(TAPE))
    with warehouse.table().update_schema() as update:
        update.delete_column("tape")
    with pytest.raises(RefusedError, match="the table has tape string, nullable under its id 50"):
        catalog.evolve_table(grown(replace(FEE, field_id=50)))
    assert catalog.evolve_table(grown(TAPE)) == ("tape",)

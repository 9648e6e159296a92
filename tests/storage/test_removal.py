"""A table that is removed leaves neither an entry nor a file, and its neighbours are not touched."""

from collections.abc import Iterator

import pytest

from k2.records.definition import QUOTE, TRADE
from k2.storage.catalog import IcebergCatalog
from k2.storage.removal import remove_table, table_content
from tests.storage.warehouse_tables import Warehouse, advance


@pytest.fixture
def catalog(warehouse: Warehouse) -> Iterator[IcebergCatalog]:
    opened = warehouse.open_catalog()
    yield opened
    opened.close()


def test_what_there_is_of_a_table_is_counted(warehouse: Warehouse, catalog: IcebergCatalog) -> None:
    empty = table_content(catalog, TRADE.table)
    assert empty is not None
    assert (empty.rows, empty.files) == (0, 1)
    advance(warehouse.writer(), 0, None, 4)
    content = table_content(catalog, TRADE.table)
    assert content is not None
    found = [
        path for path in (warehouse.folder / "warehouse" / "market_data" / "trades_v2").rglob("*") if path.is_file()
    ]
    assert (content.name, content.rows, content.files) == (TRADE.table, 4, len(found))
    assert content.size_bytes == sum(path.stat().st_size for path in found)


def test_a_removed_table_leaves_nothing_and_its_neighbour_everything(
    warehouse: Warehouse, catalog: IcebergCatalog
) -> None:
    advance(warehouse.writer(), 0, None, 4)
    stray = warehouse.folder / "warehouse" / "market_data" / "trades_v2" / "data" / "stray.parquet"
    stray.write_bytes(b"of a writer that was killed")
    neighbour = table_content(catalog, QUOTE.table)
    remove_table(catalog, TRADE.table)
    assert table_content(catalog, TRADE.table) is None
    assert not (warehouse.folder / "warehouse" / "market_data" / "trades_v2").exists()
    assert table_content(catalog, QUOTE.table) == neighbour


def test_removing_what_is_not_there_is_no_error(catalog: IcebergCatalog) -> None:
    remove_table(catalog, TRADE.table)
    remove_table(catalog, TRADE.table)
    assert table_content(catalog, TRADE.table) is None
    catalog.create_tables([TRADE])
    assert table_content(catalog, TRADE.table) is not None

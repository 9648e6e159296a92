"""A table that is removed leaves neither an entry nor a file, and its neighbours are not touched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from k2.records.definition import QUOTE, TRADE
from k2.storage.catalog import IcebergCatalog
from k2.storage.removal import delete_tree, remove_table, table_content
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


def test_what_a_removal_left_that_was_ended_goes_with_the_next(warehouse: Warehouse, catalog: IcebergCatalog) -> None:
    advance(warehouse.writer(), 0, None, 4)
    whole = table_content(catalog, TRADE.table)
    catalog.forget(TRADE.table)
    left = table_content(catalog, TRADE.table)
    assert whole is not None
    assert left is not None
    assert whole.is_registered
    assert not left.is_registered
    assert (left.rows, left.files, left.size_bytes) == (0, whole.files, whole.size_bytes)
    remove_table(catalog, TRADE.table)
    assert table_content(catalog, TRADE.table) is None


class FolderKeeper(fs.FSSpecHandler):  # type: ignore[misc]  # pyarrow says no types
    """A store that keeps folders as objects, is asked for the uppermost first, and refuses one that holds something."""

    def __init__(self, *, refuses_for_ever: bool = False) -> None:
        super().__init__(None)
        self.inner: Any = fs.LocalFileSystem()
        self.refuses_for_ever = refuses_for_ever
        self.asked = 0

    def get_file_info(self, paths: list[str]) -> Any:
        return self.inner.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> Any:
        return self.inner.get_file_info(selector)

    def delete_dir(self, path: str) -> None:
        self.asked += 1
        refused = False
        for one in [Path(path), *sorted(Path(path).rglob("*"))]:
            if one.is_file() and not self.refuses_for_ever:
                one.unlink()
            elif one.is_dir() and any(one.iterdir()):
                refused = True
            elif one.is_dir():
                one.rmdir()
        if refused:
            raise OSError("Directory object not empty.")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a/b/one", "a/b/two", "a/three"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path / "tree"


def test_a_store_that_refuses_folders_that_hold_something_is_asked_until_they_hold_nothing(tree: Path) -> None:
    keeper = FolderKeeper()
    delete_tree(fs.PyFileSystem(keeper), str(tree))
    assert not tree.exists()
    assert keeper.asked > 2


def test_a_store_that_always_refuses_is_asked_twice(tree: Path) -> None:
    keeper = FolderKeeper(refuses_for_ever=True)
    with pytest.raises(OSError, match="not empty"):
        delete_tree(fs.PyFileSystem(keeper), str(tree))
    assert keeper.asked == 2


def test_a_tree_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    delete_tree(fs.LocalFileSystem(), str(tmp_path / "nothing"))

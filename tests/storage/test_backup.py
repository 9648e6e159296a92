"""A backup holds all that the tables are made of, and makes them again: rows, history, progress and state."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2.clock import SystemClock
from k2.errors import RefusedError, UsageError
from k2.records.definition import QUOTE, TRADE
from k2.storage.backup import Backup, check_restore, read_backup, restore, take_backup
from k2.storage.catalog import IcebergCatalog
from k2.storage.rollback import plan_rollback
from tests.storage.warehouse_tables import Warehouse, advance, key

TABLES = (TRADE.table, QUOTE.table)


@pytest.fixture
def catalog(warehouse: Warehouse) -> Iterator[IcebergCatalog]:
    opened = warehouse.open_catalog()
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def back_up(catalog: IcebergCatalog, folder: Path) -> Backup:
    return take_backup(catalog, TABLES, folder, SystemClock())


def lose_everything(warehouse: Warehouse) -> IcebergCatalog:
    """Catalog and warehouse gone; a catalog that knows nothing."""
    # An open connection would go on seeing the file that is gone.
    warehouse.close()
    (warehouse.folder / "catalog.db").unlink()
    shutil.rmtree(warehouse.folder / "warehouse")
    return warehouse.open_catalog()


def put_back(catalog: IcebergCatalog, folder: Path, *, replace: bool = False) -> Backup:
    backup = read_backup(folder)
    check_restore(catalog, backup, folder, replace=replace)
    restore(catalog, backup, folder)
    return backup


def test_after_a_total_loss_rows_history_progress_and_state_are_back(
    warehouse: Warehouse, catalog: IcebergCatalog, folder: Path
) -> None:
    writer = warehouse.writer()
    first = advance(writer, 0, None, 4).snapshot_id
    second = advance(writer, 0, 4, 8).snapshot_id
    rows = warehouse.offsets()
    taken = back_up(catalog, folder)
    assert [(table.rows, table.snapshot_id) for table in taken.tables] == [(8, second), (0, None)]
    assert taken.tables[0].next_offsets == {str(key(0)): 8}
    found = lose_everything(warehouse)
    put_back(found, folder)
    assert warehouse.offsets() == rows
    # Going back needs an earlier snapshot and its state.
    assert plan_rollback(found, TRADE.table).to_snapshot == first
    again = warehouse.writer()
    assert again.progress().partitions[key(0)].next_offset == 8
    advance(again, 0, 8, 12)
    assert warehouse.offsets() == [(0, offset) for offset in range(12)]


def test_a_second_backup_copies_only_what_is_new(warehouse: Warehouse, catalog: IcebergCatalog, folder: Path) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 4)
    first = back_up(catalog, folder)
    assert first.copied_bytes == first.size_bytes > 0
    advance(writer, 0, 4, 8)
    second = back_up(catalog, folder)
    assert set(first.files) - set(second.files) == {first.tables[0].metadata}
    assert second.copied_bytes == second.size_bytes - sum(
        file.size_bytes for path, file in second.files.items() if path in first.files
    )
    assert read_backup(folder).name == second.name
    assert read_backup(folder, first.name).tables == first.tables


def test_an_earlier_backup_of_the_folder_can_be_restored(
    warehouse: Warehouse, catalog: IcebergCatalog, folder: Path
) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 4)
    first = back_up(catalog, folder)
    advance(writer, 0, 4, 8)
    back_up(catalog, folder)
    earlier = read_backup(folder, first.name)
    check_restore(catalog, earlier, folder, replace=True)
    restore(catalog, earlier, folder)
    assert warehouse.offsets() == [(0, offset) for offset in range(4)]


@pytest.mark.parametrize("damage", ["gone", "altered", "cut off"])
def test_a_backup_that_is_not_whole_changes_nothing(
    warehouse: Warehouse, catalog: IcebergCatalog, folder: Path, damage: str
) -> None:
    advance(warehouse.writer(), 0, None, 4)
    backup = back_up(catalog, folder)
    path = folder / "files" / next(path for path in backup.files if path.endswith(".parquet"))
    body = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]) if damage == "altered" else body[:-1])
    found = lose_everything(warehouse)
    with pytest.raises(RefusedError, match="is missing or damaged"):
        put_back(found, folder)
    assert not found.has_rows(TRADE.table)
    assert list((warehouse.folder / "warehouse").rglob("*.*")) == []


def test_a_damaged_file_is_copied_again_by_the_next_backup(
    warehouse: Warehouse, catalog: IcebergCatalog, folder: Path
) -> None:
    advance(warehouse.writer(), 0, None, 4)
    backup = back_up(catalog, folder)
    path = folder / "files" / next(iter(backup.files))
    path.write_bytes(b"")
    assert back_up(catalog, folder).copied_bytes == backup.files[next(iter(backup.files))].size_bytes
    check_restore(catalog, read_backup(folder), folder, replace=True)


def test_tables_with_rows_are_replaced_only_where_that_is_said(
    warehouse: Warehouse, catalog: IcebergCatalog, folder: Path
) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 4)
    back_up(catalog, folder)
    advance(writer, 0, 4, 8)
    with pytest.raises(RefusedError, match=r"market_data\.trades_v2 has rows"):
        put_back(catalog, folder)
    assert len(warehouse.offsets()) == 8
    put_back(catalog, folder, replace=True)
    assert warehouse.offsets() == [(0, offset) for offset in range(4)]


def test_empty_tables_that_a_new_start_made_are_no_obstacle(
    warehouse: Warehouse, catalog: IcebergCatalog, folder: Path
) -> None:
    advance(warehouse.writer(), 0, None, 4)
    back_up(catalog, folder)
    found = lose_everything(warehouse)
    found.create_tables()
    put_back(found, folder)
    assert warehouse.offsets() == [(0, offset) for offset in range(4)]


def test_a_backup_of_another_warehouse_is_refused(warehouse: Warehouse, catalog: IcebergCatalog, folder: Path) -> None:
    advance(warehouse.writer(), 0, None, 4)
    back_up(catalog, folder)
    (path,) = (folder / "backups").iterdir()
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "warehouse": "s3://elsewhere"}))
    with pytest.raises(UsageError, match="is of the warehouse s3://elsewhere"):
        put_back(catalog, folder, replace=True)


def test_a_file_that_a_table_names_and_that_is_gone_makes_no_backup(
    warehouse: Warehouse, catalog: IcebergCatalog, folder: Path
) -> None:
    advance(warehouse.writer(), 0, None, 4)
    next((warehouse.folder / "warehouse").rglob("*.parquet")).unlink()
    with pytest.raises(Exception, match="cannot be copied"):
        back_up(catalog, folder)
    with pytest.raises(UsageError, match="holds no backup"):
        read_backup(folder)


def test_an_unreadable_description_and_an_unknown_name_are_one_line(catalog: IcebergCatalog, folder: Path) -> None:
    backup = back_up(catalog, folder)
    with pytest.raises(UsageError, match=f"has no backup tomorrow: it has {backup.name}"):
        read_backup(folder, "tomorrow")
    (folder / "backups" / f"{backup.name}.json").write_text("{")
    with pytest.raises(UsageError, match="is no backup that this version reads"):
        read_backup(folder)

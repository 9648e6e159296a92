"""The catalog: tables are created once whoever is first, and what cannot be used is said in one line."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyiceberg.io.pyarrow import pyarrow_to_schema

from k2.errors import K2Error, RefusedError, UnavailableError, UsageError
from k2.records.definition import RECORD_TYPES, TRADE, RecordType
from k2.records.schemas import table_schema
from k2.settings import StorageSettings
from k2.storage.catalog import IcebergCatalog
from k2.storage.reader import TableReader
from tests.storage.warehouse_tables import Warehouse, advance

ROOT = Path(__file__).resolve().parents[2]


def refusal(catalog_uri: str, warehouse: str) -> K2Error:
    """What opening the catalog and creating the tables ends with."""
    with pytest.raises((UsageError, UnavailableError, RefusedError)) as caught:
        IcebergCatalog(StorageSettings(catalog_uri=catalog_uri, warehouse=warehouse)).create_tables()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("record_type", RECORD_TYPES.values())
def test_a_table_has_the_columns_and_numbers_of_its_definition(warehouse: Warehouse, record_type: RecordType) -> None:
    table = warehouse.open_catalog().load(record_type.table)
    assert table.schema().as_struct() == pyarrow_to_schema(table_schema(record_type)).as_struct()
    assert table.metadata.last_column_id == table.schema().highest_field_id
    assert str(table.spec()) == "[\n  1000: event_day: day(105)\n  1001: exchange: identity(3)\n]"


def test_creating_the_tables_again_leaves_them_as_they_are(warehouse: Warehouse) -> None:
    advance(warehouse.writer(), 0, None, 2)
    catalog = warehouse.open_catalog()
    before = catalog.metadata_location(TRADE.table)
    catalog.create_tables()
    assert catalog.metadata_location(TRADE.table) == before
    assert warehouse.offsets() == [(0, 0), (0, 1)]


def test_processes_that_create_the_tables_at_once_all_succeed(tmp_path: Path) -> None:
    addresses = [f"sqlite:///{tmp_path}/catalog.db", str(tmp_path / "warehouse")]
    processes = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("create_tables.py")), *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    ended = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        ended.append((process.returncode, errors))
    assert ended == [(0, "")] * 2
    warehouse = Warehouse(tmp_path)
    warehouse.open_catalog()
    advance(warehouse.writer(), 0, None, 2)
    assert warehouse.offsets() == [(0, 0), (0, 1)]
    warehouse.close()


def test_catalogs_opened_by_many_threads_at_once_all_work(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    start = threading.Barrier(6)

    def create() -> None:
        start.wait()
        warehouse.open_catalog().create_tables()

    with ThreadPoolExecutor(6) as pool:
        for outcome in [pool.submit(create) for _ in range(6)]:
            outcome.result()
    metadata = list(tmp_path.glob("warehouse/market_data/*/metadata/*.metadata.json"))
    assert len(metadata) == len(RECORD_TYPES)
    warehouse.close()


@pytest.mark.parametrize("name", ["two words", "50%20", "größer"])
def test_a_warehouse_of_any_name_is_where_it_was_asked_for(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    warehouse = Warehouse(folder)
    catalog = warehouse.open_catalog()
    catalog.create_tables()
    advance(warehouse.writer(), 0, None, 2)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (path,) = TableReader(catalog).plan(TRADE.table).paths
    assert Path(path).parent == folder / "warehouse/market_data/trades_v2/data"
    assert Path(path).is_file()
    warehouse.close()


@pytest.mark.parametrize("name", ["what?", "number#1"])
def test_a_warehouse_whose_name_would_be_cut_is_refused(tmp_path: Path, name: str) -> None:
    error = refusal(f"sqlite:///{tmp_path}/catalog.db", str(tmp_path / name))
    assert isinstance(error, UsageError)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("warehouse", "kind", "message"),
    [
        ("a file", UsageError, "a file cannot be created: File exists"),
        ("a file/below", UsageError, "a file/below cannot be created: Not a directory"),
        ("taken", UnavailableError, "taken takes no file: "),
    ],
)
def test_an_unusable_warehouse_is_named(tmp_path: Path, warehouse: str, kind: type[K2Error], message: str) -> None:
    (tmp_path / "a file").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "market_data").write_text("a file where the folder should be")
    error = refusal(f"sqlite:///{tmp_path}/catalog.db", str(tmp_path / warehouse))
    assert type(error) is kind
    assert f"{tmp_path}/{message}" in str(error)


@pytest.mark.filterwarnings("ignore:No preferred file implementation")
def test_a_warehouse_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    error = refusal(f"sqlite:///{tmp_path}/catalog.db", "tape://reel/7")
    assert isinstance(error, UsageError)
    assert "tape://reel/7" in str(error)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("no address", UsageError),
        ("postgresql://k2:hunter2@host:port/db", UsageError),
        ("postgresql+nothing://k2:hunter2@host/db", UsageError),
        ("tape://k2:hunter2@host/db", UsageError),
        ("sqlite:////{folder}/a file/catalog.db", UsageError),
        ("sqlite:////{folder}", UnavailableError),
        ("sqlite:////{folder}/a file", RefusedError),
    ],
)
def test_an_unusable_catalog_is_named_without_its_password(tmp_path: Path, uri: str, kind: type[K2Error]) -> None:
    (tmp_path / "a file").write_text("this is no database, and long enough to be told from one " * 10)
    error = refusal(uri.format(folder=tmp_path), str(tmp_path / "warehouse"))
    assert type(error) is kind
    assert "catalog" in str(error)
    assert "hunter2" not in str(error)


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path) -> None:
    error = refusal("mssql+pymssql://k2:hunter2@host/db", str(tmp_path / "warehouse"))
    assert isinstance(error, UsageError)
    assert str(error).startswith("the catalog at mssql+pymssql://k2:***@host/db needs a driver that is not installed")


def test_a_table_that_does_not_exist_asks_for_init(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    for look in (catalog.load, catalog.metadata_location):
        with pytest.raises(UsageError, match=r"no table market_data\.candles in the catalog: run `k2 init`"):
            look("market_data.candles")


def test_a_catalog_that_was_overwritten_is_no_catalog_any_more(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    (warehouse.folder / "catalog.db").write_bytes(b"overwritten by something that is no database" * 100)
    for look in (catalog.load, catalog.metadata_location):
        with pytest.raises(RefusedError, match="it must be restored") as caught:
            look(TRADE.table)
        assert "\n" not in str(caught.value)
    with pytest.raises(RefusedError, match="the catalog does not answer"):
        catalog.create_tables()


def test_a_catalog_that_another_process_holds_is_unavailable(warehouse: Warehouse) -> None:
    holder = sqlite3.connect(warehouse.folder / "catalog.db", isolation_level=None)
    with contextlib.closing(holder):
        holder.execute("BEGIN EXCLUSIVE")
        error = refusal(f"sqlite:///{warehouse.folder}/catalog.db?timeout=0.05", str(warehouse.folder / "warehouse"))
    assert isinstance(error, UnavailableError)
    assert "database is locked" in str(error)


def test_a_table_whose_metadata_is_gone_is_unavailable(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    Path(catalog.metadata_location(TRADE.table).removeprefix("file://")).unlink()
    with pytest.raises(UnavailableError, match=r"table market_data\.trades_v2 cannot be loaded"):
        catalog.load(TRADE.table)


@pytest.mark.parametrize(
    "body", [b"", b'{"location', b"\xff\xfe", b"{}"], ids=["empty", "cut off", "no text", "no table"]
)
def test_a_table_whose_metadata_is_damaged_says_so(warehouse: Warehouse, body: bytes) -> None:
    catalog = warehouse.open_catalog()
    Path(catalog.metadata_location(TRADE.table).removeprefix("file://")).write_bytes(body)
    with pytest.raises(RefusedError, match=r"table market_data\.trades_v2 cannot be loaded: .*damaged") as caught:
        catalog.load(TRADE.table)
    assert "\n" not in str(caught.value)


def test_a_warehouse_that_is_away_is_waited_for(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    tables = warehouse.folder / "warehouse" / "market_data"
    tables.rename(warehouse.folder / "away")
    tables.write_text("a file where a folder was")
    with pytest.raises(UnavailableError, match=r"table market_data\.trades_v2 cannot be loaded"):
        catalog.load(TRADE.table)

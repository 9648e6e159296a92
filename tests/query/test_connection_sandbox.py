"""What SQL on a pooled connection cannot do, also SQL that nobody has checked."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2.errors import K2Error, UsageError
from k2.query.connection import DuckDBDatabase, QueryConnection
from k2.settings import QuerySettings


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    folder = tmp_path / "warehouse"
    folder.mkdir()
    pq.write_table(pa.table({"n": [1, 2, 3]}), folder / "rows.parquet")
    pq.write_table(pa.table({"n": [4]}), tmp_path / "outside.parquet")
    (folder / "way_out").symlink_to("/etc/passwd")
    return folder


@pytest.fixture
def connection(warehouse: Path) -> Iterator[QueryConnection]:
    database = DuckDBDatabase(warehouse, QuerySettings(threads=1, memory_limit="256MB"))
    yield database.connect()
    database.close()


def test_files_of_the_warehouse_are_read(connection: QueryConnection, warehouse: Path) -> None:
    rows = connection.fetch("SELECT sum(n) AS total FROM read_parquet(?)", [[str(warehouse / "rows.parquet")]])
    assert rows["total"].to_pylist() == [6]


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "{warehouse}/../outside.parquet", "{warehouse}/way_out", "/dev/stdin"]
)
@pytest.mark.parametrize("reader", ["read_text", "read_csv", "read_parquet", "read_blob", "sniff_csv", "glob"])
def test_nothing_outside_the_warehouse_is_read(
    connection: QueryConnection, warehouse: Path, reader: str, place: str
) -> None:
    with pytest.raises(K2Error, match=r"disabled by configuration"):
        connection.fetch(f"SELECT * FROM {reader}('{place.format(warehouse=warehouse)}')")


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH '{folder}/x.db'",
        "COPY (SELECT 1) TO '{folder}/x.csv'",
        "EXPORT DATABASE '{folder}/x'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 64",
        "SET VARIABLE a = 1",
        "RESET lock_configuration",
        "SET enable_external_access = true",
        "PRAGMA memory_limit = '64GB'",
        "CREATE TABLE t (n INTEGER)",
        "CREATE SECRET s (TYPE s3)",
        "CALL pragma_version()",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "EXPLAIN ANALYZE SELECT 1",
        "",
    ],
)
@pytest.mark.parametrize("place", ["warehouse", "elsewhere"])
def test_only_a_single_select_is_run(
    connection: QueryConnection, warehouse: Path, tmp_path: Path, statement: str, place: str
) -> None:
    folder = warehouse if place == "warehouse" else tmp_path
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="only a single SELECT statement"):
        connection.fetch(statement.format(folder=folder))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "statement", ["SET threads = 64", "SET lock_configuration = false", "SET allowed_directories = ['/']"]
)
def test_the_configuration_is_locked_even_below_our_own_check(connection: QueryConnection, statement: str) -> None:
    with pytest.raises(Exception, match="the configuration has been locked"):
        connection._cursor.execute(statement)


@pytest.mark.parametrize(
    "statement", ["INSTALL httpfs", "LOAD httpfs", "ATTACH '/tmp/x.db'", "COPY (SELECT 1) TO '/tmp/x.csv'"]
)
def test_duckdb_itself_refuses_to_leave_the_warehouse(connection: QueryConnection, statement: str) -> None:
    with pytest.raises(Exception, match=r"disabled (by|through) configuration"):
        connection._cursor.execute(statement)


def test_variables_of_the_program_are_not_tables(connection: QueryConnection) -> None:
    secret = pa.table({"n": [1]})
    with pytest.raises(K2Error, match="secret does not exist"):
        connection.fetch("SELECT * FROM secret")
    assert secret.num_rows == 1


def test_times_are_utc_whatever_the_machine_says(monkeypatch: pytest.MonkeyPatch, connection: QueryConnection) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    rows = connection.fetch("SELECT TIMESTAMPTZ '2026-11-21 00:00:00' AS t")
    assert rows.schema.field("t").type == pa.timestamp("us", tz="UTC")
    assert rows["t"][0].as_py().isoformat() == "2026-11-21T00:00:00+00:00"

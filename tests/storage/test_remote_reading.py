"""Data files that are not on this machine are read from the cache, fetched through the table's own file access."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2.errors import QueryTimeoutError, UnavailableError, UsageError
from k2.records.definition import TRADE
from k2.storage.file_cache import FileCache
from k2.storage.plan import ReadPlan
from k2.storage.reader import TableReader
from tests.storage.warehouse_tables import Warehouse, advance


@pytest.fixture
def reader(warehouse: Warehouse, tmp_path: Path) -> TableReader:
    writer = warehouse.writer()
    advance(writer, 0, None, 3)
    advance(writer, 0, 3, 5)
    return TableReader(warehouse.open_catalog(), FileCache(tmp_path / "cache", 10**6))


def elsewhere(plan: ReadPlan) -> ReadPlan:
    """A plan as a warehouse elsewhere makes it: addresses instead of paths."""
    return ReadPlan(
        plan.table,
        plan.snapshot_id,
        plan.snapshot_time_ms,
        tuple(f"file://{path}" for path in plan.paths),
        plan.sizes_bytes,
        plan.snapshot_files,
    )


def go_on() -> None:
    return None


def test_files_of_several_plans_come_back_plan_by_plan(reader: TableReader, tmp_path: Path) -> None:
    plan = reader.plan(TRADE.table)
    empty = ReadPlan(TRADE.table, None, None, ())
    with reader.local_files([elsewhere(plan), empty, elsewhere(plan)], go_on) as (first, second, third):
        assert (second, third) == ((), first)
        assert all(Path(path).parent == tmp_path / "cache" for path in first)
        read = pa.concat_tables([pq.read_table(path) for path in first])
        assert read.equals(pa.concat_tables([pq.read_table(path) for path in plan.paths]))


def test_files_on_this_machine_are_read_where_they_are(reader: TableReader, tmp_path: Path) -> None:
    plan = reader.plan(TRADE.table)
    with reader.local_files([plan], go_on) as (paths,):
        assert paths == plan.paths
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_cache_the_remedy_is_named(warehouse: Warehouse, reader: TableReader) -> None:
    plan = elsewhere(reader.plan(TRADE.table))
    with (
        pytest.raises(UsageError, match="set K2_QUERY__CACHE_DIRECTORY"),
        TableReader(warehouse.open_catalog()).local_files([plan], go_on),
    ):
        pass


def test_a_file_that_is_gone_is_unavailable(reader: TableReader) -> None:
    plan = reader.plan(TRADE.table)
    Path(plan.paths[0]).unlink()
    with pytest.raises(UnavailableError, match="a data file cannot be fetched"):
        reader.local_files([elsewhere(plan)], go_on).__enter__()


def test_a_deadline_ends_a_download(reader: TableReader, tmp_path: Path) -> None:
    def late() -> None:
        raise QueryTimeoutError("the limit of 1 s has passed")

    with pytest.raises(QueryTimeoutError):
        reader.local_files([elsewhere(reader.plan(TRADE.table))], late).__enter__()
    assert not list((tmp_path / "cache").glob("*.parquet*"))


def test_what_a_query_raises_is_its_own(reader: TableReader) -> None:
    with pytest.raises(OSError, match="of the query"), reader.local_files([elsewhere(reader.plan(TRADE.table))], go_on):
        raise OSError("of the query")

"""Which snapshot a time means, and when no answer can be given."""

import time

import pytest

from k2.errors import UsageError
from k2.records.definition import QUOTE, TRADE
from k2.storage.reader import TableReader
from tests.storage.warehouse_tables import Warehouse, advance

NS_PER_MS = 1_000_000


@pytest.fixture
def commits(warehouse: Warehouse) -> list[int]:
    """Four snapshots at four moments."""
    writer = warehouse.writer()
    made: list[int] = []
    for step in range(4):
        made.append(advance(writer, 0, step or None, step + 1).snapshot_id)
        time.sleep(0.002)
    return made


@pytest.fixture
def reader(warehouse: Warehouse) -> TableReader:
    return TableReader(warehouse.open_catalog())


def times(reader: TableReader) -> list[int]:
    return [snapshot.committed_time_ms for snapshot in reader.snapshots(TRADE.table)]


def read_at(reader: TableReader, time_ms: int) -> int | None:
    return reader.plan(TRADE.table, as_of_time_ns=time_ms * NS_PER_MS).snapshot_id


def test_a_snapshot_holds_from_its_commit_to_the_next(reader: TableReader, commits: list[int]) -> None:
    committed = times(reader)
    assert committed == sorted(committed)
    for snapshot_id, start, end in zip(commits, committed, [*committed[1:], committed[-1] + 10**9], strict=True):
        assert start < end
        assert [read_at(reader, start), read_at(reader, end - 1)] == [snapshot_id] * 2


def test_before_the_first_commit_the_table_was_empty(reader: TableReader, commits: list[int]) -> None:
    plan = reader.plan(TRADE.table, as_of_time_ns=times(reader)[0] * NS_PER_MS - 1)
    assert (plan.snapshot_id, plan.paths) == (None, ())
    assert reader.plan(QUOTE.table, as_of_time_ns=1).snapshot_id is None


def test_a_rollback_leaves_what_was_current_before_it(
    warehouse: Warehouse, reader: TableReader, commits: list[int]
) -> None:
    committed = times(reader)
    warehouse.table().manage_snapshots().rollback_to_snapshot(commits[0]).commit()
    assert read_at(reader, committed[2]) == commits[2]
    assert read_at(reader, 2**43) == commits[0]
    assert [one.is_current for one in reader.snapshots(TRADE.table)] == [True, False, False, False]


def expire(warehouse: Warehouse, *snapshot_ids: int) -> None:
    warehouse.table().maintenance.expire_snapshots().by_ids(list(snapshot_ids)).commit()


def test_the_time_of_an_expired_snapshot_is_refused(
    warehouse: Warehouse, reader: TableReader, commits: list[int]
) -> None:
    committed = times(reader)
    expire(warehouse, *commits[:2])
    for time_ms in (0, committed[0], committed[1], committed[2] - 1):
        with pytest.raises(UsageError, match=r"market_data\.trades_v2 keeps no snapshot of that time: it has expired"):
            read_at(reader, time_ms)
    assert read_at(reader, committed[2]) == commits[2]
    assert [one.snapshot_id for one in reader.snapshots(TRADE.table)] == commits[2:]


def test_a_hole_in_the_history_is_not_filled_with_the_snapshot_before_it(
    warehouse: Warehouse, reader: TableReader, commits: list[int]
) -> None:
    committed = times(reader)
    warehouse.table().manage_snapshots().rollback_to_snapshot(commits[0]).commit()
    expire(warehouse, commits[1], commits[2])
    with pytest.raises(UsageError, match="keeps no snapshot of that time"):
        read_at(reader, committed[2])
    assert read_at(reader, committed[3]) == commits[3]
    assert read_at(reader, 2**43) == commits[0]


def test_a_snapshot_and_a_time_cannot_both_be_asked_for(reader: TableReader, commits: list[int]) -> None:
    with pytest.raises(UsageError, match="a snapshot or a time can be asked for, not both"):
        reader.plan(TRADE.table, snapshot_id=commits[0], as_of_time_ns=1)


def test_snapshots_tell_what_they_brought(reader: TableReader, commits: list[int]) -> None:
    found = reader.snapshots(TRADE.table)
    assert [one.snapshot_id for one in found] == commits
    assert [one.parent_id for one in found] == [None, *commits[:-1]]
    assert [(one.added_records, one.total_records) for one in found] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert {one.operation for one in found} == {"append"}
    assert reader.snapshots(QUOTE.table) == ()

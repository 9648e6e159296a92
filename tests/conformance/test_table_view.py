"""The harness's own eyes on a table: what they saw stays seen, though the table forgets it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.drivers.table_view import SnapshotFollower, view_table
from k2.records.definition import TRADE
from tests.storage.warehouse_tables import Warehouse, advance


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Warehouse]:
    """A warehouse whose tables keep two snapshots."""
    warehouse = Warehouse(tmp_path, changed_settings={"snapshots_kept": 2, "snapshot_hours_kept": 0})
    warehouse.open_catalog().create_tables()
    yield warehouse
    warehouse.close()


def test_snapshots_that_a_table_has_forgotten_stay_with_who_followed_it(forgetful: Warehouse) -> None:
    follower, writer, seen = SnapshotFollower(forgetful.settings, TRADE.table), forgetful.writer(), []
    assert follower.look() == 0
    for offset in range(0, 15, 3):
        advance(writer, 0, offset or None, offset + 3)
        seen.append(follower.look())
    assert seen == [3, 6, 9, 12, 15]
    assert view_table(forgetful.settings, TRADE.table).snapshots.num_rows < 5
    followed = follower.snapshots().to_pylist()
    assert [row["added_records"] for row in followed] == [3] * 5
    assert [row["progress"][0]["next_offset"] for row in followed] == seen

"""Going back takes rows, progress and state together, to a snapshot whose state is whole, or nowhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2.clock import SystemClock
from k2.errors import StaleWriterError, StateLostError, UsageError
from k2.records.definition import TRADE
from k2.storage.audit import ROLLED_BACK
from k2.storage.catalog import IcebergCatalog
from k2.storage.rollback import carry_out, plan_rollback
from k2.storage.writer import TableWriter
from tests.storage.warehouse_tables import Warehouse, advance, key


@pytest.fixture
def catalog(warehouse: Warehouse) -> Iterator[IcebergCatalog]:
    opened = warehouse.open_catalog()
    yield opened
    opened.close()


@pytest.fixture
def writer(warehouse: Warehouse) -> TableWriter:
    return warehouse.writer()


@pytest.fixture
def snapshots(writer: TableWriter) -> list[int]:
    """Three commits of four rows each to partition 0."""
    return [advance(writer, 0, start or None, start + 4).snapshot_id for start in (0, 4, 8)]


def test_without_a_name_it_goes_to_the_newest_earlier_snapshot(
    warehouse: Warehouse, catalog: IcebergCatalog, writer: TableWriter, snapshots: list[int]
) -> None:
    plan = plan_rollback(catalog, TRADE.table)
    assert (plan.to_snapshot, plan.snapshots_undone, plan.rows_removed) == (snapshots[1], 1, 4)
    carry_out(catalog, plan, warehouse.audit, SystemClock())
    assert writer.progress().partitions[key(0)].next_offset == 8
    assert warehouse.offsets() == [(0, offset) for offset in range(8)]
    entry = warehouse.entries()[-1]
    assert (entry.status, entry.snapshot_id_before, entry.snapshot_id_after) == (ROLLED_BACK, *snapshots[:0:-1])
    assert (entry.record_count, entry.sequence_number_before, entry.sequence_number_after) == (-4, 3, 2)


def test_a_named_snapshot_is_gone_back_to(
    warehouse: Warehouse, catalog: IcebergCatalog, writer: TableWriter, snapshots: list[int]
) -> None:
    carry_out(catalog, plan_rollback(catalog, TRADE.table, snapshots[0]), warehouse.audit, SystemClock())
    assert writer.progress().partitions[key(0)].next_offset == 4


def test_a_snapshot_with_lost_state_is_passed_over(
    warehouse: Warehouse, catalog: IcebergCatalog, writer: TableWriter, snapshots: list[int]
) -> None:
    state_of(warehouse, 8).unlink()
    assert plan_rollback(catalog, TRADE.table).to_snapshot == snapshots[0]
    with pytest.raises(StateLostError, match="is gone"):
        plan_rollback(catalog, TRADE.table, snapshots[1])
    state_of(warehouse, 4).write_bytes(b"not what was written")
    with pytest.raises(StateLostError, match="no earlier snapshot of trades_v2 has its state whole"):
        plan_rollback(catalog, TRADE.table)


def test_a_stranger_and_an_empty_table_are_refused(catalog: IcebergCatalog, writer: TableWriter) -> None:
    with pytest.raises(UsageError, match="nothing to go back to"):
        plan_rollback(catalog, TRADE.table)
    advance(writer, 0, None, 4)
    advance(writer, 0, 4, 8)
    with pytest.raises(UsageError, match="snapshot 7 is no ancestor"):
        plan_rollback(catalog, TRADE.table, 7)


def test_a_table_that_moved_since_the_plan_is_left_alone(
    warehouse: Warehouse, catalog: IcebergCatalog, writer: TableWriter, snapshots: list[int]
) -> None:
    plan = plan_rollback(catalog, TRADE.table)
    advance(writer, 0, 12, 16)
    with pytest.raises(StaleWriterError, match="stop its consumers first"):
        carry_out(catalog, plan, warehouse.audit, SystemClock())
    assert writer.progress().partitions[key(0)].next_offset == 16
    assert ROLLED_BACK not in {entry.status for entry in warehouse.entries()}


def state_of(warehouse: Warehouse, next_offset: int) -> Path:
    """The checkpoint as of an offset."""
    (path,) = (warehouse.folder / "warehouse/market_data/trades_v2/state").glob(f"*-0-{next_offset}-*.arrow")
    return path

"""Which snapshots go, which stay, and what of their files: history is long, bounded, and never cut under a reader."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.snapshots import Operation, Snapshot, Summary

from k2.records.definition import TRADE
from k2.storage.expired_files import ExpiredFiles
from k2.storage.progress import PROGRESS_PROPERTY
from k2.storage.retention import expired_snapshots, lineage
from k2.storage.rollback import carry_out, plan_rollback
from k2.storage.writer import TableWriter
from tests.resilience.manual_clock import ManualClock
from tests.storage.warehouse_tables import Warehouse, advance, key

KEPT = 4
DELAY_SECONDS = 100.0
NOON_NS = 1_795_262_400 * 10**9


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bounded(tmp_path: Path, clock: ManualClock) -> Iterator[Warehouse]:
    """A warehouse that keeps four snapshots and nothing older."""
    settings = {"snapshots_kept": KEPT, "snapshot_hours_kept": 0, "snapshot_days_kept": 0}
    warehouse = Warehouse(tmp_path, clock=clock, changed_settings={**settings, "deletion_delay_seconds": DELAY_SECONDS})
    warehouse.open_catalog().create_tables()
    yield warehouse
    warehouse.close()


def commits(writer: TableWriter, count: int, start: int = 0) -> list[int]:
    """So many commits of one row each; the snapshots' ids."""
    return [advance(writer, 0, offset or None, offset + 1).snapshot_id for offset in range(start, start + count)]


def kept(warehouse: Warehouse) -> list[int]:
    return [snapshot.snapshot_id for snapshot in warehouse.table().metadata.snapshots]


def sweep(writer: TableWriter) -> None:
    expired: ExpiredFiles = writer._expired_files
    expired.sweep()
    expired.wait()


def test_the_newest_snapshots_are_kept_and_no_row_is_lost(bounded: Warehouse) -> None:
    made = commits(bounded.writer(), 12)
    assert kept(bounded) == made[-KEPT:]
    assert bounded.offsets() == [(0, offset) for offset in range(12)]
    assert bounded.writer().progress().partitions[key(0)].next_offset == 12
    assert len(bounded.entries()) == 12


def test_older_snapshots_are_kept_by_the_hour_and_by_the_day(bounded: Warehouse) -> None:
    """A commit every ten minutes for four days, thinned as each of them would have."""
    settings = bounded.settings.model_copy(update={"snapshot_hours_kept": 5, "snapshot_days_kept": 2})
    every_ms, empty = 600_000, bounded.table().metadata
    snapshots: list[Snapshot] = []
    for number in range(1, 4 * 144 + 1):
        now_ms = NOON_NS // 1_000_000 + number * every_ms
        known = empty.model_copy(update={"snapshots": snapshots, "current_snapshot_id": number - 1 or None})
        gone = {snapshot.snapshot_id for snapshot in expired_snapshots(known, settings, now_ms)}
        snapshots = [one for one in snapshots if one.snapshot_id not in gone]
        summary = Summary(Operation.APPEND, **{PROGRESS_PROPERTY: "{}"})
        snapshots.append(
            Snapshot.model_validate(
                {
                    "snapshot-id": number,
                    "parent-snapshot-id": None if number - 1 in gone else number - 1,
                    "sequence-number": number,
                    "timestamp-ms": now_ms,
                    "manifest-list": "",
                    "summary": summary,
                }
            )
        )
    minutes_ago = [(now_ms - snapshot.timestamp_ms) // 60_000 for snapshot in reversed(snapshots)]
    assert minutes_ago[:KEPT] == [0, 10, 20, 30]
    # The last commit of an hour comes ten minutes before the next hour; this one has not ended.
    assert minutes_ago[KEPT:-3] == [40, 70, 130, 190, 250]
    # Today before those hours, yesterday, the day before.
    assert minutes_ago[-3:] == [310, 730, 730 + 24 * 60]


def test_what_a_branch_or_a_tag_names_is_kept(bounded: Warehouse) -> None:
    writer = bounded.writer()
    first = commits(writer, 1)
    bounded.table().manage_snapshots().create_tag(first[0], "audited").commit()
    made = commits(writer, 9, 1)
    assert kept(bounded) == [*first, *made[-KEPT:]]
    sweep_all(bounded, writer)
    assert len(bounded.table().scan(snapshot_id=first[0]).to_arrow()) == 1


def test_progress_is_found_behind_snapshots_of_others(bounded: Warehouse) -> None:
    writer = bounded.writer()
    commits(writer, KEPT)
    for _ in range(KEPT + 2):
        bounded.table().append(bounded.table().scan().to_arrow().slice(0, 0))
    assert writer.progress().partitions[key(0)].next_offset == KEPT
    made = commits(writer, 1, KEPT)
    assert made[0] in kept(bounded)
    # The line back to progress stays until a newer snapshot carries it.
    assert len(kept(bounded)) > KEPT
    commits(writer, 1, KEPT + 1)
    assert len(kept(bounded)) == KEPT


def test_a_rollback_reaches_back_as_far_as_the_newest_and_what_it_undid_goes_with_them(
    bounded: Warehouse, clock: ManualClock
) -> None:
    writer, catalog = bounded.writer(), bounded.open_catalog()
    made = commits(writer, 6)
    plan = plan_rollback(catalog, TRADE.table, made[3])
    carry_out(catalog, plan, bounded.audit, clock)
    assert writer.progress().partitions[key(0)].next_offset == 4
    again = commits(writer, 1, 4)
    metadata = bounded.table().metadata
    assert set(kept(bounded)) >= {made[4], made[5], *again}
    assert [snapshot.snapshot_id for snapshot in lineage(metadata)] == [
        snapshot_id for snapshot_id in kept(bounded) if snapshot_id not in made[4:]
    ]
    last = commits(writer, 5, 5)
    assert kept(bounded) == last[-KEPT:]
    assert bounded.offsets() == [(0, offset) for offset in range(10)]


def test_files_of_expired_snapshots_outlive_reads_that_have_begun(bounded: Warehouse, clock: ManualClock) -> None:
    writer = bounded.writer()
    commits(writer, 1)
    reading = bounded.table()
    commits(writer, 8, 1)
    sweep(writer)
    assert len(reading.scan().to_arrow()) == 1
    clock.advance(DELAY_SECONDS - 1)
    sweep(writer)
    assert len(reading.scan().to_arrow()) == 1
    clock.advance(2)
    sweep(writer)
    assert not Path(str(reading.current_snapshot().manifest_list).removeprefix("file://")).exists()  # type: ignore[union-attr]
    assert bounded.offsets() == [(0, offset) for offset in range(9)]


def test_after_the_delay_only_what_kept_snapshots_name_is_left(bounded: Warehouse) -> None:
    writer = bounded.writer()
    commits(writer, 30)
    sweep_all(bounded, writer)
    table = bounded.table()
    named = {snapshot.manifest_list for snapshot in table.metadata.snapshots}
    named |= {manifest.manifest_path for one in table.metadata.snapshots for manifest in one.manifests(table.io)}
    folder = bounded.folder / "warehouse/market_data/trades_v2/metadata"
    left = {f"file://{path}" for path in folder.glob("*.avro")}
    assert left >= named
    # The library forgets the one it wrote in a commit that merged manifests: one in twenty commits.
    assert len(left - named) == 1
    assert len(bounded.state_files()) == KEPT
    assert len(bounded.data_files()) == 30
    for snapshot in table.metadata.snapshots:
        assert len(table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()) == snapshot.sequence_number


def test_a_state_another_partition_still_stands_at_is_kept(bounded: Warehouse) -> None:
    writer = bounded.writer()
    standing = advance(writer, 1, None, 3).progress.partitions[key(1)]
    commits(writer, 9)
    sweep_all(bounded, writer)
    assert writer.progress().partitions[key(1)] == standing
    writer.read_state(str(standing.state_path))


def test_what_the_catalog_keeps_of_a_table_is_what_its_file_holds(bounded: Warehouse) -> None:
    catalog = bounded.open_catalog()
    commits(bounded.writer(catalog), 9)
    loaded = catalog.load(TRADE.table)
    written = FromInputFile.table_metadata(loaded.io.new_input(loaded.metadata_location))
    assert loaded.metadata == written


def test_another_process_s_commit_is_seen_at_once(bounded: Warehouse) -> None:
    mine, other = bounded.writer(), bounded.writer()
    advance(mine, 0, None, 1)
    advance(other, 0, 1, 5)
    assert mine.progress().partitions[key(0)].next_offset == 5


def sweep_all(warehouse: Warehouse, writer: TableWriter) -> None:
    """Let the delay pass, and sweep."""
    assert isinstance(warehouse.clock, ManualClock)
    warehouse.clock.advance(DELAY_SECONDS + 1)
    sweep(writer)

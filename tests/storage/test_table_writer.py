"""Commits compare before they swap: no row twice, no live file deleted, no other partition's progress lost."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException
from sqlalchemy.exc import OperationalError

from k2.errors import K2Error, RetriesExhaustedError, StaleWriterError, StateLostError, UnavailableError
from k2.records.definition import TRADE
from k2.storage.catalog import IcebergCatalog
from k2.storage.progress import Progress
from k2.storage.writer import COMMIT_ATTEMPTS, NO_FILES, Advance, TableWriter, WrittenFiles
from tests.storage.warehouse_tables import (
    DAY_NS,
    FIRST_TIME_NS,
    STATE,
    TOPICS,
    Warehouse,
    advance,
    commit,
    key,
    prepare,
    trades,
)

Interruption = Callable[[Callable[..., Any], tuple[Any, ...]], Any]


@contextmanager
def around_the_catalogs_commit(catalog: IcebergCatalog, interruption: Interruption) -> Iterator[None]:
    """Let `interruption(really_commit, arguments)` stand between a writer and its catalog's swap."""
    library_catalog = catalog.load(TRADE.table).catalog
    really_commit = library_catalog.commit_table
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library_catalog, "commit_table", lambda *arguments: interruption(really_commit, arguments))
        yield


def moved(progress: Progress) -> dict[int, int]:
    """Next offset by partition."""
    return {key.partition: value.next_offset for key, value in progress.partitions.items()}


@pytest.fixture
def writer(warehouse: Warehouse) -> TableWriter:
    return warehouse.writer()


def test_a_table_without_a_snapshot_has_no_progress(writer: TableWriter) -> None:
    assert writer.progress() == Progress()


def test_the_first_commit_brings_rows_and_progress_together(warehouse: Warehouse, writer: TableWriter) -> None:
    batch = prepare(writer, 0, None, 3)
    assert warehouse.offsets() == []
    committed = commit(writer, batch)
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2)]
    assert committed.snapshot_id == warehouse.table().metadata.current_snapshot_id
    assert committed.sequence_number == 1
    assert writer.progress() == committed.progress
    assert moved(committed.progress) == {0: 3}
    assert committed.progress.topics == TOPICS
    assert committed.progress.partitions[key(0)].state_path == batch.advances[key(0)].state_path


def test_rows_come_back_as_they_were_written(warehouse: Warehouse, writer: TableWriter) -> None:
    advance(writer, 0, None, 3)
    written = trades(range(3)).to_pylist()
    assert sorted(warehouse.table().scan().to_arrow().to_pylist(), key=lambda row: row["kafka_offset"]) == written


def test_a_state_checkpoint_comes_back_as_it_was_written(writer: TableWriter) -> None:
    committed = advance(writer, 0, None, 3)
    path = committed.progress.partitions[key(0)].state_path
    assert path is not None
    assert writer.read_state(path).equals(STATE)


def test_one_commit_moves_several_partitions(warehouse: Warehouse, writer: TableWriter) -> None:
    first, second = prepare(writer, 0, None, 2), prepare(writer, 1, None, 3, exchange="KRAKEN")
    written = WrittenFiles((*first.written.files, *second.written.files), 5, "several", "crypto")
    committed = writer.commit(written, {**first.advances, **second.advances}, TOPICS, "both")
    assert moved(committed.progress) == {0: 2, 1: 3}
    assert warehouse.offsets() == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]


def test_rows_of_several_days_and_exchanges_become_visible_in_one_snapshot(
    warehouse: Warehouse, writer: TableWriter
) -> None:
    late = trades(range(2), time_ns=FIRST_TIME_NS + DAY_NS)
    written = writer.write_rows(pa.concat_tables([trades(range(2, 4), exchange="KRAKEN"), late]))
    assert (len(written.files), written.rows, written.exchange) == (2, 4, "several")
    state_path = writer.write_state(STATE, key(0), 4)
    writer.commit(written, {key(0): Advance(None, 4, state_path)}, TOPICS, "mixed")
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_an_empty_batch_moves_progress_by_an_empty_snapshot(warehouse: Warehouse, writer: TableWriter) -> None:
    advance(writer, 0, None, 3)
    files = warehouse.data_files()
    assert writer.write_rows(trades(range(0))) == NO_FILES
    rejects_only = Advance(3, 9, writer.write_state(STATE, key(0), 9))
    committed = writer.commit(NO_FILES, {key(0): rejects_only}, TOPICS, "rejects only")
    assert moved(writer.progress()) == {0: 9}
    assert len(warehouse.table().metadata.snapshots) == committed.sequence_number == 2
    assert warehouse.data_files() == files
    assert len(warehouse.offsets()) == 3


@pytest.mark.parametrize("expected", [None, 0, 2, 4])
def test_a_writer_that_started_elsewhere_is_refused_and_leaves_no_files(
    warehouse: Warehouse, writer: TableWriter, expected: int | None
) -> None:
    advance(writer, 0, None, 3)
    live = warehouse.data_files() | warehouse.state_files()
    stale_writer = warehouse.writer()
    stale = prepare(stale_writer, 0, expected, 6)
    with pytest.raises(StaleWriterError, match=r"cluster-a/market\.crypto\.trades/0 .* stands at 3"):
        commit(stale_writer, stale)
    remaining = warehouse.data_files() | warehouse.state_files()
    assert live <= remaining
    assert not stale.file_names & remaining
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2)]
    assert moved(writer.progress()) == {0: 3}


def test_a_writer_that_expects_progress_an_empty_table_lacks_is_refused(writer: TableWriter) -> None:
    with pytest.raises(StaleWriterError, match="stands at nothing, this writer started at 5"):
        advance(writer, 0, 5, 8)
    assert writer.progress() == Progress()


def test_one_moved_partition_refuses_the_whole_batch(warehouse: Warehouse, writer: TableWriter) -> None:
    advance(writer, 1, None, 4)
    fresh, stale = prepare(writer, 0, None, 2), prepare(writer, 1, 3, 6)
    with pytest.raises(StaleWriterError):
        writer.commit(fresh.written, {**fresh.advances, **stale.advances}, TOPICS, "half stale")
    assert moved(writer.progress()) == {1: 4}
    assert not fresh.file_names & (warehouse.data_files() | warehouse.state_files())


def test_the_same_files_offered_twice_are_refused_and_stay(warehouse: Warehouse, writer: TableWriter) -> None:
    batch = prepare(writer, 0, None, 3)
    commit(writer, batch)
    with pytest.raises(StaleWriterError):
        commit(writer, batch)
    assert batch.file_names <= warehouse.data_files() | warehouse.state_files()
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2)]


def test_two_writers_of_different_partitions_take_turns(warehouse: Warehouse) -> None:
    first, second = warehouse.writer(), warehouse.writer()
    prepared = [prepare(first, 0, None, 2), prepare(second, 1, None, 2)]
    commit(first, prepared[0])
    commit(second, prepared[1])
    advance(first, 0, 2, 4)
    assert moved(second.progress()) == {0: 4, 1: 2}
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]


def test_a_commit_overtaken_on_another_partition_is_retried_and_both_hold(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    slow, quick = warehouse.writer(catalog), warehouse.writer()
    batch = prepare(slow, 0, None, 2)
    calls: list[int] = []

    def overtake(really_commit: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        calls.append(len(calls))
        if len(calls) <= 2:
            advance(quick, 1, 2 * (len(calls) - 1) or None, 2 * len(calls))
        return really_commit(*arguments)

    with around_the_catalogs_commit(catalog, overtake):
        committed = commit(slow, batch)
    assert calls == [0, 1, 2]
    assert moved(committed.progress) == {0: 2, 1: 4}
    assert warehouse.offsets() == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]
    assert [entry.status for entry in warehouse.entries()] == ["success", "failed", "success", "failed", "success"]


def test_a_commit_overtaken_on_its_own_partition_is_refused(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    slow, quick = warehouse.writer(catalog), warehouse.writer()
    batch = prepare(slow, 0, None, 5)

    def overtake(really_commit: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        advance(quick, 0, None, 3)
        return really_commit(*arguments)

    with around_the_catalogs_commit(catalog, overtake), pytest.raises(StaleWriterError):
        commit(slow, batch)
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2)]
    assert not batch.file_names & (warehouse.data_files() | warehouse.state_files())


@pytest.mark.parametrize(
    "cut", [OSError("connection reset"), OperationalError("COMMIT", None, Exception("server closed the connection"))]
)
def test_an_answer_cut_off_after_the_commit_deletes_nothing(warehouse: Warehouse, cut: Exception) -> None:
    catalog = warehouse.open_catalog()
    writer = warehouse.writer(catalog)
    batch = prepare(writer, 0, None, 3)

    def cut_off(really_commit: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        really_commit(*arguments)
        raise cut

    with around_the_catalogs_commit(catalog, cut_off), pytest.raises(UnavailableError, match="must be read again"):
        commit(writer, batch)
    assert moved(writer.progress()) == {0: 3}
    with pytest.raises(StaleWriterError):
        commit(writer, batch)
    assert batch.file_names <= warehouse.data_files() | warehouse.state_files()
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2)]
    (entry,) = [entry for entry in warehouse.entries() if entry.status == "failed"]
    assert entry.error_type == type(cut).__name__


def test_a_request_cut_off_before_the_commit_leaves_progress_and_files(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    writer = warehouse.writer(catalog)
    batch = prepare(writer, 0, None, 3)

    def cut_off(really_commit: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        raise OSError("connection refused")

    with around_the_catalogs_commit(catalog, cut_off), pytest.raises(UnavailableError):
        commit(writer, batch)
    assert writer.progress() == Progress()
    assert batch.file_names <= warehouse.data_files() | warehouse.state_files()
    commit(writer, batch)
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2)]


def test_a_writer_that_always_loses_gives_up_and_removes_its_files(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    writer = warehouse.writer(catalog)
    advance(writer, 0, None, 2)
    batch = prepare(writer, 0, 2, 4)
    attempts = []

    def lose(really_commit: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        attempts.append(arguments)
        raise CommitFailedException("another commit was first")

    with around_the_catalogs_commit(catalog, lose), pytest.raises(RetriesExhaustedError, match="nothing was committed"):
        commit(writer, batch)
    assert len(attempts) == COMMIT_ATTEMPTS
    assert not batch.file_names & (warehouse.data_files() | warehouse.state_files())
    assert warehouse.offsets() == [(0, 0), (0, 1)]
    advance(writer, 0, 2, 4)
    assert len(warehouse.offsets()) == 4


def test_rolling_the_table_back_rolls_progress_back(warehouse: Warehouse, writer: TableWriter) -> None:
    earlier = advance(writer, 0, None, 2)
    advance(writer, 1, None, 2)
    advance(writer, 0, 2, 4)
    warehouse.table().manage_snapshots().rollback_to_snapshot(earlier.snapshot_id).commit()
    assert writer.progress() == earlier.progress
    with pytest.raises(StaleWriterError):
        advance(writer, 0, 4, 6)
    assert warehouse.offsets() == [(0, 0), (0, 1)]
    assert moved(advance(writer, 0, 2, 5).progress) == {0: 5}
    assert warehouse.offsets() == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]


def test_progress_survives_a_snapshot_somebody_else_made(warehouse: Warehouse, writer: TableWriter) -> None:
    committed = advance(writer, 0, None, 2)
    warehouse.table().delete("exchange = 'BINANCE'")
    assert warehouse.offsets() == []
    assert writer.progress() == committed.progress
    assert moved(advance(writer, 0, 2, 3).progress) == {0: 3}


def test_writers_racing_on_different_partitions_lose_nothing(warehouse: Warehouse) -> None:
    writers = [warehouse.writer() for _ in range(3)]
    rounds = 4

    def run(partition: int) -> None:
        for step in range(rounds):
            advance(writers[partition], partition, 2 * step or None, 2 * step + 2)

    errors = race([partial(run, partition) for partition in range(3)])
    assert errors == [None, None, None]
    assert moved(writers[0].progress()) == {0: 2 * rounds, 1: 2 * rounds, 2: 2 * rounds}
    assert warehouse.offsets() == [(partition, offset) for partition in range(3) for offset in range(2 * rounds)]


def test_of_writers_racing_on_one_partition_one_wins_each_round(warehouse: Warehouse) -> None:
    writers = [warehouse.writer() for _ in range(3)]
    for step in range(4):
        errors = race([partial(advance, writer, 0, 2 * step or None, 2 * step + 2) for writer in writers])
        assert sorted(type(error).__name__ for error in errors) == ["NoneType", "StaleWriterError", "StaleWriterError"]
        assert warehouse.offsets() == [(0, offset) for offset in range(2 * step + 2)]
        assert len(warehouse.data_files()) == len(warehouse.state_files()) == step + 1


def test_a_warehouse_that_takes_no_file_is_unavailable(warehouse: Warehouse, writer: TableWriter) -> None:
    advance(writer, 0, None, 1)
    folder = warehouse.folder / "warehouse" / "market_data" / "trades_v2" / "state"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("a file where the folder should be")
    with pytest.raises(UnavailableError, match=r"the warehouse of market_data\.trades_v2"):
        writer.write_state(STATE, key(0), 2)


def test_a_missing_state_checkpoint_is_lost_state(warehouse: Warehouse, writer: TableWriter) -> None:
    path = writer.write_state(STATE, key(0), 1)
    state_file(warehouse, path).unlink()
    with pytest.raises(StateLostError, match=r"is gone: `k2 rollback`"):
        writer.read_state(path)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_state_checkpoint_with_one_byte_changed_is_lost_state(
    warehouse: Warehouse, writer: TableWriter, place: int
) -> None:
    path = writer.write_state(STATE, key(0), 1)
    body = bytearray(state_file(warehouse, path).read_bytes())
    body[place] ^= 1
    state_file(warehouse, path).write_bytes(body)
    with pytest.raises(StateLostError, match=r"was altered after it was written"):
        writer.read_state(path)


def test_a_state_checkpoint_cut_short_is_lost_state(warehouse: Warehouse, writer: TableWriter) -> None:
    path = writer.write_state(STATE, key(0), 1)
    file = state_file(warehouse, path)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(StateLostError, match=r"was altered"):
        writer.read_state(path)


def test_a_checkpoint_of_the_first_versions_has_no_digest_in_its_name(
    warehouse: Warehouse, writer: TableWriter
) -> None:
    path = writer.write_state(STATE, key(0), 1)
    old_name = path.rsplit("-", 1)[0] + "-3f2504e0-4f89-11d3-9a0c-0305e82c3301.arrow"
    state_file(warehouse, path).rename(state_file(warehouse, old_name))
    assert writer.read_state(old_name).equals(STATE)


def state_file(warehouse: Warehouse, path: str) -> Path:
    return warehouse.folder / "warehouse/market_data/trades_v2/state" / path.rsplit("/", 1)[-1]


def race(runners: list[Callable[[], object]]) -> list[K2Error | None]:
    """Run all at the same moment; what each raised, or None."""
    errors: list[K2Error | None] = [None] * len(runners)
    start = threading.Barrier(len(runners))

    def run(index: int) -> None:
        start.wait()
        try:
            runners[index]()
        except K2Error as error:
            errors[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors

"""Every attempt leaves one line; what a crash kept from being written is recovered from the table's own history."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException

from k2.errors import RetriesExhaustedError, StaleWriterError, UnavailableError
from k2.records.definition import TRADE
from k2.storage.audit import AuditEntry, TransactionAuditLog
from k2.storage.writer import COMMIT_ATTEMPTS
from tests.storage.warehouse_tables import Warehouse, advance

ENTRY = AuditEntry(
    wall_ns=1,
    table=TRADE.table,
    status="success",
    exchange="BINANCE",
    asset_class="crypto",
    record_count=3,
    snapshot_id_before=None,
    snapshot_id_after=7,
    sequence_number_before=None,
    sequence_number_after=1,
    transaction_duration_ms=2.5,
)
LABELS = {"exchange": "BINANCE", "asset_class": "crypto", "table": TRADE.table}
Damage = Callable[[Path], object]


def lose_the_last_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def keep_half_of_the_last_line(path: Path) -> None:
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[: len(last) // 2])


def test_entries_chain_up(warehouse: Warehouse) -> None:
    first, second = warehouse.writer(), warehouse.writer()
    committed = [advance(first, 0, None, 2), advance(second, 1, None, 3), advance(first, 0, 2, 5)]
    entries = warehouse.entries()
    assert [entry.snapshot_id_after for entry in entries] == [c.snapshot_id for c in committed]
    assert [entry.sequence_number_after for entry in entries] == [1, 2, 3]
    assert (entries[0].snapshot_id_before, entries[0].sequence_number_before) == (None, None)
    for earlier, later in pairwise(entries):
        assert later.snapshot_id_before == earlier.snapshot_id_after
        assert later.sequence_number_before == earlier.sequence_number_after
    assert [entry.record_count for entry in entries] == [entry.added_records for entry in entries] == [2, 3, 3]
    assert [entry.total_records for entry in entries] == [2, 5, 8]
    assert [entry.total_data_files for entry in entries] == [1, 2, 3]
    assert [entry.batch for entry in entries] == ["0:None-2", "1:None-3", "0:2-5"]
    assert {entry.status for entry in entries} == {"success"}
    assert all(entry.transaction_duration_ms is not None and entry.transaction_duration_ms > 0 for entry in entries)
    assert all((entry.added_files_size_bytes or 0) > 0 and not entry.recovered for entry in entries)


def test_failed_attempts_are_logged_with_the_state_before(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = warehouse.open_catalog()
    writer = warehouse.writer(catalog)
    committed = advance(writer, 0, None, 2)

    def lose(*arguments: Any) -> None:
        raise CommitFailedException("branch main has changed\nsecond line")

    monkeypatch.setattr(catalog.load(TRADE.table).catalog, "commit_table", lose)
    with pytest.raises(RetriesExhaustedError):
        advance(writer, 0, 2, 6)
    _, *failures = warehouse.entries()
    assert len(failures) == COMMIT_ATTEMPTS
    for failure in failures:
        assert failure.status == "failed"
        assert (failure.snapshot_id_before, failure.sequence_number_before) == (committed.snapshot_id, 1)
        assert (failure.snapshot_id_after, failure.sequence_number_after) == (None, None)
        assert (failure.error_type, failure.error) == ("CommitFailedException", "branch main has changed")
        assert (failure.record_count, failure.batch, failure.exchange) == (4, "0:2-6", "BINANCE")
    errors = {"table": TRADE.table, "error": "CommitFailedException"}
    assert warehouse.metrics.value("iceberg_transactions_total", {"status": "failed", **LABELS}) == COMMIT_ATTEMPTS
    assert warehouse.metrics.value("iceberg_transactions_total", {"status": "success", **LABELS}) == 1
    assert warehouse.metrics.value("k2_iceberg_write_errors_total", errors) == COMMIT_ATTEMPTS


def test_transactions_rows_and_durations_are_counted(warehouse: Warehouse) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 2)
    advance(writer, 0, 2, 7)
    with pytest.raises(StaleWriterError):
        advance(writer, 0, 2, 9)
    metrics = warehouse.metrics
    assert metrics.value("iceberg_transactions_total", {"status": "success", **LABELS}) == 2
    assert metrics.value("iceberg_transactions_total", {"status": "failed", **LABELS}) == 0
    assert metrics.value("iceberg_transaction_rows_sum", LABELS) == 7
    assert metrics.value("k2_iceberg_transaction_seconds_count", {"table": TRADE.table}) == 2


@pytest.mark.parametrize(
    ("damage", "lost"), [(lose_the_last_line, 1), (keep_half_of_the_last_line, 1), (Path.unlink, 3)]
)
def test_lost_entries_are_recovered_from_the_table(warehouse: Warehouse, damage: Damage, lost: int) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 2)
    advance(writer, 1, None, 3)
    advance(writer, 0, 2, 5)
    before = warehouse.entries()
    damage(warehouse.settings.audit_log)
    assert len(warehouse.entries()) == 3 - lost
    assert warehouse.writer().recover_audit() == lost
    after = warehouse.entries()
    assert [entry.recovered for entry in after] == [False] * (3 - lost) + [True] * lost
    assert after == before[: 3 - lost] + [
        replace(entry, transaction_duration_ms=None, recovered=True) for entry in before[3 - lost :]
    ]
    assert warehouse.writer().recover_audit() == 0
    assert warehouse.entries() == after


def test_a_commit_after_half_a_line_starts_a_line_of_its_own(warehouse: Warehouse) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 2)
    second = advance(writer, 0, 2, 3)
    keep_half_of_the_last_line(warehouse.settings.audit_log)
    third = advance(writer, 0, 3, 4)
    assert [entry.snapshot_id_after for entry in warehouse.entries()][1:] == [third.snapshot_id]
    assert writer.recover_audit() == 1
    assert [entry.snapshot_id_after for entry in warehouse.entries()][1:] == [third.snapshot_id, second.snapshot_id]


def test_a_commit_nobody_logged_is_recovered_by_a_writer_that_looks_again(warehouse: Warehouse) -> None:
    waiting, busy = warehouse.writer(), warehouse.writer()
    advance(busy, 0, None, 2)
    warehouse.settings.audit_log.unlink()
    waiting.progress()
    assert waiting.recover_audit() == 1


def test_an_entry_comes_back_as_it_was_appended(tmp_path: Path) -> None:
    log = TransactionAuditLog(tmp_path / "new folder" / "audit.jsonl")
    failed = replace(ENTRY, status="failed", snapshot_id_after=None, error="größer", error_type="OSError")
    assert log.entries() == []
    log.append(ENTRY)
    log.append(failed)
    assert log.entries() == [ENTRY, failed]


def test_a_snapshot_logged_twice_is_one_entry_and_failures_are_all_kept(tmp_path: Path) -> None:
    log = TransactionAuditLog(tmp_path / "audit.jsonl")
    failed = replace(ENTRY, status="failed", snapshot_id_after=None)
    elsewhere = replace(ENTRY, table="market_data.quotes_v2")
    for entry in (ENTRY, failed, replace(ENTRY, recovered=True), failed, elsewhere):
        log.append(entry)
    assert log.entries() == [ENTRY, failed, failed, elsewhere]
    assert log.entries(TRADE.table) == [ENTRY, failed, failed]
    assert log.entries("market_data.quotes_v2") == [elsewhere]


@pytest.mark.parametrize("line", [b"null", b"[]", b"{}", b'{"wall_ns": 1}', b"\xff\xfe", b"", b'{"unknown": 1}'])
def test_a_line_that_is_no_entry_is_left_out(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(line + b"\n" + json.dumps(asdict(ENTRY)).encode() + b"\n")
    assert TransactionAuditLog(path).entries() == [ENTRY]


def test_an_unusable_log_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    log = TransactionAuditLog(tmp_path / "audit.jsonl")
    with pytest.raises(UnavailableError, match="cannot be written: Is a directory"):
        log.append(ENTRY)
    with pytest.raises(UnavailableError, match="cannot be read: Is a directory"):
        log.entries()

"""The eight behaviours of the transaction log, on real tables: see docs/storage.md."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from k2.errors import RetriesExhaustedError, UnavailableError
from k2.records.definition import QUOTE, TRADE
from k2.storage.catalog import IcebergCatalog
from k2.storage.writer import COMMIT_ATTEMPTS, Advance
from tests.storage.warehouse_tables import STATE, TOPICS, Warehouse, advance, commit, key, prepare, quote_row, table_of

TRADES = {"exchange": "BINANCE", "asset_class": "crypto", "table": TRADE.table}
QUOTES = {**TRADES, "table": QUOTE.table}
REQUIRED = {
    "table", "exchange", "asset_class", "record_count", "snapshot_id_before", "snapshot_id_after",
    "sequence_number_before", "sequence_number_after", "transaction_duration_ms", "total_records", "total_data_files",
    "added_data_files", "added_records", "added_files_size_bytes",
}  # fmt: skip


@contextmanager
def failing(catalog: IcebergCatalog, error: Exception, *, after_commit: bool = False) -> Iterator[None]:
    """Let the catalog's swap end in an error, before or after it was carried out."""
    library_catalog = catalog.load(TRADE.table).catalog
    really_commit = library_catalog.commit_table

    def fail(*arguments: Any) -> None:
        if after_commit:
            really_commit(*arguments)
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library_catalog, "commit_table", fail)
        yield


def transactions(warehouse: Warehouse, status: str, labels: dict[str, str] = TRADES) -> float:
    return warehouse.metrics.value("iceberg_transactions_total", {"status": status, **labels})


def test_a_commit_is_told_with_the_snapshots_before_and_after(warehouse: Warehouse) -> None:
    writer = warehouse.writer()
    first = advance(writer, 0, None, 3)
    with capture_logs() as said:
        second = advance(writer, 0, 3, 8)
    entry = warehouse.entries()[1]
    assert (entry.snapshot_id_before, entry.snapshot_id_after) == (first.snapshot_id, second.snapshot_id)
    assert (entry.sequence_number_before, entry.sequence_number_after) == (1, 2)
    (line,) = [line for line in said if line["event"] == "transaction committed"]
    assert set(line) >= REQUIRED
    assert (line["snapshot_id_before"], line["snapshot_id_after"]) == (first.snapshot_id, second.snapshot_id)
    document = json.loads(warehouse.settings.audit_log.read_text().splitlines()[1])
    assert {name for name in REQUIRED if document[name] is None} == set()


def test_a_commit_counts_as_a_successful_transaction(warehouse: Warehouse) -> None:
    advance(warehouse.writer(), 0, None, 3)
    assert (transactions(warehouse, "success"), transactions(warehouse, "failed")) == (1, 0)


def test_the_rows_of_a_commit_go_into_the_histogram(warehouse: Warehouse) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 3)
    advance(writer, 0, 3, 23)
    assert warehouse.metrics.value("iceberg_transaction_rows_count", TRADES) == 2
    assert warehouse.metrics.value("iceberg_transaction_rows_sum", TRADES) == 23
    assert warehouse.metrics.value("iceberg_transaction_rows_bucket", {**TRADES, "le": "10.0"}) == 1


def test_the_duration_of_a_commit_is_measured_and_told(warehouse: Warehouse) -> None:
    with capture_logs() as said:
        advance(warehouse.writer(), 0, None, 3)
    (entry,) = warehouse.entries()
    assert entry.transaction_duration_ms is not None
    assert entry.transaction_duration_ms > 0
    assert said[-1]["transaction_duration_ms"] == entry.transaction_duration_ms
    seconds = warehouse.metrics.value("k2_iceberg_transaction_seconds_sum", {"table": TRADE.table})
    assert seconds * 1e3 == pytest.approx(entry.transaction_duration_ms, abs=0.01)


def test_a_failure_is_told_with_its_error_and_the_state_before(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    writer = warehouse.writer(catalog)
    committed = advance(writer, 0, None, 3)
    batch = prepare(writer, 0, 3, 8)
    lost = OperationalError("COMMIT", None, Exception("server closed the connection"))
    with capture_logs() as said, failing(catalog, lost), pytest.raises(UnavailableError):
        commit(writer, batch)
    failure = warehouse.entries()[1]
    assert (failure.status, failure.error_type) == ("failed", "OperationalError")
    assert "server closed the connection" in str(failure.error)
    assert (failure.snapshot_id_before, failure.sequence_number_before) == (committed.snapshot_id, 1)
    assert (failure.snapshot_id_after, failure.sequence_number_after) == (None, None)
    assert (failure.record_count, failure.batch) == (5, "0:3-8")
    (line,) = [line for line in said if line["event"] == "transaction failed"]
    assert (line["snapshot_id_before"], line["error_type"]) == (committed.snapshot_id, "OperationalError")


def test_a_failure_counts_as_a_failed_transaction(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    writer = warehouse.writer(catalog)
    batch = prepare(writer, 0, None, 3)
    with failing(catalog, CommitFailedException("another was first")), pytest.raises(RetriesExhaustedError):
        commit(writer, batch)
    assert (transactions(warehouse, "success"), transactions(warehouse, "failed")) == (0, COMMIT_ATTEMPTS)
    assert warehouse.metrics.value("iceberg_transaction_rows_count", TRADES) == 0


def test_the_first_commit_has_no_snapshot_before_it(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    writer = warehouse.writer(catalog)
    batch = prepare(writer, 0, None, 3)
    with failing(catalog, OSError("connection refused")), pytest.raises(UnavailableError):
        commit(writer, batch)
    commit(writer, batch)
    failure, success = warehouse.entries()
    for entry in (failure, success):
        assert (entry.snapshot_id_before, entry.sequence_number_before) == (None, None)
    assert (failure.snapshot_id_after, success.sequence_number_after) == (None, 1)


def test_quotes_are_told_as_trades_are(warehouse: Warehouse) -> None:
    writer = warehouse.quote_writer()
    written = writer.write_rows(table_of([quote_row(offset) for offset in range(4)], QUOTE))
    advances = {key(0): Advance(None, 4, writer.write_state(STATE, key(0), 4))}
    committed = writer.commit(written, advances, TOPICS, "quotes")
    (entry,) = warehouse.audit.entries(QUOTE.table)
    assert (entry.snapshot_id_after, entry.record_count, entry.added_records) == (committed.snapshot_id, 4, 4)
    assert (transactions(warehouse, "success", QUOTES), transactions(warehouse, "success")) == (1, 0)
    assert warehouse.metrics.value("iceberg_transaction_rows_sum", QUOTES) == 4
    assert warehouse.entries() == []


def test_a_commit_whose_answer_was_cut_off_is_told_and_counted_once_it_is_seen(warehouse: Warehouse) -> None:
    catalog = warehouse.open_catalog()
    writer = warehouse.writer(catalog)
    batch = prepare(writer, 0, None, 3)
    cut = OSError("connection reset")
    with failing(catalog, cut, after_commit=True), pytest.raises(UnavailableError):
        commit(writer, batch)
    assert [entry.status for entry in warehouse.entries()] == ["failed"]
    for _ in range(2):
        writer.progress()
        assert [(entry.status, entry.recovered) for entry in warehouse.entries()] == [
            ("failed", False),
            ("success", True),
        ]
        assert (transactions(warehouse, "success"), transactions(warehouse, "failed")) == (1, 1)
        assert warehouse.metrics.value("iceberg_transaction_rows_sum", TRADES) == 3


def test_a_commit_the_log_does_not_take_is_told_when_it_takes_entries_again(warehouse: Warehouse) -> None:
    writer = warehouse.writer()
    advance(writer, 0, None, 3)
    kept = warehouse.settings.audit_log.read_bytes()
    warehouse.settings.audit_log.unlink()
    warehouse.settings.audit_log.mkdir()
    with pytest.raises(UnavailableError, match="audit log"):
        advance(writer, 0, 3, 8)
    warehouse.settings.audit_log.rmdir()
    warehouse.settings.audit_log.write_bytes(kept)
    assert writer.progress().partitions[key(0)].next_offset == 8
    assert [entry.recovered for entry in warehouse.entries()] == [False, True]
    assert transactions(warehouse, "success") == 2

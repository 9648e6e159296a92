"""The audit log tells the table's history.

Every commit MUST be in the audit log with the snapshot ids and sequence numbers before and after and what was added
(ICE-2), also where the writer was killed between the commit and its entry, and the log MUST match the table's history
(ICE-4).
"""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from conformance.clause import ClauseRun
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.table_view import view_table
from conformance.history import HistoryWriter
from conformance.stacks.embedded import EmbeddedStack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

BATCH_ROWS = 200
RECORDS = 2_000
_KEPT = (
    "table", "status", "snapshot_id_before", "snapshot_id_after", "sequence_number_before", "sequence_number_after",
    "added_records", "added_data_files", "total_records", "recovered",
)  # fmt: skip


@pytest.mark.clause(
    name="audit_log",
    claims=("ICE-2a", "ICE-4a"),
    checker="audit",
    title="The audit log names every snapshot with what was before it, in the order of the commits",
    minimum_samples=5,
    remedy="see TableWriter.recover_audit and k2/storage/audit.py",
)
def test_the_audit_log_names_every_snapshot(clause: ClauseRun, tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path, batch_rows=BATCH_ROWS) as stack, clause.history(seed=4) as history:
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=4, records=RECORDS, trade_share=1.0)))
        consumer = stack.start_consumer("trades")
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
        consumer.stop()
        observe_audit(history, stack)
    clause.judge()


@pytest.mark.clause(
    name="audit_log/after_a_kill",
    claims=("ICE-4a",),
    checker="audit",
    title="An entry that a kill between commit and log kept from being written is recovered",
    minimum_samples=5,
    remedy="see TableWriter.recover_audit",
)
def test_an_entry_lost_in_a_kill_is_recovered(clause: ClauseRun, tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path, batch_rows=BATCH_ROWS) as stack, clause.history(seed=6) as history:
        fed = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=6, records=RECORDS, trade_share=1.0)))
        consumer = stack.start_consumer("trades")
        wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
        consumer.stop()
        drop_last_entry(stack.settings.storage.audit_log)
        more = feed_records(stack, SyntheticExchange(SyntheticSettings(seed=7, records=100, trade_share=1.0)))
        consumer = stack.start_consumer("trades")
        wait_until_drained(stack, history, more.acknowledged_ends(), lambda: consumer.returncode() is None)
        consumer.stop()
        observe_audit(history, stack)
    clause.judge()


def drop_last_entry(path: Path) -> None:
    """Leave the log as a kill right after the commit leaves it: the last entry half written."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])


def observe_audit(history: HistoryWriter, stack: EmbeddedStack) -> None:
    """Stages `audit` and `snapshots`; half a line is no entry."""
    storage = stack.settings.storage
    entries = []
    for line in storage.audit_log.read_text().splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    history.observe("audit", pa.Table.from_pylist([{name: entry[name] for name in _KEPT} for entry in entries]))
    snapshots = view_table(storage.catalog_uri, storage.warehouse, TRADE.table).snapshots
    history.observe("snapshots", snapshots.append_column("table", pa.array([TRADE.table] * snapshots.num_rows)))
